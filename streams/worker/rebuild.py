"""Taking over partitions: what was read and said before is read again, from the log, before anything is said.

Invariants (JOIN.md, Recovery):

* Whoever had a partition before is shut out first: only then is what was said the last word, and the noted ends final.
* Nothing is published while records are fed that were read before; of these every one is fed that can still matter.
* A partition goes on at the offset that the group has committed, and nobody reads it here before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.core.errors import RampwatchError
from streams.core.events import HITS, INCIDENTS, JOINED, READS, InvalidRecord, LinkedIncident
from streams.core.rules import JoinRules
from streams.core.windows import NEVER
from streams.kafka.connection import connection
from streams.settings import Settings
from streams.worker import metrics
from streams.worker.assigned_partitions import AssignedPartitions, Said
from streams.worker.committed_offsets import Committed, committed
from streams.worker.fenced_writer import FencedWriter
from streams.worker.health import ProgressMonitor
from streams.worker.outputs import DIGEST_HEADER
from streams.worker.partition import Partition, Source
from streams.worker.records import Batch

_POLL_MS: Final = 200
_RECORDS_AT_ONCE: Final = 2_000
"""After so many the rest of the worker has its turn: some 20 ms."""
_FETCH_BYTES: Final = 4 * 2**20
_FETCH_WAIT_MS: Final = 20
"""So long, at the most, do partitions that are read to their ends hold up the others."""
_AT_ONCE: Final = 4
"""Partitions: of one alone the next records come only when the last are used up."""
_TELL_EVERY_S: Final = 2.0

Ready = Callable[[int, Mapping[TopicPartition, int]], Awaitable[None]]
"""Called when a partition may be read on, with the positions to go on from."""

log = logging.getLogger("rampwatch.rebuild")


def horizons_ms(rules: JoinRules) -> dict[str, int]:
    """Return how far before the watermark each joined topic is read again."""
    return {
        READS: rules.read_retention_ms,
        HITS: rules.hit_ttl_ms + rules.incident_retention_ms + rules.read_retention_ms,
    }


class Rebuild:
    """One take-over of some partitions at once; used once."""

    def __init__(
        self,
        settings: Settings,
        partitions: AssignedPartitions,
        numbers: Iterable[int],
        committed: Mapping[TopicPartition, Committed],
        headers: Mapping[str, bytes],
        progress: ProgressMonitor,
    ) -> None:
        """``committed``: where the group goes on; ``headers``: of the incidents published from now on."""
        self._settings = settings
        self._assigned = partitions
        self._numbers = sorted(numbers)
        self._committed = committed
        self._headers = headers
        self._writers: dict[int, FencedWriter] = {}
        self._begin: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._progress = progress
        self._fed = _Progress(len(self._numbers), progress)

    async def run(self, ready: Ready) -> None:
        """Rebuild the partitions, some at a time, and call ``ready`` for each; raises `KafkaError`."""
        try:
            await self._open_writers()
            async with self._consumer("read_uncommitted") as consumer:
                await self._note_ends(consumer)
                partitions = await self._begin_silent()
                await self._feed(consumer, HITS, partitions)
                for some in _batched(partitions, _AT_ONCE):
                    await self._feed(consumer, READS, some)
                    for partition in some:
                        positions = self._positions(partition.number)
                        partition.go_live((self._source(tp), offset) for tp, offset in positions.items())
                        await ready(partition.number, positions)
        finally:
            # what began has its writer; the others nobody needs
            await asyncio.gather(*(writer.close() for writer in self._writers.values()))
        self._fed.tell_end()

    async def _open_writers(self) -> None:
        """Open all or none: one that comes after the others have failed would shut out who is tried next."""
        opened = await asyncio.gather(*map(self._open_writer, self._numbers), return_exceptions=True)
        for error in filter(None, opened):
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
        shared = [self._tp(topic, number) for topic, number in self._assigned.shared]
        self._ends = await consumer.end_offsets(joined + shared)
        self._begin = await consumer.beginning_offsets(joined + shared)

    async def _begin_silent(self) -> list[Partition]:
        async with self._consumer("read_committed") as consumer:
            said = await self._read_back(consumer)
        async with self._assigned.lock:
            return [
                self._assigned.begin(
                    number,
                    self._writers.pop(number),
                    self._behind(number),
                    self._finalized_through_ms(number),
                    said[number].values(),
                )
                for number in self._numbers
            ]

    def _finalized_through_ms(self, number: int) -> int:
        places = [self._committed.get(self._tp(topic, number)) for topic in JOINED]
        return max((place.watermark_ms for place in places if place), default=NEVER)

    def _behind(self, number: int) -> dict[Source, int]:
        """The noted ends of all inputs of a partition that have more than is known when it goes on."""
        shared = {tp: self._begin[tp] for tp in (self._tp(*source) for source in self._assigned.shared)}
        return {
            self._source(tp): self._ends[tp]
            for tp, position in (self._positions(number) | shared).items()
            if position < self._ends[tp]
        }

    def _positions(self, number: int) -> dict[TopicPartition, int]:
        """Where the group goes on; what is deleted there is left out, and a topic made anew is read whole."""
        positions = {}
        for tp in (self._tp(topic, number) for topic in JOINED):
            place = self._committed.get(tp)
            offset = place.offset if place else 0
            if offset > self._ends[tp]:
                log.warning("%s-%d is shorter than what was committed of it: reading it whole", tp.topic, tp.partition)
                offset = 0
            positions[tp] = max(offset, self._begin[tp])
        return positions

    # ------------------------------------------------------------------ reading again

    async def _read_back(self, consumer: Any) -> dict[int, dict[str, Said]]:  # noqa: ANN401
        """What was said of each incident last, by partition and incident id."""
        tps = {self._tp(INCIDENTS, number): 0 for number in self._numbers}
        said: dict[int, dict[str, Said]] = {number: {} for number in self._numbers}
        async for tp, rows in _batches(consumer, tps, await consumer.end_offsets(list(tps))):
            self._progress.mark()
            for incident, digest in filter(None, map(_incident, rows)):
                before = said[tp.partition].get(incident.incident_id)
                if before is None or incident.revision >= before[0].revision:
                    elsewhere = not self._settings.republish and digest != self._headers[DIGEST_HEADER]
                    said[tp.partition][incident.incident_id] = (incident, elsewhere)
        return said

    async def _feed(self, consumer: Any, topic: str, partitions: Sequence[Partition]) -> None:  # noqa: ANN401
        """Give the engines what was read of a topic before, from as far back as it can matter."""
        by_number = {partition.number: partition for partition in partitions}
        until = {self._tp(topic, number): self._positions(number)[self._tp(topic, number)] for number in by_number}
        since = await self._since(consumer, topic, until)
        async for tp, rows in _batches(consumer, since, until):
            self._feed_rows(by_number[tp.partition], tp, rows)
            self._fed.count(topic, len(rows))

    async def _since(
        self,
        consumer: Any,  # noqa: ANN401
        topic: str,
        until: Mapping[TopicPartition, int],
    ) -> dict[TopicPartition, int]:
        """Where feeding begins: early enough, because an event's time is at most its stamp and the skew allowed."""
        since = {tp: self._begin[tp] for tp in until}
        if self._settings.prefix:
            return since  # the broker's index of times knows its own stamps only
        rules = self._assigned.rules
        back_ms = horizons_ms(rules)[topic] + rules.max_future_skew_ms
        judged_ms = {tp: self._finalized_through_ms(tp.partition) for tp in until}
        times_ms = {tp: max(0, at_ms - back_ms) for tp, at_ms in judged_ms.items() if at_ms > NEVER}
        found = await consumer.offsets_for_times(times_ms) if times_ms else {}
        return since | {tp: place.offset if place else until[tp] for tp, place in found.items()}

    def _feed_rows(self, partition: Partition, tp: TopicPartition, rows: Sequence[Any]) -> None:
        if not rows:
            return
        batch = Batch(self._settings.prefix, tp.topic, tp.partition, rows)
        reads = self._assigned.door.reads(batch)
        if reads is not None:
            partition.engine.join_reads(reads)
            partition.watermark.seen(self._source(tp), max(reads.stamps_ms))
            return
        records = batch.records()
        for admitted in self._assigned.door.sort(partition.number, records).admitted:
            with suppress(InvalidRecord):  # it has its dead letter
                partition.engine.join(admitted)
        partition.watermark.seen(self._source(tp), max(record.stamp_ms for record in records))

    def _source(self, tp: TopicPartition) -> Source:
        return tp.topic.removeprefix(self._settings.prefix), tp.partition

    def _tp(self, topic: str, number: int) -> TopicPartition:
        return TopicPartition(self._settings.prefix + topic, number)


async def _batches(
    consumer: Any,  # noqa: ANN401 - aiokafka has no types
    since: Mapping[TopicPartition, int],
    until: Mapping[TopicPartition, int],
) -> AsyncIterator[tuple[TopicPartition, list[Any]]]:
    """Hand out the records from ``since`` to before ``until``, those of a partition in their order.

    What is compared is positions: offsets have gaps.
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
        # what is fetched already is handed out without a pause
        await asyncio.sleep(0)
        done = [tp for tp in left if await consumer.position(tp) >= until[tp]]
        consumer.pause(*done)
        left = [tp for tp in left if tp not in done]


def _batched(partitions: Sequence[Partition], size: int) -> Iterator[Sequence[Partition]]:
    return (partitions[first : first + size] for first in range(0, len(partitions), size))


def _incident(row: Any) -> tuple[LinkedIncident, bytes | None] | None:  # noqa: ANN401
    """What was said, and the digest of what it was said with; None where it is not ours to understand.

    Raises `RampwatchError` where it is ours and cannot be understood: its next revision would be its first again.
    """
    if row.value is None:
        return None
    digest = dict(row.headers).get(DIGEST_HEADER)
    try:
        return msgspec.json.decode(row.value, type=LinkedIncident), digest
    except (msgspec.DecodeError, ValueError):
        place = f"{row.topic}-{row.partition} offset {row.offset}"
        if digest is not None:
            raise RampwatchError(
                f"{place} was said by a rampwatch that says more than this one understands; run its version here too"
            ) from None
        log.warning("%s is no linked incident; it is passed over: see who else writes to this topic", place)
        return None


class Recovery:
    """Where the group goes on, and how what it knew is found again."""

    def __init__(
        self,
        settings: Settings,
        partitions: AssignedPartitions,
        headers: Mapping[str, bytes],
        progress: ProgressMonitor,
    ) -> None:
        """``headers``: of the incidents that are published."""
        self._settings = settings
        self._assigned = partitions
        self._headers = headers
        self._progress = progress

    async def committed(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, Committed]:
        """Return what the group has committed; raises `KafkaError`."""
        return await committed(self._settings, tps)

    async def take_over(self, numbers: set[int], places: Mapping[TopicPartition, Committed], ready: Ready) -> None:
        """Rebuild partitions, and call ``ready`` for each that may be read on; raises `KafkaError`."""
        await Rebuild(self._settings, self._assigned, numbers, places, self._headers, self._progress).run(ready)


class _Progress:
    """Says now and then how far the rebuilding is, and that it goes on."""

    def __init__(self, partitions: int, progress: ProgressMonitor) -> None:
        self._progress = progress
        self._partitions = partitions
        self._done = 0
        self._began_s = self._told_s = asyncio.get_running_loop().time()

    def count(self, topic: str, records: int) -> None:
        self._done += records
        self._progress.mark()
        metrics.REBUILT.labels(topic).inc(records)
        now_s = asyncio.get_running_loop().time()
        if now_s - self._told_s >= _TELL_EVERY_S:
            self._told_s = now_s
            log.info("rebuilding: %d records read again", self._done)

    def tell_end(self) -> None:
        took_s = asyncio.get_running_loop().time() - self._began_s
        log.info("%d partitions taken over: %d records read again in %.1f s", self._partitions, self._done, took_s)
