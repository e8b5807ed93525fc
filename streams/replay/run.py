"""Replay in-process: an archive folded through the engine without a broker, into an archive of outcomes.

The records come in the order of their stamps, so the watermark is the stamp of the record in hand. One engine takes all
partitions: the answer does not depend on their number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import msgspec
from msgspec import Struct

from streams.core.broadcast_state import BroadcastState
from streams.core.counters.ears import c2_alarms
from streams.core.counters.engine import Changes, CounterEngine
from streams.core.counters.events import (
    Tally,
    alert_key,
    counter_key,
    tally_key,
    tally_of_hit,
    tally_of_incident,
    tally_of_shot,
)
from streams.core.counters.rules import CounterRules
from streams.core.dead_letters import dead_letter_headers, dead_letter_key
from streams.core.digest import answers_digest
from streams.core.engine import Engine
from streams.core.events import (
    ALERTS,
    BROADCAST,
    COUNTERS,
    DEAD_LETTERS,
    ENCODER,
    INCIDENTS,
    INPUTS,
    TALLIES,
    InvalidRecord,
    LinkedIncident,
    Outcome,
    Record,
    ShotAlert,
    VehicleHit,
    event_time_ms,
)
from streams.core.intake import Admitted, Intake
from streams.core.plates import plate_key
from streams.core.rules import JoinRules
from streams.core.scoring import Calibration
from streams.core.site import Site
from streams.core.windows import NEVER
from streams.kafka.partitioner import partition_of
from streams.replay.archive import ArchiveError, InvalidLine, line_with
from streams.resources.calibration import load_calibration

_RELEASE_EVERY_MS: Final = 60_000
"""Of stamps. Releasing later changes no answer; asking at every record would cost more than the join."""

EARS: Final = "ears-c2"
OUTPUTS: Final = (INCIDENTS, DEAD_LETTERS, TALLIES, COUNTERS, ALERTS)
"""What a replay writes, a file each."""

Progress = Callable[[int], None]

_NO_COPIES: Final[Mapping[tuple[str, str], bytes | None]] = {}


class Fold:
    """All partitions in one process: records in, in the order of their stamps; incidents and refusals out.

    ``tallied`` and ``shots`` hold what the last record applied brought, ``last_event_ms`` is the greatest event time.
    """

    def __init__(
        self,
        site: Site,
        rules: JoinRules,
        calibration: Calibration | None = None,
        copies: Mapping[tuple[str, str], bytes | None] = _NO_COPIES,
        partitions: int = 1,
    ) -> None:
        """``calibration``: the score's; None for the one that travels with rampwatch.

        ``copies``: the bytes of records that were sent on, by topic and the place (``partition:offset``) of the stray
        that each is a copy of; ``partitions``: of the joined topics, which tell a stray.
        """
        self._copies = copies
        self._partitions = partitions
        self._site = site
        self._skew_ms = rules.max_future_skew_ms
        self._intake = Intake(site, rules)
        self._broadcast = BroadcastState(rules)
        self._engine = Engine(site, rules, calibration or load_calibration())
        self._release_at_ms = NEVER
        self.outcomes: dict[str, Counter[Outcome]] = {topic: Counter() for topic in INPUTS}
        self.tallied: list[Tally] = []
        self.shots: list[ShotAlert] = []
        self.last_event_ms = NEVER

    def apply(self, record: Record) -> tuple[list[LinkedIncident], InvalidRecord | None]:
        """Return the incidents that this record changed, and why it was refused if it was."""
        refused = None
        self.tallied, self.shots = [], []
        try:
            outcome = self._taken_in(record)
        except InvalidRecord as refusal:
            refused, outcome = refusal, refusal.outcome
        self.outcomes[record.topic][outcome] += 1
        changed = self._engine.changes()
        self.tallied += [tally_of_incident(incident) for incident in changed]
        if record.stamp_ms >= self._release_at_ms:
            self._release_at_ms = record.stamp_ms + _RELEASE_EVERY_MS
            self._engine.release(record.stamp_ms)
            self._broadcast.release(record.stamp_ms)
        return changed, refused

    def _taken_in(self, record: Record) -> Outcome:
        if isinstance(record, InvalidLine):
            raise InvalidRecord("not_json", "", 'no line of an archive: it has neither "value" nor "value_base64"')
        admitted = self._intake.admit(record)
        if record.topic not in BROADCAST:
            if self._copies and self._was_sent_on(record, admitted.plate_key):
                return "forwarded"
            outcome = self._engine.join(admitted)
        else:
            outcome = self._broadcast.feed(admitted)
            self._engine.apply_broadcast(admitted)
        self._tally(admitted, outcome)
        return outcome

    def _was_sent_on(self, record: Record, plate_key: str) -> bool:
        """Whether a record is a stray whose copy counts; a header alone may claim that of any record."""
        place = (record.topic, f"{record.partition}:{record.offset}")
        is_stray = partition_of(plate_key, self._partitions) != record.partition and not record.forwarded_from
        return place in self._copies and self._copies[place] == record.value and is_stray

    def _tally(self, admitted: Admitted, outcome: Outcome) -> None:
        """Note what is counted; a revision that was superseded is one of the facts as well."""
        event = admitted.event
        at_ms = event_time_ms(event)
        if at_ms <= admitted.stamp_ms + self._skew_ms:  # a dispatcher's clock may say anything
            self.last_event_ms = max(self.last_event_ms, at_ms)
        if outcome == "duplicate":
            return
        if isinstance(event, ShotAlert):
            self.shots.append(event)
            self.tallied.append(tally_of_shot(event, self._site))
        elif isinstance(event, VehicleHit):
            self.tallied.append(tally_of_hit(event, self._site))


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
            self._files = {name: (self._folder / f"{name}.jsonl").open("wb") for name in OUTPUTS}
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

    def dead_letter(self, record: Record, refused: InvalidRecord) -> None:
        """Write a record that could not be used, as it came, with the reason in its headers."""
        place = dead_letter_key(record)
        headers = self._headers | dead_letter_headers(record, refused)
        self._write(DEAD_LETTERS, 0, record.stamp_ms, place, headers, record.value or b"")

    def tally(self, tally: Tally, stamp_ms: int) -> None:
        """Write a tally."""
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


class CounterOptions(Struct, frozen=True):
    """How a replay counts, and as of when; ``as_of_ms`` None: just after the last event of the archive."""

    rules: CounterRules = CounterRules()
    as_of_ms: int | None = None


def replay(
    records: Sequence[Record],
    site: Site,
    rules: JoinRules,
    out: Path,
    partitions: int,
    progress: Progress,
    counting: CounterOptions = CounterOptions(),  # noqa: B008 - it is frozen
) -> dict[str, Counter[Outcome]]:
    """Fold records, in the order of their stamps, into an archive of outcomes at ``out``; return the outcomes.

    ``progress`` is told now and then how many records have been folded.
    """
    calibration = load_calibration()
    copies = {(record.topic, record.forwarded_from): record.value for record in records if record.forwarded_from}
    fold, spikes = Fold(site, rules, calibration, copies, partitions), CounterEngine(site, counting.rules)
    with OutcomeWriter(out, answers_digest(site, rules, calibration), partitions) as writer:
        for n, record in enumerate(records):
            changed, refused = fold.apply(record)
            if refused:
                writer.dead_letter(record, refused)
            for incident in changed:
                writer.incident(incident, record.stamp_ms)
            for tally in fold.tallied:
                spikes.feed(tally)
                writer.tally(tally, record.stamp_ms)
            if n % 10_000 == 0:
                progress(n)
        as_of_ms = fold.last_event_ms + 1 if counting.as_of_ms is None else counting.as_of_ms
        if as_of_ms > NEVER + 1:
            spikes.advance(as_of_ms)
            writer.spikes(spikes.changes(everything=True), spikes.as_of_ms)
            writer.beside(EARS, c2_alarms(spikes))
        writer.outcomes(fold.outcomes)
    return fold.outcomes
