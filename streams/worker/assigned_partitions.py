"""The partitions assigned to this worker, and what goes into and out of them.

Invariants:

* Records are applied and incidents published under one lock, so that the revisions of an incident
  leave in order.
* A partition whose writer is fenced is dropped at once, with its state: another worker may own it
  already.
* Shots and actions reach every partition, including those being rebuilt and those added later.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping

from streams.core.effects import Effects
from streams.core.engine import Engine
from streams.core.events import Record
from streams.core.pipeline import Pipeline
from streams.core.rules import JoinRules
from streams.core.scoring import Calibration
from streams.core.site import Site
from streams.core.topics import INCIDENTS, JOINED, READS
from streams.core.windows import NEVER, Watermark
from streams.worker import metrics
from streams.worker.fenced_writer import FencedWriter, ProducerFencedError
from streams.worker.lag import Lag
from streams.worker.outputs import Outputs
from streams.worker.pacing import paced
from streams.worker.partition import Feed, Partition, Source
from streams.worker.read_back import ReadBack
from streams.worker.records import Batch
from streams.worker.routing import PlateRouting


class AssignedPartitions:
    """The partitions that this worker owns now."""

    def __init__(
        self,
        site: Site,
        rules: JoinRules,
        calibration: Calibration,
        outputs: Outputs,
        broadcast_sources: Iterable[Source],
        partitions: int,
        mark: Callable[[], None],
    ) -> None:
        """``broadcast_sources``: the partitions of the broadcast topics, inputs of every engine.

        ``partitions``: how many the joined topics have. ``mark`` is called now and then while long
        work goes on.
        """
        self._mark = mark
        self._site = site
        self._calibration = calibration
        self._outputs = outputs
        self._pipeline = Pipeline(site, rules, routing=PlateRouting(partitions))
        self._partitions: dict[int, Partition] = {}
        self._broadcast_progress: dict[Source, tuple[int, int]] = {}
        """By broadcast partition: the position it was read to, and its greatest stamp."""
        self._paused = False
        self._closing: set[asyncio.Future[None]] = set()
        self._assignment: frozenset[int] | None = None
        self.rules = rules
        self.broadcast_sources: frozenset[Source] = frozenset(broadcast_sources)
        self.lag = Lag()
        self.lock = asyncio.Lock()
        self.first_assignment_ready = asyncio.Event()
        """Set when the first assignment is taken over."""
        self.on_fenced: Callable[[set[int]], None] = lambda _: None
        """Called with the partitions dropped because their writers are fenced; the lock is held."""

    # ------------------------------------------------------------------ assignment

    def pause(self) -> None:
        """Stop publishing until `resume`: a rebalance is under way."""
        self._paused = True

    def resume(self) -> None:
        """Publish again."""
        self._paused = False

    def assign(self, numbers: Iterable[int], retained: Iterable[int]) -> None:
        """Take note of a new assignment, of which the ``retained`` partitions go on as they are."""
        self._assignment = frozenset(numbers)
        retained = set(retained)
        self.lag.assign(self._assignment, retained)
        self.retain(retained)

    def retain(self, numbers: Iterable[int]) -> None:
        """Drop all partitions but these."""
        for number in self._partitions.keys() - set(numbers):
            self._pipeline.remove(number)
            self._close(self._partitions.pop(number))
            for topic in JOINED:
                self.lag.note_position((topic, number), None)
        self._update_gauges()

    @property
    def is_spare(self) -> bool:
        """Whether the group has no partition for this worker."""
        return self._assignment == frozenset()

    def why_not_ready(self) -> str:
        """Return why not all assigned partitions are ready; empty if they are. From any thread."""
        assignment = self._assignment
        if assignment is None:
            return "the group has not assigned partitions to this worker yet"
        if waiting := assignment - self._ready_numbers():
            return f"{len(waiting)} of {len(assignment)} assigned partitions are being rebuilt or catching up"
        return ""

    def _ready_numbers(self) -> set[int]:
        """The partitions that are rebuilt and have caught up; from any thread, hence the copy."""
        partitions = list(self._partitions.items())
        return {n for n, partition in partitions if partition.is_live and not partition.is_catching_up}

    def live_numbers(self) -> set[int]:
        """Return the partitions that are rebuilt: they take records and publish."""
        return {number for number, partition in self._partitions.items() if partition.is_live}

    def rebuilding(self) -> dict[int, Partition]:
        """Return the partitions that are being rebuilt, or whose takeover was interrupted."""
        return {number: partition for number, partition in self._partitions.items() if not partition.is_live}

    async def add(
        self,
        number: int,
        writer: FencedWriter,
        noted_ends: Mapping[Source, int],
        finalized_through_ms: int,
        read_back: ReadBack,
        feed: Feed,
    ) -> Partition:
        """Add a partition to be rebuilt; the lock is held.

        It knows the published incidents, shots and actions from now on.
        """
        self.retain(self._partitions.keys() - {number})
        sources = self.broadcast_sources | {(topic, number) for topic in JOINED}
        partition = Partition(
            number,
            Engine(self._site, self.rules, self._calibration, finalized_through_ms),
            Watermark(sources, self.rules.stamp_slack_ms),
            writer,
            self._outputs.prefix + INCIDENTS,
            noted_ends,
            finalized_through_ms,
            feed,
        )
        async for published in paced(read_back.published, self._mark):
            partition.engine.restore(*published)
        for incident_id in read_back.withheld:
            partition.engine.withhold(incident_id)
        async for _ in paced(self._pipeline.adding(number, partition.engine), self._mark):
            pass
        for source, (position, stamp_ms) in self._broadcast_progress.items():
            partition.watermark.seen(source, stamp_ms)
            partition.note_position(source, position)
        self._partitions[number] = partition
        self._update_gauges()
        return partition

    def _update_gauges(self) -> None:
        metrics.PARTITIONS.set(len(self._assignment or ()))
        metrics.PARTITIONS_READY.set(len(self._ready_numbers()))

    def _close(self, partition: Partition) -> None:
        closing = asyncio.ensure_future(partition.writer.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Drop all partitions and close their connections."""
        self.retain(())
        await asyncio.gather(*self._closing)

    def committable_watermark_ms(self, number: int) -> int | None:
        """Return the watermark that a commit for this partition may carry.

        None: commit nothing yet.
        """
        partition = self._partitions.get(number)
        if partition is None or not partition.is_live:
            return None
        return partition.committable_watermark_ms

    # ------------------------------------------------------------------ records

    async def search_unlisted(self, batch: Batch) -> None:
        """Prepare for a batch of hits: find the reads of the plates they list.

        It may take long, and the lock is not held: shots go on meanwhile. No other batch of the
        partition may be applied before this one.
        """
        if batch.partition in self._partitions:
            async for _ in paced(self._pipeline.search_unlisted(batch.partition, batch.records()), self._mark):
                pass

    def apply(self, batch: Batch) -> Effects:
        """Apply records of one partition of a joined topic, and return their effects.

        The caller holds the lock from here to `flush`.
        """
        effects = self._apply(batch, tally=True)
        self.lag.note_position((batch.name, batch.partition), batch.rows[-1].offset + 1)
        return effects

    def restore(self, batch: Batch) -> None:
        """Apply records of one partition again; their effects were delivered when they were new."""
        self._apply(batch, tally=False)

    def _apply(self, batch: Batch, tally: bool) -> Effects:
        partition = self._partitions[batch.partition]
        source = (batch.name, batch.partition)
        effects = self._applied(batch, tally)
        partition.watermark.seen(source, effects.seen_ms)
        partition.note_position(source, batch.rows[-1].offset + 1)
        return effects

    def _applied(self, batch: Batch, tally: bool) -> Effects:
        columns = batch.columns() if batch.name == READS else None
        if columns is not None:
            values, stamps_ms = columns
            effects = self._pipeline.apply_reads(batch.partition, values, stamps_ms)
            if effects is not None:
                return effects
        return self._pipeline.apply_all(batch.records(), tally)

    def apply_broadcast(self, record: Record, tally: bool) -> Effects:
        """Apply a shot or an action to every partition; the lock is held."""
        effects = self._pipeline.apply(record, tally)
        self._note_broadcast((record.topic, record.partition), record.offset + 1, effects.seen_ms)
        return effects

    def _note_broadcast(self, source: Source, position: int, stamp_ms: int) -> None:
        _, before_ms = self._broadcast_progress.get(source, (0, NEVER))
        self._broadcast_progress[source] = (position, max(before_ms, stamp_ms))
        for partition in self._partitions.values():
            partition.watermark.seen(source, stamp_ms)
            partition.note_position(source, position)

    # ------------------------------------------------------------------ the ends of inputs

    def greatest_stamps_ms(self) -> dict[int, int]:
        """Return the greatest stamp seen on the inputs of each partition.

        Note it before querying ends.
        """
        return {number: partition.watermark.greatest_ms for number, partition in self._partitions.items()}

    def read_to_end(self, source: Source, position: int, greatest_ms: Mapping[int, int]) -> None:
        """Note that ``source`` was read to its end, as queried after ``greatest_ms`` was noted.

        ``position``: that end, which may be behind transaction markers that no consumer receives.
        """
        is_broadcast = source in self.broadcast_sources
        if is_broadcast:
            self._broadcast_progress[source] = (position, self._broadcast_progress.get(source, (0, NEVER))[1])
        for number, partition in self._partitions.items():
            if is_broadcast or (source[1] == number and partition.is_live):
                # a partition added after the query has noted ends of its own
                if number in greatest_ms:
                    partition.watermark.read_to_end(source, greatest_ms[number])
                    partition.note_caught_up(source)
                partition.note_position(source, position)
                self.lag.note_position(source, position)

    # ------------------------------------------------------------------ publishing

    async def flush(self, effects: Effects) -> None:
        """Deliver effects and publish incidents; then their records may be committed."""
        await self._outputs.deliver(effects)
        await self.publish()

    async def publish(self) -> None:
        """Publish the changes of every partition and release memory; the lock is held."""
        if self._paused:
            return
        live = [partition for partition in self._partitions.values() if partition.is_live]
        fenced = {number for number in await asyncio.gather(*map(self._publish, live)) if number is not None}
        if fenced:
            self.retain(self._partitions.keys() - fenced)
            self.on_fenced(fenced)
        self._update_gauges()
        metrics.READS_KEPT.set(sum(partition.engine.reads_kept for partition in self._partitions.values()))
        self._update_watermark()
        if self._partitions:
            lowest_ms = min(partition.watermark.value_ms for partition in self._partitions.values())
            self._pipeline.broadcast.release(lowest_ms)

    def _update_watermark(self) -> None:
        known_ms = [ms for p in self._partitions.values() if (ms := p.committable_watermark_ms) > NEVER]
        is_known = bool(known_ms) and self._assignment == self._partitions.keys()
        metrics.WATERMARK.set(min(known_ms) / 1000 if is_known else math.nan)

    async def _publish(self, partition: Partition) -> int | None:
        """Publish a partition's changes; return its number if its writer is fenced."""
        try:
            await partition.publish(self._mark)
        except ProducerFencedError:
            return partition.number
        return None
