"""The join, judged by brute force, straight from its definition.

Nothing here comes from the product: no code, no order, no state. Every record of an archive is sorted once into
dead or accepted; then each pair of shot and hit is judged on its own, by looking through all records for the
facts as they stood at some stamp. Slow and plain on purpose: where the engine and this file disagree, one of
them has misread the contract.

Not judged: score, strength, reasons, warnings, caution, and anything beyond the limits on hits and shots.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.records import (
    ACTIONS,
    EVER,
    HITS,
    READS,
    SHOTS,
    TOPICS,
    Record,
    Value,
    accepted_or_reason,
    fact,
    known_region,
)

EARTH_RADIUS_M = 6_371_008.8
KEPT_READS = 50
KEPT_ACTIONS = 50

# --- distances, zones, names ---


def distance_m(lat_a: float, lon_a: float, lat_b: float, lon_b: float) -> int:
    """Haversine distance in whole metres, ties to even."""
    a, b = math.radians(lat_a), math.radians(lat_b)
    h = math.sin((b - a) / 2) ** 2 + math.cos(a) * math.cos(b) * math.sin(math.radians(lon_b - lon_a) / 2) ** 2
    return round(2 * EARTH_RADIUS_M * math.asin(math.sqrt(h)))


def _inside(polygon: list[list[list[float]]], lat: float, lon: float) -> bool:
    """Even-odd rule over all rings, so that holes count as outside."""
    crossings = 0
    for ring in polygon:
        for (x1, y1, *_), (x2, y2, *_) in itertools.pairwise(ring):
            if (y1 > lat) != (y2 > lat) and lon < x1 + (lat - y1) * (x2 - x1) / (y2 - y1):
                crossings += 1
    return crossings % 2 == 1


def zone_of(site: Value, lat: float, lon: float) -> str:
    for feature in site["features"]:
        shape = feature["geometry"]
        if shape["type"] == "Point":
            continue
        polygons = [shape["coordinates"]] if shape["type"] == "Polygon" else shape["coordinates"]
        if any(_inside(polygon, lat, lon) for polygon in polygons):
            return str(feature["properties"]["zone_id"])
    return "city"


def incident_id(alert_id: str, hit_id: str, key: str) -> str:
    text = json.dumps([alert_id, hit_id, key], separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:32]


# --- the verdict ---


@dataclass
class Verdict:
    """What the join must have said, and what must have become of every record.

    `incidents` by incident_id, only those with attached reads. `dead` as (topic, index in the file, reason).
    `outcomes` by topic, as if nothing were ever forgotten; `possible` by topic, how many records may end as which
    of several outcomes, because the contract lets a worker forget what they would have to be compared with.
    """

    incidents: dict[str, Value] = field(default_factory=dict)
    dead: list[tuple[str, int, str]] = field(default_factory=list)
    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    possible: dict[str, Counter[frozenset[str]]] = field(default_factory=dict)

    def bounds(self, topic: str, outcome: str) -> tuple[int, int]:
        """The least and the greatest number of the topic's records that may end as this outcome."""
        choices = self.possible[topic]
        return choices[frozenset((outcome,))], sum(n for names, n in choices.items() if outcome in names)


def judge(archive: dict[str, list[Value]], site: Value, join: Value) -> Verdict:
    """The verdict on an archive (parsed lines by topic) at a site (GeoJSON) under the join's settings.

    ValueError where hits or shots pass a limit: beyond limits nothing is promised.
    """
    court = Court(site, join)
    for topic in TOPICS:
        for index, line in enumerate(archive.get(topic, [])):
            court.apply_broadcast(topic, index, line)
    court.refuse_what_is_beyond_limits()
    court.link()
    for topic in TOPICS:
        court.count(topic, len(archive.get(topic, [])))
    return court.verdict


class Court:
    """Knows the site and the settings, hears records, and can say of any facts what the definition says."""

    def __init__(self, site: Value, join: Value) -> None:
        points = [feature for feature in site["features"] if feature["geometry"]["type"] == "Point"]
        self.site, self.join = site, join
        self.ramps: dict[str, Value] = {point["properties"]["ramp_id"]: point for point in points}
        self.by_identity: dict[str, dict[tuple[Any, ...], list[Record]]] = {
            topic: defaultdict(list) for topic in TOPICS
        }
        self.reads_by_key: dict[str, list[list[Record]]] = {}
        self.verdict = Verdict()
        self.distances: dict[tuple[float, float, str], int] = {}

    def apply_broadcast(self, topic: str, index: int, line: Value) -> None:
        record = accepted_or_reason(topic, index, line, self.ramps, self.join)
        if isinstance(record, str):
            self.verdict.dead.append((topic, index, record))
        else:
            self.by_identity[topic][record.identity].append(record)

    def refuse_what_is_beyond_limits(self) -> None:
        hits = Counter(key for key, _ in self.by_identity[HITS])
        most, shots = max(hits.values(), default=0), len(self.by_identity[SHOTS])
        if most > self.join["max_hits_per_plate"] or shots > self.join["max_shots"]:
            raise ValueError(f"{most} hits under a plate key or {shots} shots pass a limit, where no verdict holds.")

    # --- evidence ---

    def distance(self, shot: Record, read: Record) -> int:
        place = (shot.content["lat"], shot.content["lon"], read.content["ramp_id"])
        if place not in self.distances:
            lon, lat = self.ramps[place[2]]["geometry"]["coordinates"][:2]
            self.distances[place] = distance_m(place[0], place[1], lat, lon)
        return self.distances[place]

    def covers(self, hit: Record, time_ms: int) -> bool:
        said = hit.content
        if said["status"] == "cancelled":
            return False
        start = said["stolen_at_ms"]
        if start is None:
            start = said["reported_at_ms"] - self.join["unknown_theft_lookback_ms"]
        end = said["reported_at_ms"] + self.join["hit_ttl_ms"]
        if said["status"] == "recovered":
            end = min(end, said["cleared_at_ms"])
        return bool(start <= time_ms < end)

    def sighted(self, hit: Record, read: Record) -> bool:
        regions = {known_region(hit.content["region"]), known_region(read.content["region"])} - {None}
        return (
            sum(a != b for a, b in zip(hit.plate, read.plate, strict=True)) <= self.join["max_lookalikes"]
            and len(regions) < 2
            and read.content["confidence"] >= self.join["min_confidence"]
            and self.covers(hit, read.content["captured_at_ms"])
        )

    def is_evidence(self, shot: Record | None, hit: Record | None, read: Record) -> bool:
        if shot is None or hit is None or shot.content["status"] == "dismissed":
            return False
        delay_ms = read.content["captured_at_ms"] - shot.content["occurred_at_ms"]
        if not -self.join["before_ms"] <= delay_ms <= self.join["after_ms"]:
            return False
        far = self.distance(shot, read)
        needed = 1000 * max(0, far - shot.content["uncertainty_m"])
        driven = self.join["max_speed_mps"] * abs(delay_ms) + 1000 * self.join["reach_slack_m"]
        return far <= self.join["max_distance_m"] and needed <= driven and self.sighted(hit, read)

    # --- incidents ---

    def link(self) -> None:
        for (key, *_), records in self.by_identity[READS].items():
            self.reads_by_key.setdefault(key, []).append(records)
        for shot_records in self.by_identity[SHOTS].values():
            for hit_records in self.by_identity[HITS].values():
                incident = self.incident(shot_records, hit_records)
                if incident is not None:
                    self.verdict.incidents[incident["incident_id"]] = incident

    def incident(self, shots: list[Record], hits: list[Record]) -> Value | None:
        """The incident of one shot and one hit, given all records of each; None where nothing is attached."""
        key, hit_id = hits[0].identity
        first_ms = min(record.stamp_ms for record in shots)
        freeze_ms = first_ms + self.join["incident_retention_ms"]
        since_ms = first_ms - self.join["hit_ttl_ms"] - self.join["read_retention_ms"] - self.join["max_future_skew_ms"]
        attached = []
        for read in (fact(records, freeze_ms) for records in self.reads_by_key.get(key, [])):
            if read is None:
                continue
            until_ms = min(read.content["captured_at_ms"] + self.join["read_retention_ms"], freeze_ms)
            if self.is_evidence(fact(shots, until_ms), fact(hits, until_ms, since_ms), read):
                attached.append(read)
        if not attached:
            return None
        attached.sort(key=lambda r: (r.content["captured_at_ms"], r.content["read_id"]))
        kept, left_out = attached[:KEPT_READS], attached[KEPT_READS:]
        shot, hit = fact(shots, freeze_ms), fact(hits, freeze_ms, since_ms)
        assert shot is not None
        assert hit is not None
        standing = [self.is_evidence(shot, hit, read) for read in kept]
        seen = [self.sighting(shot, hit, read) for read in kept]
        name = incident_id(shot.content["alert_id"], hit_id, key)
        return {
            "incident_id": name,
            "status": "open" if any(standing) else "retracted",
            "shot": {**shot.content, "stamp_ms": shot.stamp_ms},
            "vehicle": dict(hit.content),
            "sightings": [sighting for sighting, stands in zip(seen, standing, strict=True) if stands],
            "set_aside": [sighting for sighting, stands in zip(seen, standing, strict=True) if not stands],
            "left_out_from_ms": left_out[0].content["captured_at_ms"] if left_out else None,
            "zone_id": zone_of(self.site, shot.content["lat"], shot.content["lon"]),
            "review": self.review(name, first_ms, freeze_ms),
            "frozen_at_ms": freeze_ms,
        }

    def sighting(self, shot: Record, hit: Record, read: Record) -> Value:
        said, ramp = read.content, self.ramps[read.content["ramp_id"]]
        delay_ms = said["captured_at_ms"] - shot.content["occurred_at_ms"]
        far = self.distance(shot, read)
        to_drive = max(0, far - shot.content["uncertainty_m"] - self.join["reach_slack_m"])
        speed = 0.0 if to_drive == 0 else 1000 * to_drive / abs(delay_ms) if delay_ms else None
        return {
            **{name: said[name] for name in ("read_id", "ramp_id", "captured_at_ms", "confidence")},
            **{name: said[name] for name in ("region", "make", "colour")},
            **{name: ramp["properties"][name] for name in ("road", "exit", "direction")},
            "lat": ramp["geometry"]["coordinates"][1],
            "lon": ramp["geometry"]["coordinates"][0],
            "stamp_ms": read.stamp_ms,
            "seconds_from_shot": delay_ms / 1000,
            "distance_m": far,
            "required_speed_mps": speed,
            "match": "exact" if read.plate == hit.plate else "lookalike",
            "plate_as_read": said["plate"],
        }

    def review(self, incident: str, first_ms: int, freeze_ms: int) -> list[Value]:
        folded = [
            fact(records, freeze_ms, first_ms)
            for (about, _), records in self.by_identity[ACTIONS].items()
            if about == incident
        ]
        actions = [{**action.content, "stamp_ms": action.stamp_ms} for action in folded if action is not None]
        return sorted(actions, key=lambda a: (a["at_ms"], a["action_id"]))[:KEPT_ACTIONS]

    # --- outcomes ---

    def count(self, topic: str, lines: int) -> None:
        outcomes, possible = Counter[str](), Counter[frozenset[str]]()
        for _, _, reason in (entry for entry in self.verdict.dead if entry[0] == topic):
            outcomes["late" if reason == "late" else "dead"] += 1
            possible[frozenset(("late" if reason == "late" else "dead",))] += 1
        for records in self.by_identity[topic].values():
            in_order = sorted(records, key=lambda r: (r.stamp_ms, r.index))
            for n, record in enumerate(in_order):
                earlier = in_order[:n]
                known_from = self.must_know_from(record, earlier)
                forgettable = sum(other.stamp_ms < known_from for other in earlier)
                outcomes[outcome(record, earlier)] += 1
                possible[frozenset(outcome(record, earlier[k:]) for k in range(forgettable + 1))] += 1
        assert sum(outcomes.values()) == sum(possible.values()) == lines
        self.verdict.outcomes[topic], self.verdict.possible[topic] = outcomes, possible

    def must_know_from(self, record: Record, earlier: list[Record]) -> float:
        """From which stamp on a worker must remember the earlier records of this one's identity."""
        if not earlier:
            return -EVER
        kept_ms = self.join["incident_retention_ms"]
        if record.topic == SHOTS:  # of a frozen shot only its id and first stamp are kept
            return EVER if record.stamp_ms > earlier[0].stamp_ms + kept_ms else -EVER
        if record.topic == READS:
            return -EVER if self.listed(record) else EVER
        if record.topic == HITS:
            kept_ms += self.join["hit_ttl_ms"] + self.join["read_retention_ms"]
        return float(record.stamp_ms - kept_ms)

    def listed(self, read: Record) -> bool:
        """Whether the plate was surely listed when this read came: equal stamps have no order between topics."""
        kept_ms = sum(self.join[name] for name in ("hit_ttl_ms", "read_retention_ms", "incident_retention_ms"))
        facts = (
            fact(records, read.stamp_ms - 1, read.stamp_ms - kept_ms)
            for (key, _), records in self.by_identity[HITS].items()
            if key == read.identity[0]
        )
        return any(hit is not None and hit.content["status"] != "cancelled" for hit in facts)


def outcome(record: Record, earlier: list[Record]) -> str:
    """What becomes of an accepted record, given the earlier ones of its identity that are remembered."""
    if any(record.canonical == other.canonical for other in earlier):
        return "duplicate"
    greatest = max((other.revision for other in earlier), default=-1)
    if record.revision < greatest:
        return "superseded"
    return "conflict" if record.revision == greatest else "used"


# --- comparing ---


def differences(verdict: Verdict, produced: dict[str, Value]) -> list[str]:
    """One sentence per difference between the verdict and the incidents as produced (the last of each)."""
    found = []
    for name in sorted({*verdict.incidents, *produced}):
        want, got = verdict.incidents.get(name), produced.get(name)
        if want is None and got is not None:
            if got["status"] == "open" or got["sightings"] or got["set_aside"]:
                found.append(f"Incident {name} was produced ({got['status']}) and should not be.")
        elif got is None:
            found.append(f"Incident {name} is missing.")
        else:
            found += [f"Incident {name}: {text}" for text in _unlike("", want, got)]
    return found


def _unlike(where: str, want: Any, got: Any) -> list[str]:
    if isinstance(want, dict) and isinstance(got, dict):
        absent = object()
        pairs = [(f"{where}.{name}".lstrip("."), want[name], got.get(name, absent)) for name in want]
        return [f"{at} is absent." if b is absent else text for at, a, b in pairs for text in _unlike(at, a, b)]
    if isinstance(want, list) and isinstance(got, list):
        names = [[(v.get("read_id") or v.get("action_id")) for v in values] for values in (want, got)]
        if names[0] != names[1]:
            return [f"{where} lists {names[1]}, should list {names[0]}."]
        return [text for n, (a, b) in enumerate(zip(want, got, strict=True)) for text in _unlike(f"{where}[{n}]", a, b)]
    numbers = isinstance(want, float) and isinstance(got, int | float)
    if numbers and where.endswith("required_speed_mps") and math.isclose(want, got, rel_tol=1e-9, abs_tol=1e-9):
        return []
    return (
        []
        if want == got and isinstance(want, bool) == isinstance(got, bool)
        else [f"{where} is {got!r}, should be {want!r}."]
    )


def outcome_differences(verdict: Verdict, produced: dict[str, dict[str, int]]) -> list[str]:
    """One sentence per topic and outcome whose count is not what the contract allows."""
    found = []
    for topic, choices in verdict.possible.items():
        counted = {name: n for name, n in produced.get(topic, {}).items() if n}
        for name in sorted({*counted, *(name for names in choices for name in names)}):
            low, high = verdict.bounds(topic, name)
            if not low <= counted.get(name, 0) <= high:
                found.append(f"{topic}: {counted.get(name, 0)} records ended as {name}, should be {low} to {high}.")
        if sum(counted.values()) != sum(choices.values()):
            found.append(f"{topic}: outcomes add up to {sum(counted.values())} of {sum(choices.values())} records.")
    return found
