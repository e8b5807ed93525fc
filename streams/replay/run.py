"""Replay in-process: sends an archive through the pipeline into an archive of outcomes.

Records come in the order of their stamps, so the watermark is the stamp of the record at hand. One
engine takes all partitions: the incidents do not depend on their number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from streams.core.counters.ears import c2_alarms
from streams.core.counters.engine import CounterEngine
from streams.core.counters.rules import CounterRules
from streams.core.digest import results_digest
from streams.core.effects import Effects
from streams.core.engine import Engine
from streams.core.events import InvalidRecord, LinkedIncident, Record
from streams.core.intake import Admitted
from streams.core.pipeline import Pipeline, Routing
from streams.core.plates import plate_key
from streams.core.rules import JoinRules
from streams.core.scoring import Calibration
from streams.core.site import Site
from streams.core.topics import INPUTS
from streams.core.windows import NEVER
from streams.kafka.partitioner import partition_of
from streams.replay.archive import REPORT_EVERY, InvalidLine, Progress
from streams.replay.outcomes import Outcomes, OutcomeWriter
from streams.resources.calibration import load_calibration

_NO_LINE: Final = InvalidRecord("not_json", "", 'not an archive line: it has neither "value" nor "value_base64"')


class CounterOptions(Struct, frozen=True):
    """How a replay counts, and as of when.

    ``as_of_ms`` None: just after the archive's last event.
    """

    rules: CounterRules = CounterRules()
    as_of_ms: int | None = None


class ForwardedCopies:
    """Routes away the records that a worker forwarded, if the archive has the forwarded copy.

    A header alone makes no forwarded record, because any producer can set it: the original must be
    on the wrong partition, and its copy must have the same bytes.
    """

    forward_bytes_max: int | None = None

    def __init__(self, records: Sequence[Record], partitions: int) -> None:
        self._partitions = partitions
        self._copies = {
            (record.topic, record.forwarded_from): record.value for record in records if record.forwarded_from
        }
        self._joined_elsewhere: dict[str, int] = {}

    def homes_of(self, admitted: Sequence[Admitted]) -> list[int]:
        """Return another partition than a record's own if its copy is to be joined instead."""
        return [self._home_of(one.record, one.plate_key) for one in admitted]

    def _home_of(self, record: Record, key: str) -> int:
        home = partition_of(key, self._partitions)
        if record.forwarded_from and record.partition != home:
            self._joined_elsewhere[key] = record.partition
        return home if self._has_copy(record) else record.partition

    def _has_copy(self, record: Record) -> bool:
        place = (record.topic, f"{record.partition}:{record.offset}")
        return not record.forwarded_from and self._copies.get(place, record) == record.value

    def partition_of_plate(self, key: str) -> int:
        """Return the partition that publishes the incidents of a plate key.

        A record that says it was forwarded is joined where it is, so a worker publishes its
        incidents there, whatever the partition of its key.
        """
        return self._joined_elsewhere.get(key, partition_of(key, self._partitions))

    def all_at_home(self, partition: int, plate_keys: Sequence[str]) -> bool:
        """Return False: each record has to be compared with the copies."""
        return False


def new_pipeline(
    site: Site, rules: JoinRules, calibration: Calibration | None = None, routing: Routing | None = None
) -> Pipeline:
    """Return a pipeline with one engine for all partitions.

    Without ``calibration``, it uses the built-in one.
    """
    engine = Engine(site, rules, calibration or load_calibration())
    return Pipeline(site, rules, engine, routing)


def replay(
    records: Sequence[Record],
    site: Site,
    rules: JoinRules,
    out: Path,
    partitions: int,
    progress: Progress,
    options: CounterOptions = CounterOptions(),  # noqa: B008 - it is frozen
    calibration: Calibration | None = None,
) -> Outcomes:
    """Replay records, given in the order of their stamps, into an archive at ``out``.

    Return the outcomes. ``progress`` is called now and then with the number of records done. Raises
    `ArchiveError` before anything is done, or `WriteError`; then nothing was written.
    """
    calibration = calibration or load_calibration()
    copies = ForwardedCopies(records, partitions)
    # without forwarded records, no record needs a comparison
    routing = copies if any(record.forwarded_from for record in records) else None
    pipeline = new_pipeline(site, rules, calibration, routing)
    counters = CounterEngine(site, options.rules)
    outcomes: Outcomes = {topic: Counter() for topic in INPUTS}

    def publishes(incident: LinkedIncident) -> int:
        return copies.partition_of_plate(plate_key(incident.vehicle.plate))

    with OutcomeWriter(out, site, results_digest(site, rules, calibration), publishes) as writer:
        for n, record in enumerate(records):
            effects = apply_record(pipeline, record)
            for (topic, outcome), count in effects.outcomes.items():
                outcomes[topic][outcome] += count
            for tally in effects.tallies:
                counters.apply(tally)
            writer.write(effects, record.stamp_ms)
            if n % REPORT_EVERY == 0:
                progress(n)
        as_of_ms = pipeline.last_event_ms + 1 if options.as_of_ms is None else options.as_of_ms
        if as_of_ms > NEVER + 1:
            counters.advance(as_of_ms)
            writer.spikes(counters.changes(include_unchanged=True), counters.as_of_ms)
            writer.ears(c2_alarms(counters))
        writer.commit(outcomes)
    return outcomes


def apply_record(pipeline: Pipeline, record: Record) -> Effects:
    """Apply a record of an archive; a line that is no record is rejected as ``not_json``."""
    if isinstance(record, InvalidLine):
        effects = Effects()
        effects.reject(record, _NO_LINE)
        return effects
    return pipeline.apply(record)
