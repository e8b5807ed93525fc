"""What a run with everything has beside its steady load, once in each cycle of a few minutes.

* Hostile records throughout: valid ones of worlds of their own, mutated at random, and some that
  are larger than a record may be. They are judged like all others.
* A bulk import of the stolen list: thousands of hits at once, half of them listed before.
* A hot plate: a listed car that is read far more often than an incident keeps.
* An overload of reads, some of them of imported plates.
* An idle gap, in which nothing is published and no fault begins.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeGuard

from tests.chaos.load import WORLDS_MAX, LoadRecord, MovedWorld, ground, random_world
from tests.chaos.schedule import Gap
from tests.fuzz.mutate import Mutator, Valid
from tests.fuzz.undecided import is_undecided
from tests.oracle.records import ACTIONS, HITS, READS, SHOTS, TOPICS, plate_key

CYCLE_S = 300.0
# In each cycle, as shares of it.
IMPORT_AT, HOT_PLATE_AT, OVERLOAD_AT, GAP_AT = 0.1, 0.3, 0.45, 0.8
GAP_SHARE = 0.2
HOSTILE_SHARE = 0.2
"""Hostile records for each record of the steady load."""
OVERSIZED_EVERY_S = 20.0
OVERSIZED_BYTES = (65_537, 1_000_000)
IMPORTED = 5_000
HOT_READS, HOT_READS_IN_MS = 600, 4_000
OVERLOAD_READS, OVERLOAD_MS = 12_000, 8_000
IMPORTED_SHARE = 0.003
"""The share of an overload's reads that are of imported plates."""


@dataclass(frozen=True)
class Trials:
    """The trials of a run that lasts ``for_s``; the steady load has ``rate_per_s``."""

    seed: int
    for_s: float
    rate_per_s: float
    minute_ms: int
    cycle_s: float = CYCLE_S

    @property
    def gaps(self) -> list[Gap]:
        """The idle gaps, in seconds after the load began; none at the end."""
        begins_s = [cycle_s + GAP_AT * self.cycle_s for cycle_s in self._cycles_s]
        gaps = [(begin_s, begin_s + GAP_SHARE * self.cycle_s) for begin_s in begins_s]
        return [(from_s, to_s) for from_s, to_s in gaps if to_s < self.for_s]

    @property
    def _cycles_s(self) -> list[float]:
        return [self.cycle_s * n for n in range(int(self.for_s / self.cycle_s) + 1)]

    def added_to(self, steady: list[LoadRecord], begin_ms: int) -> list[LoadRecord]:
        """The steady load with the trials, and without what is due in the gaps."""
        rng = random.Random(f"trials {self.seed}")
        records = [*steady, *self._hostile(rng, begin_ms), *self._oversized(rng)]
        for number, cycle_s in enumerate(self._cycles_s):
            at_ms = partial(self._at_ms, cycle_s)
            records += self._import(number, begin_ms)
            records += _hot_plate(number, begin_ms, at_ms(HOT_PLATE_AT), self.minute_ms)
            records += _overload(rng, number, begin_ms, at_ms(OVERLOAD_AT))
        gaps = [(round(from_s * 1000), round(to_s * 1000)) for from_s, to_s in self.gaps]
        kept = [
            record
            for record in records
            if record.due_ms < self.for_s * 1000
            and not any(from_ms <= record.due_ms < to_ms for from_ms, to_ms in gaps)
        ]
        return sorted(kept, key=lambda record: record.due_ms)

    def _at_ms(self, cycle_s: float, share: float) -> int:
        return round(1000 * (cycle_s + share * self.cycle_s))

    def _import(self, cycle: int, begin_ms: int) -> Iterator[LoadRecord]:
        for n in range(IMPORTED):
            number = cycle * IMPORTED // 2 + n
            plate, first = _imported(number), self._cycles_s[max(0, 2 * number // IMPORTED - 1)]
            # listed twice with the same content
            reported_ms = begin_ms + self._at_ms(first, IMPORT_AT)
            value = {"hit_id": f"import {number}", "plate": plate, "reported_at_ms": reported_ms}
            due_ms = self._at_ms(self._cycles_s[cycle], IMPORT_AT)
            yield LoadRecord(due_ms, HITS, plate_key(plate), json.dumps(value).encode())

    def _hostile(self, rng: random.Random, begin_ms: int) -> Iterator[LoadRecord]:
        left, number = round(self.for_s * self.rate_per_s * HOSTILE_SHARE), WORLDS_MAX
        while left > 0:
            number -= 1  # the steady load takes the worlds from the other end
            first_shot_ms = rng.randrange(-20 * self.minute_ms, round(1000 * self.for_s))
            moved = MovedWorld(random_world(rng), number, begin_ms, first_shot_ms, self.minute_ms)
            for record in _mutated(rng, list(moved.records(rng))):
                yield record
                left -= 1

    def _oversized(self, rng: random.Random) -> Iterator[LoadRecord]:
        for n in range(1, int(self.for_s / OVERSIZED_EVERY_S)):
            value = b'{"x":"' + b"x" * rng.randrange(*OVERSIZED_BYTES) + b'"}'
            yield LoadRecord(round(1000 * OVERSIZED_EVERY_S * n), rng.choice(TOPICS), f"oversized {n}", value)


# ---------------------------------------------------------------------- the trials


def _mutated(rng: random.Random, records: list[LoadRecord]) -> Iterator[LoadRecord]:
    """As many mutated records as there are records, on the topics and about when those are due."""
    valid = [Valid(record.topic, record.due_ms, record.value) for record in records if _is_object(record.value)]
    for mutated in Mutator(valid, rng.randrange(2**32)).records(len(valid)):
        if not is_undecided(mutated.value):
            yield LoadRecord(max(0, mutated.stamp_ms), mutated.topic, _key(mutated.topic, mutated.value), mutated.value)


def _is_object(value: bytes | None) -> TypeGuard[bytes]:
    """Whether a record's value is a JSON object with any field."""
    try:
        fields = json.loads(value or b"null")
    except ValueError:
        return False
    return isinstance(fields, dict) and bool(fields)


def _key(topic: str, value: bytes) -> str:
    """The key as the contract has it, if the value has what it is made of."""
    name = {SHOTS: "alert_id", HITS: "plate", READS: "plate", ACTIONS: "incident_id"}[topic]
    try:
        text = json.loads(value)[name]
        key = plate_key(text) if name == "plate" else text
        key.encode()
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return "hostile"
    return str(key)


def _imported(number: int) -> str:
    """A plate that is on the list; no world has one of a letter and digits."""
    return f"U{number:07d}"


def _hot_plate(cycle: int, begin_ms: int, due_ms: int, minute_ms: int) -> Iterator[LoadRecord]:
    plate = f"UHOT{cycle:04d}"
    value = {"hit_id": f"hot {cycle}", "plate": plate, "reported_at_ms": begin_ms + due_ms}
    yield LoadRecord(due_ms, HITS, plate_key(plate), json.dumps(value).encode())
    shot = {"kind": "multiple_gunshots", "occurred_at_ms": begin_ms + due_ms, "lat": ground().latitude(0)}
    for n in range(5):
        name = f"hot {cycle} {n}"
        raw = json.dumps({"alert_id": name, "lon": ground().lon, **shot}).encode()
        yield LoadRecord(due_ms + n * minute_ms, SHOTS, name, raw)
    for n in range(HOT_READS):
        after_ms = n * HOT_READS_IN_MS // HOT_READS
        yield _read(f"hot {n}", plate, begin_ms + due_ms + after_ms, due_ms + after_ms)


def _overload(rng: random.Random, cycle: int, begin_ms: int, due_ms: int) -> Iterator[LoadRecord]:
    for n in range(OVERLOAD_READS):
        after_ms = n * OVERLOAD_MS // OVERLOAD_READS
        listed = _imported(cycle * IMPORTED // 2 + rng.randrange(IMPORTED))
        plate = listed if rng.random() < IMPORTED_SHARE else f"TB{rng.randrange(10**6):06d}"
        yield _read(f"load {cycle} {n}", plate, begin_ms + due_ms + after_ms, due_ms + after_ms)


def _read(read_id: str, plate: str, captured_ms: int, due_ms: int) -> LoadRecord:
    value = {"read_id": read_id, "plate": plate, "captured_at_ms": captured_ms, "ramp_id": "ramp-0"}
    raw = json.dumps(value | {"camera_id": "c", "confidence": 0.9}).encode()
    return LoadRecord(due_ms, READS, plate_key(plate), raw)
