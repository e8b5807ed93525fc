"""Takes partitions over: fences the old owner and rebuilds the state from the log.

Invariants:

* The old owner is fenced first. Only then are the published incidents and the noted ends final.
* Records before the committed offset are fed without publishing; every one that can still matter is
  fed.
* The partition resumes at the offset that the group has committed. Nothing is read from it before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.core.errors import RampwatchError
from streams.core.events import LinkedIncident
from streams.core.topics import DIGEST_HEADER, HITS, INCIDENTS, JOINED, READS
from streams.core.windows import NEVER
from streams.kafka.connection import connection
from streams.settings import Settings
from streams.worker import metrics
from streams.worker.assigned_partitions import AssignedPartitions, Published
from streams.worker.committed_offsets import Committed, committed
from streams.worker.fenced_writer import FencedWriter
from streams.worker.health import ProgressMonitor
from streams.worker.partition import Partition, Source
from streams.worker.records import Batch

_POLL_MS: Final = 200
_RECORDS_AT_ONCE: Final = 2_000
"""Per poll, about 20 ms of work; then the rest of the worker gets its turn."""
_FETCH_BYTES: Final = 4 * 2**20
_FETCH_WAIT_MS: Final = 20
"""The longest that partitions already read to their ends delay a fetch from the others."""
_PARTITIONS_AT_ONCE: Final = 4
"""With one at a time, its next fetch would start only when the last one is used up."""
_LOG_EVERY_S: Final = 2.0

Ready = Callable[[int, Mapping[TopicPartition, int]], Awaitable[None]]
"""Called with each rebuilt partition and the positions to resume it at."""

log = logging.getLogger("rampwatch.rebuild")


class Rebuild:
    """The takeover of a set of partitions; used once."""

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
        self._beginnings: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._monitor = progress
        self._progress = _Progress(len(self._numbers), progress)

    async def run(self, ready: Ready) -> None:
        """Rebuild the partitions and call ``ready`` for each; raises `KafkaError`."""
        try:
            await self._open_writers()
            async with self._consumer("read_uncommitted") as consumer:
                await self._note_ends(consumer)
                partitions = await self._create_partitions()
                await self._feed(consumer, HITS, partitions)
                for group in _batched(partitions, _PARTITIONS_AT_ONCE):
                    await self._feed(consumer, READS, group)
                    for partition in group:
                        positions = self._positions(partition.number)
                        partition.go_live((self._source(tp), offset) for tp, offset in positions.items())
                        await ready(partition.number, positions)
        finally:
            # only those that no partition has taken
            await asyncio.gather(*(writer.close() for writer in self._writers.values()))
        self._progress.log_end()

    async def _open_writers(self) -> None:
        """Open all writers, and wait for all even on failure: a late one fences its successor."""
        results = await asyncio.gather(*map(self._open_writer, self._numbers), return_exceptions=True)
        for error in filter(None, results):
            raise error

    async def _open_writer(self, number: int) -> None:
        self._writers[number] = await FencedWriter.open(self._settings, str(number), self._headers)

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

    async def _note_ends(self, consumer: Any) -> None:  # noqa: ANN401 - aiokafka has no types
        joined = [self._tp(topic, number) for topic in JOINED for number in self._numbers]
        broadcast = [self._tp(*source) for source in self._partitions.broadcast_sources]
        self._ends = await consumer.end_offsets(joined + broadcast)
        self._beginnings = await consumer.beginning_offsets(joined + broadcast)

    async def _create_partitions(self) -> list[Partition]:
        async with self._consumer("read_committed") as consumer:
            published = await self._read_published(consumer)
        async with self._partitions.lock:
            return [
                await self._partitions.add(
                    number,
                    self._writers.pop(number),
                    self._noted_ends(number),
                    self._finalized_through_ms(number),
                    published[number].values(),
                )
                for number in self._numbers
            ]

    def _finalized_through_ms(self, number: int) -> int:
        commits = [self._committed.get(self._tp(topic, number)) for topic in JOINED]
        return max((commit.watermark_ms for commit in commits if commit), default=NEVER)

    def _noted_ends(self, number: int) -> dict[Source, int]:
        """The noted ends of the inputs that hold records not yet fed when the partition resumes."""
        broadcast = [self._tp(*source) for source in self._partitions.broadcast_sources]
        known = self._positions(number) | {tp: self._beginnings[tp] for tp in broadcast}
        return {self._source(tp): self._ends[tp] for tp, position in known.items() if position < self._ends[tp]}

    def _positions(self, number: int) -> dict[TopicPartition, int]:
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

    # ------------------------------------------------------------------ reading again

    async def _read_published(self, consumer: Any) -> dict[int, dict[str, Published]]:  # noqa: ANN401
        """Read the last published revision of each incident, by partition and incident id."""
        tps = {self._tp(INCIDENTS, number): 0 for number in self._numbers}
        published: dict[int, dict[str, Published]] = {number: {} for number in self._numbers}
        async for tp, rows in _batches(consumer, tps, await consumer.end_offsets(list(tps))):
            self._monitor.mark()
            for incident, digest in filter(None, map(_incident, rows)):
                before = published[tp.partition].get(incident.incident_id)
                if before is None or incident.revision >= before[0].revision:
                    under_other_digest = not self._settings.republish and digest != self._headers[DIGEST_HEADER]
                    published[tp.partition][incident.incident_id] = (incident, under_other_digest)
        return published

    async def _feed(self, consumer: Any, topic: str, partitions: Sequence[Partition]) -> None:  # noqa: ANN401
        """Feed the engines the records before the committed offset that can still matter."""
        tps = [self._tp(topic, partition.number) for partition in partitions]
        until = {tp: self._positions(tp.partition)[tp] for tp in tps}
        since = await self._since(consumer, topic, until)
        async for tp, rows in _batches(consumer, since, until):
            if rows:  # their effects were delivered when they were new
                self._partitions.restore(Batch(self._settings.prefix, tp.topic, tp.partition, rows))
            self._progress.count(topic, len(rows))

    async def _since(
        self,
        consumer: Any,  # noqa: ANN401
        topic: str,
        until: Mapping[TopicPartition, int],
    ) -> dict[TopicPartition, int]:
        """Return the offsets to feed from: those of the horizon before the committed watermark."""
        since = {tp: self._beginnings[tp] for tp in until}
        if self._settings.prefix:
            return since  # the broker's time index knows its own stamps, not those in headers
        rules = self._partitions.rules
        back_ms = {READS: rules.read_horizon_ms, HITS: rules.hit_horizon_ms}[topic]
        watermarks_ms = {tp: self._finalized_through_ms(tp.partition) for tp in until}
        times_ms = {tp: max(0, at_ms - back_ms) for tp, at_ms in watermarks_ms.items() if at_ms > NEVER}
        offsets = await consumer.offsets_for_times(times_ms) if times_ms else {}
        return since | {tp: first.offset if first else until[tp] for tp, first in offsets.items()}

    def _source(self, tp: TopicPartition) -> Source:
        return tp.topic.removeprefix(self._settings.prefix), tp.partition

    def _tp(self, topic: str, number: int) -> TopicPartition:
        return TopicPartition(self._settings.prefix + topic, number)


async def _batches(
    consumer: Any,  # noqa: ANN401 - aiokafka has no types
    since: Mapping[TopicPartition, int],
    until: Mapping[TopicPartition, int],
) -> AsyncIterator[tuple[TopicPartition, list[Any]]]:
    """Yield the records from ``since`` to before ``until``, those of a partition in order.

    The end is recognised by the position, not by a count of records: offsets have gaps.
    """
    left = [tp for tp in until if since[tp] < until[tp]]
    if not left:
        return
    consumer.assign(left)
    for tp in left:
        consumer.seek(tp, since[tp])
    while left:
        for tp, rows in (await consumer.getmany(*left, timeout_ms=_POLL_MS)).items():
            yield tp, [row for row in rows if row.offset < until[tp]]
        # getmany returns records already fetched without yielding to the event loop
        await asyncio.sleep(0)
        done = [tp for tp in left if await consumer.position(tp) >= until[tp]]
        consumer.pause(*done)
        left = [tp for tp in left if tp not in done]


def _batched(partitions: Sequence[Partition], size: int) -> Iterator[Sequence[Partition]]:
    return (partitions[first : first + size] for first in range(0, len(partitions), size))


def _incident(row: Any) -> tuple[LinkedIncident, bytes | None] | None:  # noqa: ANN401
    """Return a row's incident and digest; None for a tombstone or a foreign record.

    Raises `RampwatchError` if rampwatch published the row and this version cannot read it. If it
    were skipped, the incident's revisions would start at 1 again.
    """
    if row.value is None:
        return None
    digest = dict(row.headers).get(DIGEST_HEADER)
    try:
        return msgspec.json.decode(row.value, type=LinkedIncident), digest
    except (msgspec.DecodeError, ValueError):
        location = f"{row.topic}-{row.partition} offset {row.offset}"
        if digest is not None:
            raise RampwatchError(
                f"{location}: published by a newer version of rampwatch that this one cannot read; "
                "run that version here too"
            ) from None
        log.warning("%s: skipped, not a linked incident; find out which other producer writes to this topic", location)
        return None


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

    async def committed(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, Committed]:
        """Return what the group has committed; raises `KafkaError`."""
        return await committed(self._settings, tps)

    async def take_over(self, numbers: set[int], commits: Mapping[TopicPartition, Committed], ready: Ready) -> None:
        """Rebuild partitions and call ``ready`` for each; raises `KafkaError`."""
        await Rebuild(self._settings, self._partitions, numbers, commits, self._headers, self._progress).run(ready)


class _Progress:
    """Counts the records fed, logs the count now and then, and marks the worker's progress."""

    def __init__(self, partitions: int, monitor: ProgressMonitor) -> None:
        self._monitor = monitor
        self._partitions = partitions
        self._records = 0
        self._began_s = self._logged_s = asyncio.get_running_loop().time()

    def count(self, topic: str, records: int) -> None:
        self._records += records
        self._monitor.mark()
        metrics.REBUILT.labels(topic).inc(records)
        now_s = asyncio.get_running_loop().time()
        if now_s - self._logged_s >= _LOG_EVERY_S:
            self._logged_s = now_s
            log.info("rebuilding: %d records read", self._records)

    def log_end(self) -> None:
        took_s = asyncio.get_running_loop().time() - self._began_s
        log.info("%d partitions rebuilt: %d records read in %.1f s", self._partitions, self._records, took_s)
