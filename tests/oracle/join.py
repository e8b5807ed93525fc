"""The join, judged by brute force, straight from its definition.

Nothing here comes from the product: no code, no order, no state. Every record of an archive is
either dead or accepted. Then each pair of shot and hit is judged on its own, by searching all
records for the facts as they stood at some stamp. This is slow and simple on purpose: if the engine
and this file disagree, one of them misreads the contract.

Not judged: score, strength, reasons, warnings, caution, and anything beyond the limits on hits and
shots.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.oracle.records import (
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


# --- verdict ---


@dataclass
class Verdict:
    """The incidents the join must produce, and the outcome of every record.

    `incidents`: by incident_id, only those with attached reads. `dead`: (topic, index in the file,
    reason). `outcomes`: by topic, as if nothing were ever forgotten. `possible`: by topic, the
    number of records for each set of allowed outcomes; a set has several members where the contract
    lets a worker forget the earlier records.
    """

    incidents: dict[str, Value] = field(default_factory=dict)
    dead: list[tuple[str, int, str]] = field(default_factory=list)
    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    possible: dict[str, Counter[frozenset[str]]] = field(default_factory=dict)

    def bounds(self, topic: str, outcome: str) -> tuple[int, int]:
        """The smallest and the largest number of the topic's records that may have this outcome."""
        choices = self.possible[topic]
        return choices[frozenset((outcome,))], sum(n for names, n in choices.items() if outcome in names)


def judge(archive: dict[str, list[Value]], site: Value, join: Value) -> Verdict:
    """The verdict on an archive (parsed lines by topic), a site (GeoJSON) and settings.

    ValueError if hits or shots exceed a limit: beyond the limits the contract promises nothing.
    """
    court = Court(site, join)
    for topic in TOPICS:
        for index, line in enumerate(archive.get(topic, [])):
            court.admit(topic, index, line)
    court.check_limits()
    court.link()
    for topic in TOPICS:
        court.count(topic, len(archive.get(topic, [])))
    return court.verdict


class Court:
    """All records, a site and the settings; it applies the definition of the join to facts."""

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

    def admit(self, topic: str, index: int, line: Value) -> None:
        record = accepted_or_reason(topic, index, line, self.ramps, self.join)
        if isinstance(record, str):
            self.verdict.dead.append((topic, index, record))
        else:
            self.by_identity[topic][record.identity].append(record)

    def check_limits(self) -> None:
        hits = Counter(key for key, _ in self.by_identity[HITS])
        most, shots = max(hits.values(), default=0), len(self.by_identity[SHOTS])
        if most > self.join["max_hits_per_plate"] or shots > self.join["max_shots"]:
            raise ValueError(f"{most} hits under a plate key or {shots} shots exceed a limit: no verdict holds there.")

    # --- evidence ---

    def distance(self, shot: Record, read: Record) -> int:
        ends = (shot.content["lat"], shot.content["lon"], read.content["ramp_id"])
        if ends not in self.distances:
            lon, lat = self.ramps[ends[2]]["geometry"]["coordinates"][:2]
            self.distances[ends] = distance_m(ends[0], ends[1], lat, lon)
        return self.distances[ends]

    def covers(self, hit: Record, time_ms: int) -> bool:
        content = hit.content
        if content["status"] == "cancelled":
            return False
        start = content["stolen_at_ms"]
        if start is None:
            start = content["reported_at_ms"] - self.join["unknown_theft_lookback_ms"]
        end = content["reported_at_ms"] + self.join["hit_ttl_ms"]
        if content["status"] == "recovered":
            end = min(end, content["cleared_at_ms"])
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
        hits_by_key: dict[str, list[list[Record]]] = defaultdict(list)
        for (key, _), records in self.by_identity[HITS].items():
            hits_by_key[key].append(records)
        captured = sorted((captured_ms, key) for key, _, captured_ms in self.by_identity[READS])
        for shot_records in filter(None, map(self.taking_part, self.by_identity[SHOTS].values())):
            # a plate that was not read in the window of any content of the shot has no evidence
            occurred = [record.content["occurred_at_ms"] for record in shot_records]
            first = bisect_left(captured, (min(occurred) - self.join["before_ms"],))
            last = bisect_left(captured, (max(occurred) + self.join["after_ms"] + 1,))
            for key in sorted({key for _, key in captured[first:last]} & hits_by_key.keys()):
                for hit_records in hits_by_key[key]:
                    incident = self.incident(shot_records, hit_records)
                    if incident is not None:
                        self.verdict.incidents[incident["incident_id"]] = incident

    def taking_part(self, shots: list[Record]) -> list[Record]:
        """The records of a shot that did not come too long after their event."""
        memory_ms = self.join["shot_memory_ms"]
        return [record for record in shots if record.stamp_ms - record.content["occurred_at_ms"] <= memory_ms]

    def incident(self, shots: list[Record], hits: list[Record]) -> Value | None:
        """The incident of a shot and a hit from all their records; None without attached reads."""
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
        content, ramp = read.content, self.ramps[read.content["ramp_id"]]
        delay_ms = content["captured_at_ms"] - shot.content["occurred_at_ms"]
        far = self.distance(shot, read)
        to_drive = max(0, far - shot.content["uncertainty_m"] - self.join["reach_slack_m"])
        speed = 0.0 if to_drive == 0 else 1000 * to_drive / abs(delay_ms) if delay_ms else None
        return {
            **{name: content[name] for name in ("read_id", "ramp_id", "captured_at_ms", "confidence")},
            **{name: content[name] for name in ("region", "make", "colour")},
            **{name: ramp["properties"][name] for name in ("road", "exit", "direction")},
            "lat": ramp["geometry"]["coordinates"][1],
            "lon": ramp["geometry"]["coordinates"][0],
            "stamp_ms": read.stamp_ms,
            "seconds_from_shot": delay_ms / 1000,
            "distance_m": far,
            "required_speed_mps": speed,
            "match": "exact" if read.plate == hit.plate else "lookalike",
            "plate_as_read": content["plate"],
        }

    def review(self, incident: str, first_ms: int, freeze_ms: int) -> list[Value]:
        facts = [
            fact(records, freeze_ms, first_ms)
            for (about, _), records in self.by_identity[ACTIONS].items()
            if about == incident
        ]
        actions = [{**action.content, "stamp_ms": action.stamp_ms} for action in facts if action is not None]
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
        """The stamp from which a worker must remember earlier records of this identity."""
        if not earlier:
            return -EVER
        kept_ms = self.join["incident_retention_ms"]
        if record.topic == SHOTS:  # a frozen shot is kept only as its id and first stamp
            return EVER if record.stamp_ms > earlier[0].stamp_ms + kept_ms else -EVER
        if record.topic == READS:
            return -EVER if self.listed(record) else EVER
        if record.topic == HITS:
            kept_ms += self.join["hit_ttl_ms"] + self.join["read_retention_ms"]
        return float(record.stamp_ms - kept_ms)

    def listed(self, read: Record) -> bool:
        """Whether the plate was certainly listed before this read: equal stamps have no order."""
        kept_ms = sum(self.join[name] for name in ("hit_ttl_ms", "read_retention_ms", "incident_retention_ms"))
        facts = (
            fact(records, read.stamp_ms - 1, read.stamp_ms - kept_ms)
            for (key, _), records in self.by_identity[HITS].items()
            if key == read.identity[0]
        )
        return any(hit is not None and hit.content["status"] != "cancelled" for hit in facts)


def outcome(record: Record, earlier: list[Record]) -> str:
    """The outcome of an accepted record, given the remembered earlier records of its identity."""
    if any(record.canonical == other.canonical for other in earlier):
        return "duplicate"
    greatest = max((other.revision for other in earlier), default=-1)
    if record.revision < greatest:
        return "superseded"
    return "conflict" if record.revision == greatest else "used"
