"""What is published: many of the simulation's small worlds in one city at once, their minutes run as seconds.

So the load holds what the join finds hard (revisions, conflicts, duplicates, lookalikes, late and future reads, moved
plates, crowds, actions, records that cannot be used), and deadlines and freezes pass within a run. Ids and plates are
made different from world to world, times are moved to when the run takes place. A load is a function of its seed and
of when it begins; what was stamped when is the broker's to say, and is read back from the log.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.worlds.aftermath import with_aftermath
from tests.worlds.ground import MINUTE_MS, Ground, settings
from tests.oracle.join import incident_id
from tests.oracle.records import ACTIONS, HITS, READS, SHOTS, Value, normalised, plate_key
from tests.worlds.small_world import ORIGIN_MS, PLATES, UNLISTED, World, world

# Marks of worlds on plates: none that cameras confuse, so that two worlds never share a key.
LETTERS = "ACEFHJKLMNPRTUVWXY3479"
# Of all records, reads of cars that nobody looks for, evenly in time.
BACKGROUND_SHARE = 0.3
TOMBSTONE_SHARE = 0.003
# Of hits and reads: those whose producer took another key, so that most lie on a wrong partition.
STRAY_SHARE = 0.02
LONGEST_MARKED_ID = 100
LONGEST_MARKED_PLATE = 8
# Times further from a world's own than this are no times of it, but numbers meant to be refused.
REACH_MS = 10**10


@dataclass(frozen=True)
class Sent:
    """A record to publish: when, after the load began; where to; under which key; what (None: a tombstone)."""

    due_ms: int
    topic: str
    key: str
    value: bytes | None


def ground() -> Ground:
    """Where all worlds play."""
    return Ground(random.Random(0))


def join_settings(minute_ms: int) -> Value:
    """The join's settings of the worlds, a minute of theirs taken as ``minute_ms``."""
    worlds = settings(random.Random(0)) | {"max_distance_m": 3600, "max_lookalikes": 1, "min_confidence": 0.6}
    worlds |= {"max_speed_mps": 10, "hit_ttl_ms": 300 * MINUTE_MS, "incident_retention_ms": 100 * MINUTE_MS}
    scaled = {name: value * minute_ms // MINUTE_MS if name.endswith("_ms") else value for name, value in worlds.items()}
    return scaled | {"max_speed_mps": worlds["max_speed_mps"] * MINUTE_MS // minute_ms, "max_shots": 100_000}


def load(seed: int, begin_ms: int, for_ms: int, rate_per_s: float, minute_ms: int) -> list[Sent]:
    """What is to be published in a run that begins and lasts so, in the order of the times it is due."""
    rng = random.Random(f"load {seed}")
    records = round(for_ms / 1000 * rate_per_s)
    sent = list(_background(rng, begin_ms, for_ms, round(records * BACKGROUND_SHARE)))
    number = 0
    while len(sent) < records:
        first_shot_ms = rng.randrange(-20 * minute_ms, for_ms)
        moved = _Moved(_a_world(rng), number, begin_ms, first_shot_ms, minute_ms)
        # what its world says after the end of the run is never said
        sent += [record for record in moved.records(rng) if record.due_ms < for_ms]
        number += 1
    return sorted(sent, key=lambda record: record.due_ms)


def _a_world(rng: random.Random) -> World:
    while True:
        made = world(rng.randrange(10**9), ground(), join_settings(MINUTE_MS))
        if all("timestamp_ms" in line for lines in made.archive.values() for line in lines):
            return with_aftermath(made, rng) if rng.random() < 0.3 else made


def _background(rng: random.Random, begin_ms: int, for_ms: int, count: int) -> Iterator[Sent]:
    for n in range(count):
        due_ms, plate = rng.randrange(for_ms), f"{UNLISTED}{rng.choice(LETTERS)}"
        value = {"read_id": f"T{n}", "plate": plate, "captured_at_ms": begin_ms + due_ms, "ramp_id": "ramp-0"}
        said = json.dumps(value | {"camera_id": "c", "confidence": 0.9}).encode()
        yield Sent(due_ms, READS, plate_key(plate), said if rng.random() > TOMBSTONE_SHARE else None)


class _Moved:
    """A world under its own mark, moved to the run's time so that its first shot is reported at a given moment."""

    def __init__(self, made: World, number: int, begin_ms: int, first_shot_ms: int, minute_ms: int) -> None:
        self.made = made
        self.mark = LETTERS[number // len(LETTERS) % len(LETTERS)] + LETTERS[number % len(LETTERS)]
        if number >= len(LETTERS) ** 2:
            raise ValueError(f"there are marks for {len(LETTERS) ** 2} worlds; ask for fewer faults or a lower rate")
        self.begin_ms, self.first_shot_ms = begin_ms, first_shot_ms
        self.minute_ms = minute_ms
        self.from_ms = min(line["timestamp_ms"] for line in made.archive[SHOTS])
        self.incidents = dict(self._incidents())

    def records(self, rng: random.Random) -> Iterator[Sent]:
        for topic, lines in self.made.archive.items():
            for line in lines:
                due_ms = self.due_ms(line["timestamp_ms"])
                if "value_base64" in line:
                    value: bytes = base64.b64decode(line["value_base64"])
                    yield Sent(due_ms, topic, f"broken {rng.randrange(1000)}", value)
                    continue
                said = self.said(line["value"])
                yield Sent(due_ms, topic, self.key(topic, said, rng), json.dumps(said).encode())

    def due_ms(self, at_ms: int) -> int:
        return max(0, self.first_shot_ms + (at_ms - self.from_ms) * self.minute_ms // MINUTE_MS)

    def said(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: self.field(name, said) for name, said in value.items()}

    def field(self, name: str, said: Any) -> Any:
        if name.endswith("_ms") and type(said) is int and abs(said - ORIGIN_MS) < REACH_MS:
            return self.begin_ms + self.first_shot_ms + (said - self.from_ms) * self.minute_ms // MINUTE_MS
        if name == "incident_id" and isinstance(said, str):
            return self.incidents.get(said, said)
        if name in ("alert_id", "hit_id", "read_id", "action_id") and isinstance(said, str):
            return self.marked(said)
        return self.plate(said) if name == "plate" and isinstance(said, str) else said

    def marked(self, name: str) -> str:
        return f"{self.mark} {name}" if 0 < len(name) <= LONGEST_MARKED_ID else name

    def plate(self, plate: str) -> str:
        """The plate with the mark before it, but for one that is meant to be refused."""
        length, placeholders = len(normalised(plate)), self.made.join["placeholder_plates"]
        usable = 0 < length <= LONGEST_MARKED_PLATE and normalised(plate) not in placeholders
        return self.mark + plate if usable else plate

    def key(self, topic: str, said: Any, rng: random.Random) -> str:
        named = {SHOTS: "alert_id", HITS: "plate", READS: "plate", ACTIONS: "incident_id"}[topic]
        text = said.get(named) if isinstance(said, dict) else None
        if not isinstance(text, str) or not text:
            return f"broken {rng.randrange(1000)}"
        if topic in (HITS, READS) and rng.random() < STRAY_SHARE:
            return f"stray {rng.randrange(1000)}"
        return plate_key(text) if named == "plate" else text

    def _incidents(self) -> Iterator[tuple[str, str]]:
        """Each incident there may be in this world, by its name without the mark and with it."""
        sound = {
            topic: [line["value"] for line in lines if isinstance(line.get("value"), dict)]
            for topic, lines in self.made.archive.items()
        }
        alerts = {said["alert_id"] for said in sound[SHOTS] if isinstance(said.get("alert_id"), str)}
        hits = {said["hit_id"] for said in sound[HITS] if isinstance(said.get("hit_id"), str)}
        for alert in alerts:
            for hit in hits:
                for plate in PLATES:
                    marked = incident_id(self.marked(alert), self.marked(hit), plate_key(self.mark + plate))
                    yield incident_id(alert, hit, plate_key(plate)), marked
