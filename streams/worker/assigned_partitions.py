"""The partitions that this worker has now, and what goes in and out of them.

Invariants:

* Taking in and publishing happen under one lock, so that the revisions of an incident leave in their order.
* A partition whose writer is lost is dropped at once, with its memory: somebody else may have it already.
* Shots and actions reach every partition, those that are being rebuilt and those that come later included.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from streams.core.broadcast_state import BroadcastState
from streams.core.counters.events import Tally, tally_of_hit
from streams.core.engine import Engine
from streams.core.events import INCIDENTS, JOINED, InvalidRecord, LinkedIncident, Outcome, Record, VehicleHit
from streams.core.intake import Admitted, Intake
from streams.core.rules import JoinRules
from streams.core.scoring import Calibration
from streams.core.site import Site
from streams.core.windows import NEVER, Watermark
from streams.worker import metrics
from streams.worker.fenced_writer import FencedWriter, ProducerFencedError
from streams.worker.outputs import Outputs
from streams.worker.partition import Partition, Source
from streams.worker.records import Batch
from streams.worker.routing import Router

Said = tuple[LinkedIncident, bool]
"""What was said of an incident, and whether that was with another site file, other rules or another calibration."""


class AssignedPartitions:
    """The engines of the partitions that this worker has now."""

    def __init__(
        self,
        site: Site,
        rules: JoinRules,
        calibration: Calibration,
        outputs: Outputs,
        shared: Iterable[Source],
        partitions: int,
    ) -> None:
        """``shared``: the partitions of the broadcast topics, which are inputs of every engine.

        ``partitions``: how many the joined topics have.
        """
        self._site = site
        self._calibration = calibration
        self._outputs = outputs
        self._partitions: dict[int, Partition] = {}
        self._passed: dict[Source, tuple[int, int]] = {}
        """Of each broadcast partition: the position it was read up to, and the greatest stamp so far."""
        self._refused: list[tuple[Record, InvalidRecord]] = []
        self._tallies: list[Tally] = []
        self._strays: list[tuple[int, str, Record]] = []
        self._paused = False
        self._closing: set[asyncio.Future[None]] = set()
        self.rules = rules
        self.shared: frozenset[Source] = frozenset(shared)
        self.intake = Intake(site, rules)
        self.door = Router(self.intake, partitions)
        self.broadcast = BroadcastState(rules)
        self.lock = asyncio.Lock()
        self.first_assignment_ready = asyncio.Event()
        """Set when the first share of the partitions is taken over."""
        self._share: frozenset[int] | None = None
        self.on_lost: Callable[[set[int]], None] = lambda _: None
        """Told which partitions were dropped because their writers are lost; the lock is held."""

    # ------------------------------------------------------------------ partitions come and go

    def pause(self) -> None:
        """Publish nothing until `resume`: whose the partitions are is being settled."""
        self._paused = True

    def resume(self) -> None:
        """Publish again."""
        self._paused = False

    def assign(self, share: Iterable[int], kept: Iterable[int]) -> None:
        """These partitions are this worker's now, and of them those ``kept`` go on as they are."""
        self._share = frozenset(share)
        self.keep(kept)

    def keep(self, numbers: Iterable[int]) -> None:
        """Let go of all other partitions than these."""
        for gone in self._partitions.keys() - set(numbers):
            self._close(self._partitions.pop(gone))
        self._count()

    @property
    def is_spare(self) -> bool:
        """Whether the group has no partition for this worker."""
        return self._share == frozenset()

    @property
    def is_ready(self) -> bool:
        """Whether all partitions of its share are rebuilt and have read what was there when they were taken over."""
        return self._share is not None and self._share == self._ready()

    def _ready(self) -> set[int]:
        return {number for number, one in self._partitions.items() if one.is_live and not one.is_behind}

    def live(self) -> set[int]:
        """Return the partitions that take records and speak."""
        return {number for number, partition in self._partitions.items() if partition.is_live}

    def begin(
        self,
        number: int,
        writer: FencedWriter,
        noted_ends: Mapping[Source, int],
        finalized_through_ms: int,
        said: Iterable[Said],
    ) -> Partition:
        """Return a partition that begins here, silent: it knows what was said, and hears shots and actions from now."""
        self.keep(self._partitions.keys() - {number})
        sources = self.shared | {(topic, number) for topic in JOINED}
        partition = Partition(
            number,
            Engine(self._site, self.rules, self._calibration, finalized_through_ms),
            Watermark(sources, self.rules.stamp_slack_ms),
            writer,
            self._outputs.prefix + INCIDENTS,
            noted_ends,
            finalized_through_ms,
        )
        for incident, said_elsewhere in said:
            partition.engine.restore(incident, said_elsewhere)
        for admitted in self.broadcast.history():
            partition.engine.apply_broadcast(admitted)
        for source, (position, stamp_ms) in self._passed.items():
            partition.watermark.seen(source, stamp_ms)
            partition.reached(source, position)
        self._partitions[number] = partition
        self._count()
        return partition

    def _count(self) -> None:
        metrics.PARTITIONS.set(len(self._partitions))
        metrics.PARTITIONS_READY.set(len(self._ready()))

    def _close(self, partition: Partition) -> None:
        closing = asyncio.ensure_future(partition.writer.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Let go of all partitions and give their connections back."""
        self.keep(())
        await asyncio.gather(*self._closing)

    def committable_ms(self, number: int) -> int | None:
        """Return the watermark that a commit may say of this partition; None while nothing may be committed."""
        partition = self._partitions.get(number)
        if partition is None or not partition.is_live:
            return None
        return partition.committable_watermark_ms

    # ------------------------------------------------------------------ in

    def take(self, batch: Batch) -> None:
        """Take in records of one partition of a joined topic; the lock is held until `settle`."""
        source = (batch.name, batch.partition)
        partition = self._partitions[batch.partition]
        reads = self.door.reads(batch)
        if reads is not None:
            outcomes, greatest_ms = partition.engine.join_reads(reads), max(reads.stamps_ms)
        else:
            records = batch.records()
            outcomes, greatest_ms = self._take_each(partition, records), max(record.stamp_ms for record in records)
        for ended_as, count in outcomes.items():
            metrics.RECORDS.labels(batch.name, ended_as).inc(count)
        partition.watermark.seen(source, greatest_ms)
        partition.reached(source, batch.rows[-1].offset + 1)

    def _take_each(self, partition: Partition, records: Sequence[Record]) -> dict[Outcome, int]:
        """Take in records whatever they are, and return how many ended as what."""
        admitted, refused, strays = self.door.sort(partition.number, records)
        outcomes: dict[Outcome, int] = defaultdict(int, {"forwarded": len(strays)})
        for one in admitted:
            try:
                outcome = partition.engine.join(one)
            except InvalidRecord as no_room:
                refused.append((_record_of(one), no_room))
                continue
            outcomes[outcome] += 1
            if type(one.event) is VehicleHit and outcome != "duplicate":
                self._tallies.append(tally_of_hit(one.event, self._site))
        for record, why in refused:
            outcomes[why.outcome] += 1
            metrics.DEAD_LETTERS.labels(record.topic, why.reason).inc()
        self._refused += refused
        self._strays += strays
        return outcomes

    def apply_broadcast(self, admitted: Admitted) -> None:
        """Take in a shot or an action, for every partition."""
        for partition in self._partitions.values():
            partition.engine.apply_broadcast(admitted)

    def passed(self, source: Source, position: int, stamp_ms: int) -> None:
        """Note up to where a broadcast topic has been read, and the stamp of its last record, whatever became of it."""
        _, before_ms = self._passed.get(source, (0, NEVER))
        self._passed[source] = (position, max(before_ms, stamp_ms))
        for partition in self._partitions.values():
            partition.watermark.seen(source, stamp_ms)
            partition.reached(source, position)

    # ------------------------------------------------------------------ the ends of inputs

    def greatest_ms(self) -> dict[int, int]:
        """Return the greatest stamp seen so far on the inputs of each partition: note it, then ask for ends."""
        return {number: partition.watermark.greatest_ms for number, partition in self._partitions.items()}

    def read_to_end(self, source: Source, position: int, greatest_ms: Mapping[int, int]) -> None:
        """Note that ``source`` had nothing more to read when the ends were asked for after ``greatest_ms``.

        ``position``: that end, which may lie behind markers that nobody is given.
        """
        if source in self.shared:
            self._passed[source] = (position, self._passed.get(source, (0, NEVER))[1])
        for mine, partition in self._partitions.items():
            if source in self.shared or (source[1] == mine and partition.is_live):
                if mine in greatest_ms:  # else it began after the ends were asked for, and has ends of its own
                    partition.watermark.read_to_end(source, greatest_ms[mine])
                    partition.caught_up(source)
                partition.reached(source, position)

    # ------------------------------------------------------------------ out

    async def settle(self) -> None:
        """Send away what was not let in, then publish: after that all that was taken in may be committed."""
        if self._refused:
            await self._outputs.dead_letters(self._refused)
            self._refused = []
        if self._tallies:
            await self._outputs.tallies(self._tallies)
            self._tallies = []
        if self._strays:
            await self._outputs.forward(self._strays)
            self._strays = []
        await self.publish()

    async def publish(self) -> None:
        """Publish what changed in any partition and release what may go; the lock is held."""
        if self._paused:
            return
        live = [partition for partition in self._partitions.values() if partition.is_live]
        lost = {number for number in await asyncio.gather(*map(self._published, live)) if number is not None}
        if lost:
            self.keep(self._partitions.keys() - lost)
            self.on_lost(lost)
        self._count()
        metrics.READS_KEPT.set(sum(partition.engine.reads_kept for partition in self._partitions.values()))
        committable_watermark_ms = [
            partition.committable_watermark_ms for partition in live if partition.committable_watermark_ms > NEVER
        ]
        if committable_watermark_ms:
            metrics.WATERMARK.set(min(committable_watermark_ms) / 1000)
        if self._partitions:
            self.broadcast.release(min(p.watermark.value_ms for p in self._partitions.values()))

    async def _published(self, partition: Partition) -> int | None:
        """Publish what a partition has to say; return its number if its writer is lost."""
        try:
            await partition.publish()
        except ProducerFencedError:
            return partition.number
        return None


def _record_of(admitted: Admitted) -> Record:
    return Record(admitted.topic, admitted.partition, admitted.offset, admitted.stamp_ms, admitted.value)
