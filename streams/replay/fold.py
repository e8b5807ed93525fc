"""Replay in-process: an archive folded through the engine without a broker, into an archive of outcomes.

The records come in the order of their stamps, so the watermark is the stamp of the record in hand. One engine takes all
partitions: the answer does not depend on their number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import msgspec

from streams.calibration import load_calibration
from streams.core.broadcast import Broadcast
from streams.core.deadletters import dead_letter_headers, dead_letter_key
from streams.core.digest import answers_digest
from streams.core.engine import Engine
from streams.core.events import (
    BROADCAST,
    DEAD_LETTERS,
    ENCODER,
    INCIDENTS,
    INPUTS,
    LinkedIncident,
    Outcome,
    Record,
    Refused,
)
from streams.core.intake import Intake
from streams.core.plates import plate_key
from streams.core.rules import JoinRules
from streams.core.scoring import Calibration
from streams.core.site import Site
from streams.core.windows import NEVER
from streams.partitioning import partition_of
from streams.replay.archive import ArchiveError, NoLine, line_with

_RELEASE_EVERY_MS: Final = 60_000
"""Of stamps. Releasing later changes no answer; asking at every record would cost more than the join."""

Progress = Callable[[int], None]


class Fold:
    """All partitions in one process: records in, in the order of their stamps; incidents and refusals out."""

    def __init__(
        self,
        site: Site,
        rules: JoinRules,
        calibration: Calibration | None = None,
        sent_on: Container[tuple[str, str]] = (),
    ) -> None:
        """``calibration``: the score's; None for the one that travels with rampwatch.

        ``sent_on``: topic and place (``partition:offset``) of records whose copies count, on the right partitions.
        """
        self._sent_on = sent_on
        self._intake = Intake(site, rules)
        self._broadcast = Broadcast(rules)
        self._engine = Engine(site, rules, calibration or load_calibration())
        self._release_at_ms = NEVER
        self.outcomes: dict[str, Counter[Outcome]] = {topic: Counter() for topic in INPUTS}

    def apply(self, record: Record) -> tuple[list[LinkedIncident], Refused | None]:
        """Return the incidents that this record changed, and why it was refused if it was."""
        refused = None
        try:
            outcome = self._taken_in(record)
        except Refused as refusal:
            refused, outcome = refusal, refusal.outcome
        self.outcomes[record.topic][outcome] += 1
        changed = self._engine.changes()
        if record.stamp_ms >= self._release_at_ms:
            self._release_at_ms = record.stamp_ms + _RELEASE_EVERY_MS
            self._engine.release(record.stamp_ms)
            self._broadcast.release(record.stamp_ms)
        return changed, refused

    def _taken_in(self, record: Record) -> Outcome:
        if isinstance(record, NoLine):
            raise Refused("not_json", "", 'no line of an archive: it has neither "value" nor "value_base64"')
        admitted = self._intake.admit(record)
        if record.topic not in BROADCAST:
            if self._sent_on and (record.topic, f"{record.partition}:{record.offset}") in self._sent_on:
                return "forwarded"
            return self._engine.join(admitted)
        outcome = self._broadcast.feed(admitted)
        self._engine.hear(admitted)
        return outcome


class OutcomeWriter:
    """Writes an archive of outcomes; use it as a context manager."""

    def __init__(self, folder: Path, digest: str, partitions: int) -> None:
        self._folder = folder
        self._headers = {"rampwatch-digest": digest}
        self._partitions = partitions
        self._files: dict[str, BinaryIO] = {}
        self._offsets: Counter[tuple[str, int]] = Counter()

    def __enter__(self) -> Self:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._files = {name: (self._folder / f"{name}.jsonl").open("wb") for name in (INCIDENTS, DEAD_LETTERS)}
        except OSError as error:
            raise ArchiveError(f"{self._folder}: cannot be written ({error.strerror}); name another folder") from None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for file in self._files.values():
            file.close()

    def incident(self, incident: LinkedIncident, stamp_ms: int) -> None:
        """Write one revision of an incident."""
        partition = partition_of(plate_key(incident.vehicle.plate), self._partitions)
        value = ENCODER.encode(incident)
        self._write(INCIDENTS, partition, stamp_ms, incident.incident_id, self._headers, value)

    def dead_letter(self, record: Record, refused: Refused) -> None:
        """Write a record that could not be used, as it came, with the reason in its headers."""
        place = dead_letter_key(record)
        headers = self._headers | dead_letter_headers(record, refused)
        self._write(DEAD_LETTERS, 0, record.stamp_ms, place, headers, record.value or b"")

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


def replay(
    records: Sequence[Record], site: Site, rules: JoinRules, out: Path, partitions: int, progress: Progress
) -> dict[str, Counter[Outcome]]:
    """Fold records, in the order of their stamps, into an archive of outcomes at ``out``; return the outcomes.

    ``progress`` is told now and then how many records have been folded.
    """
    calibration = load_calibration()
    sent_on = {(record.topic, record.forwarded_from) for record in records if record.forwarded_from}
    fold = Fold(site, rules, calibration, sent_on)
    with OutcomeWriter(out, answers_digest(site, rules, calibration), partitions) as writer:
        for n, record in enumerate(records):
            changed, refused = fold.apply(record)
            if refused:
                writer.dead_letter(record, refused)
            for incident in changed:
                writer.incident(incident, record.stamp_ms)
            if n % 10_000 == 0:
                progress(n)
        writer.outcomes(fold.outcomes)
    return fold.outcomes
