"""Writes an archive of outcomes: what a replay produced, one file for each output topic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec
from msgspec import structs

from streams.core.codec import ENCODER
from streams.core.counters.engine import Changes
from streams.core.counters.events import alert_key, counter_key, tally_key
from streams.core.effects import Effects
from streams.core.events import LinkedIncident, Outcome
from streams.core.site import Site
from streams.core.topics import ALERTS, COUNTERS, DEAD_LETTERS, DIGEST_HEADER, INCIDENTS, OUTPUTS, TALLIES
from streams.replay.archive import line_with
from streams.replay.folder import FolderWriter
from streams.replay.manifest import manifest_of

EARS: Final = "ears-c2"
"""The file of days on which EARS C2 would have alarmed."""

Outcomes = dict[str, Counter[Outcome]]
"""By topic: how many records had which outcome."""


_FILES: Final = (*OUTPUTS, EARS)
_OUTCOMES: Final = "outcomes.json"


class OutcomeWriter:
    """Writes an archive of outcomes, whole or not at all; use it as a context manager."""

    def __init__(
        self, folder: Path, site: Site, digest: str, partition_of_incident: Callable[[LinkedIncident], int]
    ) -> None:
        """``partition_of_incident``: where a worker publishes an incident."""
        self._writer = FolderWriter(folder, "outcomes", [*(f"{name}.jsonl" for name in _FILES), _OUTCOMES])
        self._site = site
        self._digest = digest
        self._headers = {DIGEST_HEADER: digest}
        self._partition_of_incident = partition_of_incident
        self._offsets: Counter[tuple[str, int]] = Counter()
        self._records = Counter(dict.fromkeys(_FILES, 0))
        self._rejected: dict[str, Counter[str]] = {}

    def __enter__(self) -> Self:
        self._writer.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._writer.__exit__(kind, error, at)

    def write(self, effects: Effects, stamp_ms: int) -> None:
        """Write the effects of a record with this stamp."""
        for dead in effects.dead_letters:
            self._rejected.setdefault(dead.record.topic, Counter())[dead.error.reason] += 1
            headers = self._headers | dead.headers
            self._write(DEAD_LETTERS, 0, stamp_ms, dead.key, headers, dead.record.value or b"")
        for incident in effects.incidents:
            partition = self._partition_of_incident(incident)
            self._write(INCIDENTS, partition, stamp_ms, incident.incident_id, self._headers, ENCODER.encode(incident))
        for tally in effects.tallies:
            self._write(TALLIES, 0, stamp_ms, tally_key(tally), self._headers, ENCODER.encode(tally))

    def spikes(self, changes: Changes, as_of_ms: int) -> None:
        """Write counters and alerts as of a time, which is their stamp."""
        for counter in changes.counters:
            self._write(COUNTERS, 0, as_of_ms, counter_key(counter), self._headers, ENCODER.encode(counter))
        for alert in changes.alerts:
            self._write(ALERTS, 0, as_of_ms, alert_key(alert), self._headers, ENCODER.encode(alert))

    def ears(self, alarms: Iterable[object]) -> None:
        """Write the days on which EARS C2 would have alarmed."""
        for alarm in alarms:
            self._add(EARS, ENCODER.encode(alarm))

    def commit(self, outcomes: Outcomes) -> None:
        """Write how many records of each topic ended as what, and put all files in their place."""
        self._writer.write(_OUTCOMES, msgspec.json.format(msgspec.json.encode(outcomes)) + b"\n")
        consumed = sum(counts.total() for counts in outcomes.values())
        manifest = manifest_of("outcomes", self._site, dict(self._records), self._digest)
        rejected = {topic: dict(counts) for topic, counts in self._rejected.items()}
        self._writer.commit(structs.replace(manifest, rejected=rejected, consumed=consumed))

    def _write(
        self, topic: str, partition: int, stamp_ms: int, key: str, headers: dict[str, str], value: bytes
    ) -> None:
        offset = self._offsets[topic, partition]
        self._offsets[topic, partition] += 1
        line = line_with(value, partition=partition, offset=offset, timestamp_ms=stamp_ms, key=key, headers=headers)
        self._add(topic, line)

    def _add(self, name: str, line: bytes) -> None:
        self._records[name] += 1
        self._writer.write(f"{name}.jsonl", line + b"\n")
