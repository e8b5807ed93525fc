"""The load of a run: many small worlds in one city, with minutes shortened to seconds.

So the load contains what is hard for the join: revisions, conflicts, duplicates, lookalikes, late
and future reads, moved plates, crowds, actions, unusable records. Deadlines and freezes pass within
a run. Ids and plates are made different in each world, and times are moved to the time of the run.
A load is a function of its seed and of when it begins; the stamps are the broker's, and are read
back from the log.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.oracle.join import incident_id
from tests.oracle.records import ACTIONS, HITS, LONGEST_PLATE, READS, SHOTS, Value, normalised, plate_key
from tests.worlds.aftermath import with_aftermath
from tests.worlds.ground import MINUTE_MS, Ground, settings
from tests.worlds.small_world import ORIGIN_MS, PLATES, UNLISTED, World, world

# Marks of worlds on plates; cameras confuse none of these, so two worlds never share a plate key.
LETTERS = "ACEFHJKLMNPRTUVWXY3479"
# The share of reads of unlisted cars, evenly spread over the run.
BACKGROUND_SHARE = 0.3
TOMBSTONE_SHARE = 0.003
# The share of hits and reads published with another key, most of them on the wrong partition.
MISROUTED_SHARE = 0.02
MARK_CHARACTERS = 3
LONGEST_MARKED_ID = 100
LONGEST_ID = 128
LONGEST_MARKED_PLATE = LONGEST_PLATE - MARK_CHARACTERS
WORLDS_MAX = len(LETTERS) ** MARK_CHARACTERS
# Numbers farther than this from a world's times are not times, but values meant to be invalid.
TIME_SPAN_MS = 10**10


@dataclass(frozen=True)
class LoadRecord:
    """A record to publish: when, after the load began; topic, key and value (None: a tombstone)."""

    due_ms: int
    topic: str
    key: str
    value: bytes | None


def ground() -> Ground:
    """The site of all worlds."""
    return Ground(random.Random(0))


def join_settings(minute_ms: int) -> Value:
    """The join's settings in the worlds, with a minute of theirs shortened to ``minute_ms``."""
    worlds = settings(random.Random(0)) | {"max_distance_m": 3600, "max_lookalikes": 1, "min_confidence": 0.6}
    worlds |= {"max_speed_mps": 10, "hit_ttl_ms": 300 * MINUTE_MS, "incident_retention_ms": 100 * MINUTE_MS}
    scaled = {name: value * minute_ms // MINUTE_MS if name.endswith("_ms") else value for name, value in worlds.items()}
    return scaled | {"max_speed_mps": worlds["max_speed_mps"] * MINUTE_MS // minute_ms, "max_shots": 100_000}


def load(seed: int, begin_ms: int, for_ms: int, rate_per_s: float, minute_ms: int) -> list[LoadRecord]:
    """The records of a run by the times they are due."""
    rng = random.Random(f"load {seed}")
    count = round(for_ms / 1000 * rate_per_s)
    records = list(_background(rng, begin_ms, for_ms, round(count * BACKGROUND_SHARE)))
    number = 0
    while len(records) < count:
        first_shot_ms = rng.randrange(-20 * minute_ms, for_ms)
        moved = MovedWorld(random_world(rng), number, begin_ms, first_shot_ms, minute_ms)
        # records due after the end of the run are left out
        records += [record for record in moved.records(rng) if record.due_ms < for_ms]
        number += 1
    return sorted(records, key=lambda record: record.due_ms)


def random_world(rng: random.Random) -> World:
    """A world whose records have stamps; some go on around and after the freeze of their shots."""
    while True:
        made = world(rng.randrange(10**9), ground(), join_settings(MINUTE_MS))
        if all("timestamp_ms" in line for lines in made.archive.values() for line in lines):
            return with_aftermath(made, rng) if rng.random() < 0.3 else made


def _background(rng: random.Random, begin_ms: int, for_ms: int, count: int) -> Iterator[LoadRecord]:
    for n in range(count):
        due_ms, plate = rng.randrange(for_ms), f"{UNLISTED}{rng.choice(LETTERS)}"
        value = {"read_id": f"T{n}", "plate": plate, "captured_at_ms": begin_ms + due_ms, "ramp_id": "ramp-0"}
        raw = json.dumps(value | {"camera_id": "c", "confidence": 0.9}).encode()
        yield LoadRecord(due_ms, READS, plate_key(plate), raw if rng.random() > TOMBSTONE_SHARE else None)


class MovedWorld:
    """A world under its own mark, moved in time so that its first shot has a given stamp."""

    def __init__(self, made: World, number: int, begin_ms: int, first_shot_ms: int, minute_ms: int) -> None:
        self.made = made
        if number >= WORLDS_MAX:
            raise ValueError(f"a run can hold {WORLDS_MAX} worlds; choose fewer faults or a lower rate")
        places = (number // len(LETTERS) ** place for place in reversed(range(MARK_CHARACTERS)))
        self.mark = "".join(LETTERS[place % len(LETTERS)] for place in places)
        self.begin_ms, self.first_shot_ms = begin_ms, first_shot_ms
        self.minute_ms = minute_ms
        self.from_ms: int = min(line["timestamp_ms"] for line in made.archive[SHOTS])
        self.incidents = dict(self._incidents())

    def records(self, rng: random.Random) -> Iterator[LoadRecord]:
        """Its records with marked ids and plates, and moved times."""
        for topic, lines in self.made.archive.items():
            for line in lines:
                due_ms = self.due_ms(line["timestamp_ms"])
                if "value_base64" in line:
                    raw: bytes = base64.b64decode(line["value_base64"])
                    yield LoadRecord(due_ms, topic, f"broken {rng.randrange(1000)}", raw)
                    continue
                value = self.value(line["value"])
                yield LoadRecord(due_ms, topic, self.key(topic, value, rng), json.dumps(value).encode())

    def due_ms(self, at_ms: int) -> int:
        """When a record with this stamp is due."""
        return max(0, self.first_shot_ms + (at_ms - self.from_ms) * self.minute_ms // MINUTE_MS)

    def value(self, value: Any) -> Any:
        """A value with its fields marked and moved."""
        if not isinstance(value, dict):
            return value
        return {name: self.field(name, field) for name, field in value.items()}

    def field(self, name: str, field: Any) -> Any:
        """A field, marked or moved."""
        if name.endswith("_ms") and type(field) is int and abs(field - ORIGIN_MS) < TIME_SPAN_MS:
            return self.begin_ms + self.first_shot_ms + (field - self.from_ms) * self.minute_ms // MINUTE_MS
        if name == "incident_id" and isinstance(field, str):
            return self.incidents.get(field, field)
        if name in ("alert_id", "hit_id", "read_id", "action_id") and isinstance(field, str):
            return self.marked(field)
        return self.plate(field) if name == "plate" and isinstance(field, str) else field

    def marked(self, name: str) -> str:
        """An id with the mark before it, or in it if it is long; one meant to be invalid stays."""
        if 0 < len(name) <= LONGEST_MARKED_ID:
            return f"{self.mark} {name}"
        return self.mark + name[MARK_CHARACTERS:] if 0 < len(name) <= LONGEST_ID else name

    def plate(self, plate: str) -> str:
        """The plate with the mark before it, or in it if it is long; an invalid one stays."""
        text = normalised(plate)
        if not 0 < len(text) <= LONGEST_PLATE or text in self.made.join["placeholder_plates"]:
            return plate
        return self.mark + (plate if len(text) <= LONGEST_MARKED_PLATE else text[MARK_CHARACTERS:])

    def key(self, topic: str, value: Any, rng: random.Random) -> str:
        """The record's key: as the contract has it, or for a few records another one."""
        name = {SHOTS: "alert_id", HITS: "plate", READS: "plate", ACTIONS: "incident_id"}[topic]
        text = value.get(name) if isinstance(value, dict) else None
        if not isinstance(text, str) or not text:
            return f"broken {rng.randrange(1000)}"
        if topic in (HITS, READS) and rng.random() < MISROUTED_SHARE:
            return f"misrouted {rng.randrange(1000)}"
        return plate_key(text) if name == "plate" else text

    def _incidents(self) -> Iterator[tuple[str, str]]:
        """The id of each possible incident of this world, without the mark and with it."""
        valid = {
            topic: [line["value"] for line in lines if isinstance(line.get("value"), dict)]
            for topic, lines in self.made.archive.items()
        }
        alerts = {value["alert_id"] for value in valid[SHOTS] if isinstance(value.get("alert_id"), str)}
        hits = {value["hit_id"] for value in valid[HITS] if isinstance(value.get("hit_id"), str)}
        for alert in alerts:
            for hit in hits:
                for plate in PLATES:
                    marked = incident_id(self.marked(alert), self.marked(hit), plate_key(self.mark + plate))
                    yield incident_id(alert, hit, plate_key(plate)), marked
