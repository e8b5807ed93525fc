"""Small random worlds that hit every edge case of the join often.

Retentions are minutes, not days, and most times are aimed at an edge: the ends of windows, of a
hit's coverage and of reach, deadlines and freezes, give or take a millisecond. A world is a
function of its seed.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from tests.oracle.join import distance_m, incident_id
from tests.oracle.records import ACTIONS, EVENT_TIME, HITS, READS, SHOTS, Value, normalised, plate_key
from tests.worlds.ground import MINUTE_MS, SHOTS_M, Ground, lookalike, settings, written
from tests.worlds.spoiling import broken_lines

ORIGIN_MS = 1_700_000_000_000

PLATES = ("SIMB01", "T0YZG5")
UNLISTED = "TICK77"
REGIONS = ("CT", "CT", "us-ct ", "US-CT", None, "Ontario", "US-NY", "ny")
NAMES = ("Ford", "ford", "Škoda", "😀", "｡", "a\nb", 'say "so"', None)


@dataclass(frozen=True)
class World:
    """An archive by topic, a site (GeoJSON), and the join's settings by their TOML names."""

    seed: int
    archive: dict[str, list[Value]]
    site: Value
    join: Value


def world(seed: int, ground: Ground | None = None, join: Value | None = None) -> World:
    """The world of this seed: the lines of each topic in the order of their stamps, ties shuffled.

    ``ground`` and ``join`` put worlds of several seeds in one place, under the same settings.
    """
    rng = random.Random(seed)
    making = _Making(rng, ground, join)
    making.shots()
    making.hits()
    making.reads()
    if rng.random() < 0.1:
        making.crowd()
    making.revise_shots()
    making.revise_hits()
    making.repeat_reads()
    making.actions()
    archive = making.archive(with_stamps=rng.random() > 0.06)
    return World(seed, archive, making.site, making.join)


def write_archive(world: World, folder: Path) -> None:
    """Write `<topic>.jsonl`, `site.geojson` and `config.toml` (table `[join]`) into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for topic, lines in world.archive.items():
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / f"{topic}.jsonl").write_text(text, encoding="utf-8", newline="\n")
    (folder / "site.geojson").write_text(json.dumps(world.site, ensure_ascii=False), encoding="utf-8")
    # numbers and lists of plain text are written alike in JSON and TOML
    settings = [f"{name} = {json.dumps(value)}" for name, value in world.join.items()]
    (folder / "config.toml").write_text("\n".join(["[join]", *settings, ""]), encoding="utf-8")


class _Making:
    def __init__(self, rng: random.Random, ground: Ground | None, join: Value | None) -> None:
        self.rng = rng
        self.join = join or settings(rng)
        self.ground = ground or Ground(rng)
        self.site = self.ground.site()
        self.lines: dict[str, list[tuple[int, Value]]] = defaultdict(list)
        self.hot_ms = [ORIGIN_MS + rng.randrange(320, 520) * MINUTE_MS for _ in range(rng.choice((1, 2, 2)))]
        self.dense = rng.random() < 0.6

    def add(self, topic: str, stamp_ms: int, value: Value) -> None:
        self.lines[topic].append((stamp_ms, dict(value)))

    def minutes(self, *choices: int) -> int:
        return self.rng.choice(choices) * MINUTE_MS

    def nudge(self) -> int:
        """A millisecond earlier or later, or neither."""
        return self.rng.choice((-1, 0, 0, 0, 1))

    def hot(self) -> int:
        return self.rng.choice(self.hot_ms) + self.rng.randrange(-2, 3) * MINUTE_MS

    def plate(self) -> str:
        return PLATES[0] if self.dense else self.rng.choice((PLATES[0], PLATES[0], PLATES[1]))

    # --- first records ---

    def position(self) -> Value:
        lon = self.ground.lon
        if lon == 0.0:  # the canonical form of a float is easiest to get wrong for small numbers
            lon = self.rng.choice((0.0, 0, 1e-05, 1e-10))
        return {"lat": self.ground.latitude(self.rng.choice(SHOTS_M)), "lon": lon}

    def shots(self) -> None:
        for n in range(self.rng.choice((1, 1, 2, 3))):
            occurred_ms = self.hot()
            value = {
                "alert_id": self.rng.choice((f"shot-{n}", f"Schüsse {n}")),
                "kind": self.rng.choice(("single_gunshot", "multiple_gunshots", "probable_gunfire")),
                "occurred_at_ms": occurred_ms,
                **self.position(),
                **self.rng.choice(({}, {"uncertainty_m": self.rng.choice((0, 150, 600))})),
                **self.rng.choice(({}, {"status": self.rng.choice(("unreviewed", "confirmed", "dismissed"))})),
                **self.rng.choice(({}, {"rounds": None}, {"rounds": 3, "source": self.rng.choice(NAMES)})),
            }
            late_ms = self.minutes(-2, -1, 0, 0, 1, 5, 15, 25)
            self.add(SHOTS, occurred_ms + late_ms - (self.rng.random() < 0.05), value)

    def hits(self) -> None:
        ttl_minutes = self.join["hit_ttl_ms"] // MINUTE_MS
        for n in range(self.rng.choice((1, 2, 3))):
            expiring = -ttl_minutes + self.rng.choice((-2, 0, 1, 3))
            reported_ms = self.hot() + self.minutes(expiring, -20, -5, -5, 0, 8, 10, 12, 22)
            value = {
                "hit_id": f"H{n}",
                "revision": self.rng.choice((0, 0, 2)),
                "plate": written(self.rng, lookalike(self.rng, self.plate(), self.rng.choice((0, 0, 0, 1)))),
                "region": self.rng.choice(REGIONS[:4] * 4 + REGIONS),
                "reported_at_ms": reported_ms,
                **self.rng.choice(({}, {"stolen_at_ms": reported_ms - self.minutes(0, 5, 30)})),
                **self.rng.choice(({}, {"make": self.rng.choice(NAMES), "year": 2019, "ori": "CT0000000"})),
                # ignored unless the status is recovered
                **self.rng.choice(({}, {}, {}, {"cleared_at_ms": self.hot()})),
            }
            late_ms = self.minutes(-2, 0, 0, 1, 5, 10, 22, 100)
            self.add(HITS, reported_ms + late_ms - (self.rng.random() < 0.05), value)
        if self.rng.random() < 0.25:
            self.stale_hit()

    def stale_hit(self) -> None:
        """A high revision at or before the start of an incident's span, then a lower one in it."""
        stamp_ms, shot = self.rng.choice(self.lines[SHOTS])
        spans = ("hit_ttl_ms", "read_retention_ms", "max_future_skew_ms")
        since_ms = stamp_ms - sum(self.join[name] for name in spans)
        value = {"hit_id": "stale", "plate": PLATES[0], "revision": 5, "status": "cancelled"}
        self.add(HITS, since_ms + self.nudge(), {**value, "reported_at_ms": since_ms})
        reported_ms = shot["occurred_at_ms"] - 10 * MINUTE_MS
        value |= {"revision": 4, "status": "active", "reported_at_ms": reported_ms}
        self.add(HITS, reported_ms + self.minutes(0, 3), value)

    def edges_of_reach(self, shot: Value, ramp_id: str) -> list[int]:
        """The latest and earliest times at which a car could have been at the ramp."""
        far = distance_m(shot["lat"], shot["lon"], self.ground.ramps[ramp_id], self.ground.lon)
        to_drive = max(0, far - shot.get("uncertainty_m", 25) - self.join["reach_slack_m"])
        needed_ms = -(-1000 * to_drive // self.join["max_speed_mps"])
        return [shot["occurred_at_ms"] - needed_ms, shot["occurred_at_ms"] + needed_ms]

    def near_ramp(self) -> str:
        """Any ramp, most often one of the three nearest to a shot."""
        lat = self.rng.choice(self.lines[SHOTS])[1]["lat"]
        ramps = sorted(self.ground.ramps, key=lambda name: abs(self.ground.ramps[name] - lat))
        return self.rng.choice(ramps + 2 * ramps[:3])

    def capture(self, ramp_id: str) -> int:
        """A time for a read at this ramp, mostly at an edge."""
        shot = self.rng.choice(self.lines[SHOTS])[1]
        anytime: int = shot["occurred_at_ms"] + self.rng.randrange(-9, 8) * MINUTE_MS
        if self.rng.random() < 0.4:
            return anytime
        start_ms = shot["occurred_at_ms"] - self.join["before_ms"]
        end_ms = shot["occurred_at_ms"] + self.join["after_ms"]
        covers = [at_ms for at_ms in self.edges_of_covers() if start_ms <= at_ms <= end_ms]
        aims = [[start_ms, end_ms], self.edges_of_reach(shot, ramp_id), self.edges_of_reach(shot, ramp_id)]
        aim: list[int] = self.rng.choice([*aims, covers, covers] if covers else aims)
        return self.rng.choice(aim) + self.nudge()

    def edges_of_covers(self) -> list[int]:
        """The first time that each hit covers, and the first that it no longer covers."""
        lookback_ms, ttl_ms = self.join["unknown_theft_lookback_ms"], self.join["hit_ttl_ms"]
        hits = [hit for _, hit in self.lines[HITS]]
        starts = [hit.get("stolen_at_ms", hit["reported_at_ms"] - lookback_ms) for hit in hits]
        return [*starts, *(hit["reported_at_ms"] + ttl_ms for hit in hits)]

    def delay(self) -> int:
        """How long after its capture a read is stamped: at most just too early or too late."""
        retention, skew = self.join["read_retention_ms"], self.join["max_future_skew_ms"]
        at_once = [0, 0, 0, 0, MINUTE_MS, 5 * MINUTE_MS, 15 * MINUTE_MS]
        delays: list[int] = [*at_once * 2, -skew, -skew - 1, retention - 1, retention, retention + 1]
        return self.rng.choice(delays)

    def reads(self) -> None:
        for n in range(self.rng.choice((3, 8, 14, 24, 30))):
            ramp_id = self.near_ramp()
            value: Value = {
                "read_id": f"R{n}",
                "plate": written(self.rng, lookalike(self.rng, self.plate(), self.rng.choice((0, 0, 0, 1, 2)))),
                "captured_at_ms": self.capture(ramp_id),
                "ramp_id": ramp_id,
                "camera_id": "camera",
                "confidence": self.rng.choice((0.9, 0.9, 1, 0.6, 0.5999)),
                **self.rng.choice(({}, {"region": self.rng.choice(REGIONS[:4] + REGIONS)})),
                **self.rng.choice(({}, {"direction": self.rng.choice(("on", "off"))})),
                **self.rng.choice(({}, {"make": self.rng.choice(NAMES), "colour": None})),
            }
            self.add(READS, value["captured_at_ms"] + self.delay(), value)

    def crowd(self) -> None:
        """Reads of one car: about as many as an incident keeps, some of them simultaneous."""
        stamp_ms, shot = self.rng.choice(self.lines[SHOTS])
        shot |= {"status": "confirmed", "lat": self.ground.latitude(0)}
        reported_ms = shot["occurred_at_ms"] - 20 * MINUTE_MS
        self.add(HITS, reported_ms, {"hit_id": "C", "plate": PLATES[0], "reported_at_ms": reported_ms})
        for n in range(self.rng.choice((48, 50, 51, 60))):
            captured_ms = shot["occurred_at_ms"] + self.rng.randrange(-30, 23) * 15_000
            value = {
                "read_id": f"C{n}",
                "plate": PLATES[0],
                "captured_at_ms": captured_ms,
                "ramp_id": "ramp-0",
            }
            late_ms = self.minutes(0, 0, 1, 15, 20)
            self.add(READS, captured_ms + late_ms, {**value, "camera_id": "c", "confidence": 0.9})
        if self.rng.random() < 0.4:
            for n in range(self.rng.choice((49, 50, 51, 60))):
                self.act(f"C{n}", shot, self.lines[HITS][-1][1], stamp_ms + self.rng.randrange(20) * 15_000)

    # --- what comes later ---

    def turning_points(self) -> list[int]:
        """Stamps around which it matters whether a record came before, at or after them."""
        retention, kept = self.join["read_retention_ms"], self.join["incident_retention_ms"]
        deadlines = [read["captured_at_ms"] + retention for _, read in self.lines[READS]]
        firsts = [stamp_ms for stamp_ms, _ in self.lines[SHOTS]]
        return [*deadlines, *[first + kept for first in firsts] * (1 + len(deadlines) // 4), *firsts]

    def later(self, stamp_ms: int, *gaps: int) -> int:
        """A later stamp, aimed at a turning point or some minutes on."""
        ahead = [point for point in self.turning_points() if point >= stamp_ms]
        if ahead and self.rng.random() < 0.5:
            return max(stamp_ms, self.rng.choice(ahead) + self.nudge())
        return stamp_ms + self.minutes(*gaps)

    def next_revision(self, revision: int) -> int:
        return max(0, revision + self.rng.choice((1, 1, 1, 0, -1)))

    def revise_shots(self) -> None:
        for stamp_ms, first in list(self.lines[SHOTS]):
            value = first
            for _ in range(self.rng.choice((0, 1, 2, 3, 4))):
                stamp_ms = self.later(stamp_ms, 0, 1, 5, 14, 60, 99, 150, 250)
                if self.rng.random() > 0.15:  # else it is repeated unchanged
                    value = self.revised_shot(value, stamp_ms)
                self.add(SHOTS, stamp_ms, value)

    def revised_shot(self, value: Value, stamp_ms: int) -> Value:
        if (
            self.ground.lon == 0.0 and self.rng.random() < 0.4
        ):  # a conflict decided only by the canonical form of a float
            return {**value, "lon": self.rng.choice((1e-05, 1e-10))}
        value = {**value, "revision": self.next_revision(value.get("revision", 0))}
        chance = self.rng.random()
        if chance < 0.3:
            value["occurred_at_ms"] += self.minutes(-4, -1, 1, 3) + self.nudge()
        elif chance < 0.4:
            value["occurred_at_ms"] = min(self.hot(), stamp_ms + self.join["max_future_skew_ms"])
        elif chance < 0.55:
            value |= self.position()
        elif chance < 0.65:
            value["uncertainty_m"] = self.rng.choice((0, 25, 150))
        else:
            value["status"] = self.rng.choice(("unreviewed", "confirmed", "dismissed"))
        return value

    def revise_hits(self) -> None:
        for stamp_ms, first in list(self.lines[HITS]):
            value = first
            for _ in range(self.rng.choice((0, 1, 2, 3, 4))):
                stamp_ms = self.later(stamp_ms, 0, 0, 1, 5, 12, 19, 50, 120, 322, 420)
                chance = self.rng.random()
                if chance < 0.1:
                    value = self.moved_to_another_plate(value, stamp_ms)
                elif chance > 0.25:
                    value = self.revised_hit(value, stamp_ms)
                self.add(HITS, stamp_ms, value)

    def moved_to_another_plate(self, value: Value, stamp_ms: int) -> Value:
        """A corrected plate: cancelled under the old one, then active under the new."""
        revision = value.get("revision", 0) + 1
        self.add(HITS, stamp_ms, {**value, "revision": revision, "status": "cancelled"})
        other = PLATES[plate_key(value["plate"]) == plate_key(PLATES[0])]
        return {**value, "revision": revision + 1, "status": "active", "plate": other}

    def revised_hit(self, value: Value, stamp_ms: int) -> Value:
        value = {**value, "revision": self.next_revision(value.get("revision", 0))}
        chance = self.rng.random()
        if chance < 0.15:
            value["region"] = self.rng.choice(REGIONS)
        elif chance < 0.25:
            plate = lookalike(self.rng, normalised(value["plate"]), 1)
            value["plate"] = written(self.rng, plate)
        elif chance < 0.35:
            later_ms = value["reported_at_ms"] + self.minutes(1, 30, 200)
            value["reported_at_ms"] = min(later_ms, stamp_ms + self.join["max_future_skew_ms"])
        elif chance < 0.45:
            value["stolen_at_ms"] = self.rng.choice(self.lines[READS])[1]["captured_at_ms"] + self.nudge()
        elif chance < 0.65:
            value["status"] = "recovered"
            value["cleared_at_ms"] = self.rng.choice(self.lines[READS])[1]["captured_at_ms"] + self.nudge()
        else:
            value["status"] = self.rng.choice(("active", "cancelled"))
        return value

    def repeat_reads(self) -> None:
        for stamp_ms, first in list(self.lines[READS]):
            while self.rng.random() < 0.25:
                deadline_ms = first["captured_at_ms"] + self.join["read_retention_ms"]
                stamp_ms = min(self.later(stamp_ms, 0, 1, 6, 15, 19, 30), max(stamp_ms, deadline_ms + self.nudge()))
                value = dict(first)
                chance = self.rng.random()
                if chance < 0.3:
                    value["confidence"] = self.rng.choice((0.9, 0.5, 1e-05, 0.6))
                elif chance < 0.5:
                    value["plate"] = lookalike(self.rng, normalised(first["plate"]), 2)
                elif chance < 0.65:
                    value["captured_at_ms"] += self.minutes(-3, 1, 4)
                self.add(READS, stamp_ms, value)
        for n in range(self.rng.choice((0, 0, 5, 15))):  # an unlisted plate: these reads only advance time
            at_ms = ORIGIN_MS + self.rng.randrange(300, 900) * MINUTE_MS
            value = {"read_id": f"T{n}", "plate": UNLISTED, "captured_at_ms": at_ms, "ramp_id": "ramp-0"}
            for _ in range(self.rng.choice((1, 1, 2))):
                self.add(READS, at_ms, {**value, "camera_id": "c", "confidence": 0.9})

    def actions(self) -> None:
        for n in range(self.rng.choice((0, 2, 5, 8))):
            first_ms, shot = self.rng.choice(self.lines[SHOTS])
            freeze_ms = first_ms + self.join["incident_retention_ms"]
            around = first_ms + self.minutes(-3, 2, 10, 29)
            stamp_ms = self.rng.choice((first_ms, freeze_ms, around, around)) + self.nudge()
            self.act(f"A{n}", shot, self.rng.choice(self.lines[HITS])[1], stamp_ms)

    def act(self, action_id: str, shot: Value, hit: Value, stamp_ms: int) -> None:
        """An action on a possible incident, sometimes repeated, perhaps with another note."""
        value: Value = {
            "action_id": action_id,
            "incident_id": incident_id(shot["alert_id"], hit["hit_id"], plate_key(hit["plate"])),
            "kind": self.rng.choice(("acknowledge", "plate_verified", "dismiss", "outcome")),
            "by": "dispatcher 7",
            "at_ms": stamp_ms - self.minutes(0, 0, 3, -60),
            **self.rng.choice(({}, {"note": self.rng.choice(NAMES)})),
        }
        for _ in range(self.rng.choice((1, 1, 2))):
            self.add(ACTIONS, stamp_ms, value)
            stamp_ms += self.minutes(0, 3, 50)
            value |= self.rng.choice(({}, {"note": self.rng.choice(NAMES)}))

    def archive(self, *, with_stamps: bool) -> dict[str, list[Value]]:
        """All lines by topic, with broken ones among them, stamped as a broker would."""
        archive = {}
        for topic in (SHOTS, HITS, READS, ACTIONS):
            stamped = [(stamp_ms, {"value": value}) for stamp_ms, value in self.lines[topic]]
            sound = stamped or [(self.hot_ms[0], {"value": {EVENT_TIME[topic]: self.hot_ms[0]}})]
            stamped += broken_lines(self.rng, topic, sound, self.join)
            self.rng.shuffle(stamped)
            stamped.sort(key=lambda line: line[0])
            archive[topic] = [{"timestamp_ms": stamp_ms, **line} if with_stamps else line for stamp_ms, line in stamped]
        return archive
