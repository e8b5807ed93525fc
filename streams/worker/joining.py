"""The worker's engines, one a partition, and what goes in and out of them.

Invariants:

* An incident's changes are published before the memory they came from is released, and before the offsets of the
  records they came from may be committed.
* All of that happens under one lock, so that the revisions of an incident leave in their order.
* The watermark of a partition moves only by what was read, or by an end that was asked for afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from streams import metrics
from streams.core.broadcast import Broadcast
from streams.core.engine import Engine
from streams.core.events import Outcome, Record, Refused
from streams.core.intake import Admitted, Intake
from streams.core.rules import JoinRules
from streams.core.scoring import Calibration
from streams.core.site import Site
from streams.core.windows import NEVER, Watermark
from streams.worker.outputs import Outputs

Source = tuple[str, int]
"""A topic, without its prefix, and a partition of it."""


class _Partition:
    """One partition's engine and its watermark."""

    def __init__(self, engine: Engine, watermark: Watermark) -> None:
        self.engine = engine
        self.watermark = watermark


class Joining:
    """The engines of the partitions that this worker has now."""

    def __init__(
        self, site: Site, rules: JoinRules, calibration: Calibration, outputs: Outputs, shared: Iterable[Source]
    ) -> None:
        """``shared``: the partitions of the broadcast topics, which are inputs of every engine."""
        self._site = site
        self._rules = rules
        self._calibration = calibration
        self._outputs = outputs
        self._partitions: dict[int, _Partition] = {}
        self._passed: dict[Source, int] = {}
        self._paused = False
        self.shared: frozenset[Source] = frozenset(shared)
        self.intake = Intake(site, rules)
        self.broadcast = Broadcast(rules)
        self.lock = asyncio.Lock()

    def pause(self) -> None:
        """Publish nothing until `begin`: whose the partitions are is being settled."""
        self._paused = True

    def keep(self, numbers: set[int]) -> None:
        """Let go of the engines of partitions that went elsewhere."""
        for gone in self._partitions.keys() - numbers:
            del self._partitions[gone]

    def begin(self, numbers: set[int], moved: set[int], topics: Sequence[str]) -> None:
        """Begin the engines of partitions that are new here, or that somebody else has read on meanwhile."""
        self.keep(numbers - moved)
        for number in numbers - self._partitions.keys():
            sources = self.shared | {(topic, number) for topic in topics}
            partition = _Partition(
                Engine(self._site, self._rules, self._calibration),
                Watermark(frozenset(sources), self._rules.stamp_slack_ms),
            )
            for admitted in self.broadcast.history():
                partition.engine.hear(admitted)
            for source, stamp_ms in self._passed.items():
                partition.watermark.seen(source, stamp_ms)
            self._partitions[number] = partition
        self._paused = False

    # ------------------------------------------------------------------ in

    async def batch(self, number: int, records: Sequence[Record]) -> None:
        """Take in records of one partition of a joined topic and publish what they change; the lock is held."""
        partition = self._partitions[number]
        refusals: list[tuple[Record, Refused]] = []
        for record in records:
            outcome = self._joined(partition, record, refusals)
            metrics.RECORDS.labels(record.topic, outcome).inc()
        last = records[-1]
        partition.watermark.seen((last.topic, number), max(record.stamp_ms for record in records))
        if refusals:
            await self._outputs.dead_letters(refusals)
        await self._publish(number, partition)

    def _joined(self, partition: _Partition, record: Record, refusals: list[tuple[Record, Refused]]) -> Outcome:
        try:
            return partition.engine.join(self.intake.admit(record))
        except Refused as refused:
            metrics.DEAD_LETTERS.labels(record.topic, refused.reason).inc()
            refusals.append((record, refused))
            return refused.outcome

    def hear(self, admitted: Admitted) -> None:
        """Take in a shot or an action, for every partition."""
        for partition in self._partitions.values():
            partition.engine.hear(admitted)

    def passed(self, source: Source, stamp_ms: int) -> None:
        """Note that a broadcast topic has been read up to a record with this stamp, whatever became of it."""
        self._passed[source] = max(stamp_ms, self._passed.get(source, stamp_ms))
        for partition in self._partitions.values():
            partition.watermark.seen(source, stamp_ms)

    # ------------------------------------------------------------------ the ends of inputs

    def greatest_ms(self) -> dict[int, int]:
        """Return the greatest stamp seen so far on the inputs of each partition: note it, then ask for ends."""
        return {number: partition.watermark.greatest_ms for number, partition in self._partitions.items()}

    def read_to_end(self, source: Source, greatest_ms: Mapping[int, int]) -> None:
        """Note that ``source`` had nothing more to read when the ends were asked for after ``greatest_ms``."""
        topic, number = source
        for mine, partition in self._partitions.items():
            if source in self.shared or number == mine:
                partition.watermark.read_to_end((topic, number), greatest_ms.get(mine, NEVER))

    # ------------------------------------------------------------------ out

    async def publish(self) -> None:
        """Publish what changed in any partition and release what may go; the lock is held."""
        if self._paused:
            return
        for number, partition in list(self._partitions.items()):
            await self._publish(number, partition)
        metrics.READS_KEPT.set(sum(partition.engine.reads_kept for partition in self._partitions.values()))
        if self._partitions:
            self.broadcast.release(min(p.watermark.value_ms for p in self._partitions.values()))

    async def _publish(self, number: int, partition: _Partition) -> None:
        changed = partition.engine.changes()
        if changed:
            await self._outputs.incidents(number, changed)
        partition.engine.release(partition.watermark.value_ms)
