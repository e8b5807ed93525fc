"""Writes an archive of outcomes: what a replay produced, one file for each output topic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import msgspec

from streams.core.codec import ENCODER
from streams.core.counters.engine import Changes
from streams.core.counters.events import alert_key, counter_key, tally_key
from streams.core.effects import Effects
from streams.core.events import Outcome
from streams.core.plates import plate_key
from streams.core.topics import ALERTS, COUNTERS, DEAD_LETTERS, DIGEST_HEADER, INCIDENTS, OUTPUTS, TALLIES
from streams.kafka.partitioner import partition_of
from streams.replay.archive import ArchiveError, line_with

EARS: Final = "ears-c2"
"""The file of days on which EARS C2 would have alarmed."""

Outcomes = dict[str, Counter[Outcome]]
"""By topic: how many records had which outcome."""


class OutcomeWriter:
    """Writes an archive of outcomes; use it as a context manager."""

    def __init__(self, folder: Path, digest: str, partitions: int) -> None:
        self._folder = folder
        self._headers = {DIGEST_HEADER: digest}
        self._partitions = partitions
        self._files: dict[str, BinaryIO] = {}
        self._offsets: Counter[tuple[str, int]] = Counter()

    def __enter__(self) -> Self:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._files = {name: (self._folder / f"{name}.jsonl").open("wb") for name in OUTPUTS}
        except OSError as error:
            raise ArchiveError(f"{self._folder}: cannot be written ({error.strerror}); name another folder") from None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for file in self._files.values():
            file.close()

    def write(self, effects: Effects, stamp_ms: int) -> None:
        """Write the effects of a record with this stamp."""
        for dead in effects.dead_letters:
            headers = self._headers | dead.headers
            self._write(DEAD_LETTERS, 0, stamp_ms, dead.key, headers, dead.record.value or b"")
        for incident in effects.incidents:
            partition = partition_of(plate_key(incident.vehicle.plate), self._partitions)
            self._write(INCIDENTS, partition, stamp_ms, incident.incident_id, self._headers, ENCODER.encode(incident))
        for tally in effects.tallies:
            self._write(TALLIES, 0, stamp_ms, tally_key(tally), self._headers, ENCODER.encode(tally))

    def spikes(self, changes: Changes, as_of_ms: int) -> None:
        """Write counters and alerts as of a time, which is their stamp."""
        for counter in changes.counters:
            self._write(COUNTERS, 0, as_of_ms, counter_key(counter), self._headers, ENCODER.encode(counter))
        for alert in changes.alerts:
            self._write(ALERTS, 0, as_of_ms, alert_key(alert), self._headers, ENCODER.encode(alert))

    def beside(self, name: str, things: Iterable[object]) -> None:
        """Write a file of JSON lines that is no topic."""
        (self._folder / f"{name}.jsonl").write_bytes(b"".join(ENCODER.encode(thing) + b"\n" for thing in things))

    def outcomes(self, outcomes: dict[str, Counter[Outcome]]) -> None:
        """Write how many records of each topic ended as what."""
        (self._folder / "outcomes.json").write_bytes(msgspec.json.format(msgspec.json.encode(outcomes)) + b"\n")

    def _write(
        self, topic: str, partition: int, stamp_ms: int, key: str, headers: dict[str, str], value: bytes
    ) -> None:
        offset = self._offsets[topic, partition]
        self._offsets[topic, partition] += 1
        line = line_with(value, partition=partition, offset=offset, timestamp_ms=stamp_ms, key=key, headers=headers)
        self._files[topic].write(line + b"\n")
