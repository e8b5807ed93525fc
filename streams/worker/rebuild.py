"""Takes partitions over: fences the old owner and rebuilds the state from the log.

Invariants:

* The old owner is fenced first. Only then are the published incidents and the noted ends final.
* Records before the committed offset are fed without publishing; every one that can still matter is
  fed, and none twice.
* The partition resumes at the offset that the group has committed. Nothing is read from it before.
* A takeover that an error or a rebalance stops is resumed, not begun again. While a partition is
  rebuilt nobody else owns it: the group has not assigned it to another worker since
  (`BatchConsumer.on_partitions_assigned` drops it otherwise), and rejects commits of former owners.
  So its writer, its committed offset and watermark, and all that was read remain valid.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaTimeoutError

from streams.core.topics import DIGEST_HEADER, HITS, INCIDENTS, JOINED, READS
from streams.core.windows import NEVER
from streams.kafka.connection import connection
from streams.settings import Settings
from streams.worker.assigned_partitions import AssignedPartitions
from streams.worker.committed_offsets import Committed, committed
from streams.worker.fenced_writer import FencedWriter
from streams.worker.health import ProgressMonitor
from streams.worker.partition import Feed, Partition, Source
from streams.worker.partition_queries import PartitionQueries
from streams.worker.read_back import ReadBack, batches
from streams.worker.records import Batch
from streams.worker.takeover_log import Reasons, TakeoverProgress, log, names, percent

_RECORDS_AT_ONCE: Final = 2_000
"""Per poll, about 20 ms of work; then the rest of the worker gets its turn."""
_FETCH_BYTES: Final = 4 * 2**20
_FETCH_WAIT_MS: Final = 20
"""The longest that partitions already read to their ends delay a fetch from the others."""
_PARTITIONS_AT_ONCE: Final = 4
"""With one at a time, its next fetch would start only when the last one is used up."""

Offsets = dict[TopicPartition, int]
Resume = Callable[[int, Mapping[TopicPartition, int]], None]
"""Called with each rebuilt partition and the positions to resume it at; the lock is held."""


class Rebuild:
    """One attempt to take over a set of partitions."""

    def __init__(
        self,
        settings: Settings,
        partitions: AssignedPartitions,
        numbers: Iterable[int],
        committed: Mapping[TopicPartition, Committed],
        headers: Mapping[str, bytes],
        progress: ProgressMonitor,
    ) -> None:
        """``committed``: the group's commits. ``headers``: of the incidents published."""
        self._settings = settings
        self._partitions = partitions
        self._numbers = sorted(numbers)
        self._committed = committed
        self._headers = headers
        self._writers: dict[int, FencedWriter] = {}
        self._beginnings: Offsets = {}
        self._ends: Offsets = {}
        self.progress: Final = TakeoverProgress(self._numbers, progress)

    async def run(self, resume: Resume) -> None:
        """Rebuild the partitions and call ``resume`` for each; raises `KafkaError`."""
        begun = self._partitions.rebuilding().keys()
        try:
            async with self._consumer("read_uncommitted") as consumer:
                for group in _grouped([number for number in self._numbers if number not in begun]):
                    await self._create(consumer, group)
                await self._feed_all(consumer, resume)
        finally:
            # only those that no partition has taken
            await asyncio.gather(*(writer.close() for writer in self._writers.values()))
        silent = self._writers.keys()
        if silent:
            raise KafkaTimeoutError(f"no leader answered for {names(silent)}")

    def _consumer(self, isolation: str) -> Any:  # noqa: ANN401 - aiokafka has no types
        return AIOKafkaConsumer(
            **connection(self._settings),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level=isolation,
            max_poll_records=_RECORDS_AT_ONCE,
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            max_partition_fetch_bytes=_FETCH_BYTES,
        )

    # ------------------------------------------------------------------ fencing, reading back

    async def _create(self, consumer: Any, numbers: Sequence[int]) -> None:  # noqa: ANN401
        """Fence the old owners of partitions, note the ends, and add what is published.

        Partitions whose leaders do not answer are left out, and their writers with them.
        """
        await self._open_writers(numbers)
        numbers = await self._note_ends(consumer, numbers)
        since = await self._since(consumer, READS, numbers) | await self._since(consumer, HITS, numbers)
        published = await self._read_back([n for n in numbers if since.keys() >= {self._tp(t, n) for t in JOINED}])
        async with self._partitions.lock:
            for number, read_back in published.items():
                positions = self._positions(number)
                await self._partitions.add(
                    number,
                    self._writers[number],
                    self._noted_ends(number),
                    self._finalized_through_ms(number),
                    read_back,
                    Feed(self._by_source({tp: since[tp] for tp in positions}), self._by_source(positions)),
                )
                del self._writers[number]  # it is the partition's now

    async def _open_writers(self, numbers: Sequence[int]) -> None:
        """Open all writers, and wait for all even on failure: a late one fences its successor."""
        results = await asyncio.gather(*map(self._open_writer, numbers), return_exceptions=True)
        for error in filter(None, results):
            raise error

    async def _open_writer(self, number: int) -> None:
        self._writers[number] = await FencedWriter.open(self._settings, str(number), self._headers)

    async def _note_ends(self, consumer: Any, numbers: Sequence[int]) -> list[int]:  # noqa: ANN401
        """Note where the inputs begin and end; return the partitions whose leaders answered.

        Raises `KafkaError` if a leader of a broadcast topic does not answer.
        """
        broadcast = [self._tp(*source) for source in self._partitions.broadcast_sources]
        tps = [self._tp(topic, number) for topic in JOINED for number in numbers] + broadcast
        self._ends |= await self._answers(lambda tp: consumer.end_offsets([tp]), tps)
        self._beginnings |= await self._answers(lambda tp: consumer.beginning_offsets([tp]), tps)
        known = self._ends.keys() & self._beginnings.keys()
        for tp in set(broadcast) - known:
            raise KafkaTimeoutError(f"the leader of {tp.topic}-{tp.partition} did not answer")
        return [number for number in numbers if all(self._tp(topic, number) in known for topic in JOINED)]

    async def _answers(self, query: Callable[[TopicPartition], Any], tps: Iterable[TopicPartition]) -> Any:  # noqa: ANN401
        queries: PartitionQueries[TopicPartition, Any] = PartitionQueries(query)
        try:
            return await queries.answers(tps)
        finally:
            await queries.stop()

    async def _read_back(self, numbers: Sequence[int]) -> dict[int, ReadBack]:
        """Return what is published, without the partitions whose leaders do not answer."""
        digest, republish = self._headers[DIGEST_HEADER], self._settings.republish
        tps = [self._tp(INCIDENTS, number) for number in numbers]
        async with self._consumer("read_committed") as consumer:
            ends = await self._answers(lambda tp: consumer.end_offsets([tp]), tps)
            published = {tp.partition: ReadBack(digest, republish) for tp in ends}
            async for tp, rows in batches(consumer, dict.fromkeys(ends, 0), ends):
                self.progress.mark()
                for row in rows:
                    published[tp.partition].add(row)
        return published

    # ------------------------------------------------------------------ where to begin and end

    def _finalized_through_ms(self, number: int) -> int:
        commits = [self._committed.get(self._tp(topic, number)) for topic in JOINED]
        return max((commit.watermark_ms for commit in commits if commit), default=NEVER)

    def _noted_ends(self, number: int) -> dict[Source, int]:
        """The noted ends of the inputs that hold records not yet fed when the partition resumes."""
        broadcast = [self._tp(*source) for source in self._partitions.broadcast_sources]
        known = self._positions(number) | {tp: self._beginnings[tp] for tp in broadcast}
        return self._by_source({tp: self._ends[tp] for tp, position in known.items() if position < self._ends[tp]})

    def _positions(self, number: int) -> Offsets:
        """The positions to resume at: the committed offsets, or the first records that still exist.

        A topic that ends before its committed offset was recreated, and is read whole.
        """
        positions = {}
        for tp in (self._tp(topic, number) for topic in JOINED):
            commit = self._committed.get(tp)
            offset = commit.offset if commit else 0
            if offset > self._ends[tp]:
                log.warning("%s-%d ends before its committed offset: reading all of it", tp.topic, tp.partition)
                offset = 0
            positions[tp] = max(offset, self._beginnings[tp])
        return positions

    async def _since(self, consumer: Any, topic: str, numbers: Sequence[int]) -> Offsets:  # noqa: ANN401
        """Return the offsets to feed from: those of the horizon before the committed watermark.

        Partitions whose leaders do not answer are left out.
        """
        beginnings = {self._tp(topic, number): self._beginnings[self._tp(topic, number)] for number in numbers}
        if self._settings.prefix:
            return beginnings  # the broker's time index knows its own stamps, not those in headers
        rules = self._partitions.rules
        back_ms = {READS: rules.read_horizon_ms, HITS: rules.hit_horizon_ms}[topic]
        watermarks_ms = {tp: self._finalized_through_ms(tp.partition) for tp in beginnings}
        times_ms = {tp: max(0, at_ms - back_ms) for tp, at_ms in watermarks_ms.items() if at_ms > NEVER}
        firsts = await self._answers(lambda tp: consumer.offsets_for_times({tp: times_ms[tp]}), times_ms)
        since = {tp: beginnings[tp] for tp in beginnings.keys() - times_ms.keys()}
        # without a record since then there is nothing to feed
        return since | {tp: first.offset if first else self._ends[tp] for tp, first in firsts.items()}

    # ------------------------------------------------------------------ feeding

    async def _feed_all(self, consumer: Any, resume: Resume) -> None:  # noqa: ANN401
        """Feed the partitions, hits first, and resume each as soon as its group is fed."""
        rebuilding = self._partitions.rebuilding()
        partitions = [rebuilding[number] for number in self._numbers if number in rebuilding]
        feeds = [partition.feed for partition in partitions]
        self.progress.begin_feeding(sum(feed.total for feed in feeds), sum(feed.left for feed in feeds))
        await self._feed(consumer, HITS, partitions)
        for group in _grouped(partitions):
            await self._feed(consumer, READS, group)
            async with self._partitions.lock:
                for partition in group:
                    if partition in self._partitions.rebuilding().values():
                        partition.go_live()
                        resume(partition.number, self._by_tp(partition.feed.until))

    async def _feed(self, consumer: Any, topic: str, partitions: Sequence[Partition]) -> None:  # noqa: ANN401
        """Feed the engines the records before the committed offset that can still matter.

        Their effects were delivered when they were new.
        """
        feeds = {self._tp(topic, partition.number): partition.feed for partition in partitions}
        since = {tp: feed.next[self._source(tp)] for tp, feed in feeds.items()}
        until = {tp: feed.until[self._source(tp)] for tp, feed in feeds.items()}
        async for tp, rows in batches(consumer, since, until):
            if rows:
                self._partitions.restore(Batch(self._settings.prefix, tp.topic, tp.partition, rows))
                feeds[tp].next[self._source(tp)] = rows[-1].offset + 1
            left = sum(partition.feed.left for partition in self._partitions.rebuilding().values())
            self.progress.count(topic, len(rows), left)
        for tp, feed in feeds.items():
            feed.next[self._source(tp)] = max(since[tp], until[tp])

    def _source(self, tp: TopicPartition) -> Source:
        return tp.topic.removeprefix(self._settings.prefix), tp.partition

    def _by_source(self, offsets: Offsets) -> dict[Source, int]:
        return {self._source(tp): offset for tp, offset in offsets.items()}

    def _by_tp(self, offsets: Mapping[Source, int]) -> Offsets:
        return {self._tp(*source): offset for source, offset in offsets.items()}

    def _tp(self, topic: str, number: int) -> TopicPartition:
        return TopicPartition(self._settings.prefix + topic, number)


def _grouped(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[first : first + _PARTITIONS_AT_ONCE] for first in range(0, len(items), _PARTITIONS_AT_ONCE))


class Recovery:
    """Finds out what the group has committed, and takes partitions over."""

    def __init__(
        self,
        settings: Settings,
        partitions: AssignedPartitions,
        headers: Mapping[str, bytes],
        progress: ProgressMonitor,
    ) -> None:
        """``headers``: of the incidents that are published."""
        self._settings = settings
        self._partitions = partitions
        self._headers = headers
        self._progress = progress
        self.reasons: Final = Reasons()

    async def committed(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, Committed]:
        """Return what the group has committed; raises `KafkaError`."""
        return await committed(self._settings, tps)

    async def take_over(self, numbers: set[int], commits: Mapping[TopicPartition, Committed], resume: Resume) -> None:
        """Rebuild partitions, or go on with those that are half rebuilt, and resume each.

        Raises `KafkaError`.
        """
        begun = {n: each.feed for n, each in self._partitions.rebuilding().items() if n in numbers}
        self.reasons.log_begin(numbers, {n: percent(feed.total, feed.left) for n, feed in begun.items()})
        rebuild = Rebuild(self._settings, self._partitions, numbers, commits, self._headers, self._progress)
        try:
            await rebuild.run(resume)
        except asyncio.CancelledError:
            rebuild.progress.log_cancelled()
            self.reasons.note_end()
            raise
        rebuild.progress.log_done()
        self.reasons.note_end()
