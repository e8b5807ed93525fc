"""Admission: a record becomes the event it holds, or an `InvalidRecord` with the reason.

Admission depends on the record alone, so a record is rejected wherever and whenever it is read.
Only the limits on hits and shots need state; the engine and the broadcast state raise them.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import sub
from typing import Final, NoReturn, cast

from msgspec import Struct

from streams.core.codec import decode, decode_reads
from streams.core.events import (
    DeadReason,
    Event,
    IncidentAction,
    InvalidRecord,
    PlateRead,
    Record,
    VehicleHit,
    event_time_ms,
)
from streams.core.plates import confusion_key, normalise, plate_keys, usable
from streams.core.rules import JoinRules
from streams.core.site import Site
from streams.core.topics import HITS, READS, SHOTS

_YEAR_MS: Final = 366 * 86_400_000
_TIME_FIELD: Final = {SHOTS: "occurred_at_ms", HITS: "reported_at_ms", READS: "captured_at_ms"}


class Admitted(Struct, frozen=True, gc=False):
    """A record that can be used: its event, and its plate key if it has a plate (else empty)."""

    event: Event
    plate_key: str
    record: Record

    @property
    def topic(self) -> str:
        """The record's topic."""
        return self.record.topic

    @property
    def stamp_ms(self) -> int:
        """When the record reached its topic."""
        return self.record.stamp_ms


class AdmittedReads(Struct, frozen=True, gc=False):
    """Usable reads as columns: the elements at one index belong to one read."""

    reads: list[PlateRead]
    plate_keys: list[str]
    captured_ms: list[int]
    stamps_ms: Sequence[int]
    values: Sequence[bytes]
    """The records' own bytes."""


class Intake:
    """Admits records by the site's ramps and the join's rules; keeps no state."""

    def __init__(self, site: Site, rules: JoinRules) -> None:
        self._ramps = site.ramps
        self._site_name = site.name
        self._earliest_ahead_ms = -rules.read_retention_ms
        self._latest_ahead_ms = rules.max_future_skew_ms
        self._max_bytes = rules.max_record_bytes
        self._placeholders = frozenset(normalise(plate) for plate in rules.placeholder_plates)
        self._placeholder_keys = frozenset(map(confusion_key, self._placeholders))

    def admit(self, record: Record) -> Admitted:
        """Return the event in a record.

        Raises `InvalidRecord` with the first reason that applies.
        """
        if record.unreadable:
            raise InvalidRecord("unreadable", "", record.unreadable)
        value = record.value
        if value is not None and len(value) > self._max_bytes:
            raise InvalidRecord(
                "limit",
                "",
                f"the record has {len(value)} bytes, more than max_record_bytes ({self._max_bytes}); send less, or "
                "raise the setting if such records are real",
            )
        event = decode(record.topic, value)
        key = ""
        # Reads outnumber all other records by thousands to one, so they are checked first.
        if type(event) is PlateRead:
            key = self._plate_key(event.plate)
            if event.ramp_id not in self._ramps:
                raise InvalidRecord(
                    "unknown_ramp",
                    "ramp_id",
                    f"{event.ramp_id!r} is not a ramp of site {self._site_name}; correct it, or add it to the site "
                    "file",
                )
            ahead_ms = event.captured_at_ms - record.stamp_ms
            if not self._earliest_ahead_ms <= ahead_ms <= self._latest_ahead_ms:
                self._reject_time(event, record, ahead_ms)
        elif not isinstance(event, IncidentAction):
            if isinstance(event, VehicleHit):
                key = self._plate_key(event.plate)
            ahead_ms = event_time_ms(event) - record.stamp_ms
            if ahead_ms > self._latest_ahead_ms:
                self._reject_time(event, record, ahead_ms)
        return Admitted(event, key, record)

    def admit_reads(self, values: Sequence[bytes | None], stamps_ms: Sequence[int]) -> AdmittedReads | None:
        """Return the reads in a list of records as `admit` would, at a third of the cost.

        Returns None if any record is invalid or unusual; then `admit` decides each of them. Every
        step handles the whole list, because a step for each read is what costs.
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
            raise InvalidRecord(
                "placeholder", "plate", "stands for a plate that is missing; send the plate itself, or no record"
            )
        return confusion_key(normalised)

    def _reject_time(self, event: Event, record: Record, ahead_ms: int) -> NoReturn:
        """Reject an event from a clock ahead of the broker's, or a read after its deadline."""
        at_ms, field = record.stamp_ms + ahead_ms, _TIME_FIELD[record.topic]
        reason: DeadReason = "future" if ahead_ms > 0 else "late"
        unit = _other_unit(at_ms, record.stamp_ms)
        if unit:
            detail = f"{at_ms} seems to be in {unit}; send milliseconds since the Unix epoch"
        elif ahead_ms > 0:
            detail = f"{at_ms} is {ahead_ms} ms after the record reached its topic; correct the sender's clock"
        else:
            detail = (
                f"{at_ms} is {-ahead_ms} ms before the record reached its topic, longer than the "
                f"{-self._earliest_ahead_ms} ms for which reads are retained; send reads sooner, or correct the "
                "camera's clock"
            )
        raise InvalidRecord(reason, field, detail)


def _other_unit(at_ms: int, stamp_ms: int) -> str:
    """Return the unit in which a time would be within a year of its stamp; empty if none."""
    if abs(at_ms - stamp_ms) < _YEAR_MS:
        return ""
    in_ms = {"seconds": at_ms * 1_000, "microseconds": at_ms // 1_000, "nanoseconds": at_ms // 1_000_000}
    return next((unit for unit, value_ms in in_ms.items() if abs(value_ms - stamp_ms) < _YEAR_MS), "")
