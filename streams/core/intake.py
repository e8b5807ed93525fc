"""What comes in at the door: a record is admitted as the event it holds, or refused with the reason.

Nothing here depends on any other record, so a record is refused wherever and whenever it is read. `limit` is the one
reason that needs state; the engine and the broadcast give it.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import sub
from typing import NoReturn, cast

from msgspec import Struct

from streams.core.events import (
    Event,
    IncidentAction,
    InvalidRecord,
    PlateRead,
    Record,
    VehicleHit,
    decode,
    decode_reads,
    event_time_ms,
)
from streams.core.plates import confusion_key, normalise, plate_keys, usable
from streams.core.rules import JoinRules
from streams.core.site import Site

_TIME_FIELD = {
    "shot-spotter-alerts": "occurred_at_ms",
    "stolen-vehicle-hits": "reported_at_ms",
    "ramp-plate-reads": "captured_at_ms",
}


class Admitted(Struct, frozen=True, gc=False):
    """A record that can be used: its event, its plate's key where it has one, its place in the log."""

    event: Event
    plate_key: str
    topic: str
    partition: int
    offset: int
    stamp_ms: int
    value: bytes
    """The record's own bytes."""


class AdmittedReads(Struct, frozen=True, gc=False):
    """Reads that can be used, side by side: what stands at one place of each list belongs together."""

    reads: list[PlateRead]
    plate_keys: list[str]
    captured_ms: list[int]
    stamps_ms: Sequence[int]
    values: Sequence[bytes]
    """The records' own bytes."""


class Intake:
    """The door: knows the site's ramps and the join's rules, and remembers nothing."""

    def __init__(self, site: Site, rules: JoinRules) -> None:
        self._ramps = site.ramps
        self._site_name = site.name
        self._earliest_ahead_ms = -rules.read_retention_ms
        self._latest_ahead_ms = rules.max_future_skew_ms
        self._placeholders = frozenset(normalise(plate) for plate in rules.placeholder_plates)
        self._placeholder_keys = frozenset(map(confusion_key, self._placeholders))

    def admit(self, record: Record) -> Admitted:
        """Return the event in a record; raises `InvalidRecord` with the first reason that applies."""
        event = decode(record.topic, record.value)
        key = ""
        # reads are thousands to one of all else, so they are looked at first and asked nothing twice
        if type(event) is PlateRead:
            key = self._plate_key(event.plate)
            if event.ramp_id not in self._ramps:
                raise InvalidRecord(
                    "unknown_ramp",
                    "ramp_id",
                    f"{event.ramp_id!r} is not a ramp of site {self._site_name}; add it to the site file",
                )
            ahead_ms = event.captured_at_ms - record.stamp_ms
            if not self._earliest_ahead_ms <= ahead_ms <= self._latest_ahead_ms:
                self._refuse_time(event, record, ahead_ms)
        elif not isinstance(event, IncidentAction):
            if isinstance(event, VehicleHit):
                key = self._plate_key(event.plate)
            ahead_ms = event_time_ms(event) - record.stamp_ms
            if ahead_ms > self._latest_ahead_ms:
                self._refuse_time(event, record, ahead_ms)
        return Admitted(event, key, record.topic, record.partition, record.offset, record.stamp_ms, record.value or b"")

    def admit_reads(self, values: Sequence[bytes | None], stamps_ms: Sequence[int]) -> AdmittedReads | None:
        """Return the reads in a list of records as `admit` would, at a third of the cost.

        None where any of them is out of the ordinary, usable or not: what is refused, and why, `admit` alone says.
        Each step looks at the whole list, because a step for each read is what costs.
        """
        reads = decode_reads(values)
        if not reads:
            return None
        keys = plate_keys([read.plate for read in reads])
        if keys is None or not self._placeholder_keys.isdisjoint(keys):
            return None
        if not self._ramps.keys() >= {read.ramp_id for read in reads}:
            return None
        captured_ms = [read.captured_at_ms for read in reads]
        ahead_ms = list(map(sub, captured_ms, stamps_ms))
        if min(ahead_ms) < self._earliest_ahead_ms or max(ahead_ms) > self._latest_ahead_ms:
            return None
        return AdmittedReads(reads, keys, captured_ms, stamps_ms, cast(Sequence[bytes], values))

    def _plate_key(self, plate: str) -> str:
        normalised = usable(normalise(plate))
        if normalised in self._placeholders:
            raise InvalidRecord("placeholder", "plate", "stands for a plate that was not read; send no read instead")
        return confusion_key(normalised)

    def _refuse_time(self, event: Event, record: Record, ahead_ms: int) -> NoReturn:
        """Refuse what a clock ahead of the broker's sent, and reads that came after their time was up."""
        at_ms = record.stamp_ms + ahead_ms
        if ahead_ms > 0:
            raise InvalidRecord(
                "future",
                _TIME_FIELD[record.topic],
                f"{at_ms} is {ahead_ms} ms after the record reached its topic; set the sender's clock",
            )
        raise InvalidRecord(
            "late",
            "captured_at_ms",
            f"{at_ms} is {-ahead_ms} ms before the record reached its topic, more than reads are kept",
        )
