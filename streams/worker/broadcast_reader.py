"""Reads the broadcast topics, shots and actions, whole and outside the group, from their beginning.

Every worker applies every record here, once. The group's agent delivers what follows from a record
once over all workers, so the effects of records that the group has not committed are kept for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from mode import Service

from streams.core.counters.events import Tally
from streams.core.effects import Effects
from streams.core.errors import RampwatchError
from streams.core.events import InvalidRecord, Outcome, Record
from streams.kafka.client_errors import client_errors_mapped
from streams.kafka.connection import connection
from streams.settings import Settings
from streams.worker.assigned_partitions import AssignedPartitions
from streams.worker.client_tasks import watch_tasks
from streams.worker.committed_offsets import committed
from streams.worker.health import ProgressMonitor
from streams.worker.partition import Source
from streams.worker.partition_queries import PartitionQueries
from streams.worker.periodic_query import PeriodicQuery
from streams.worker.records import row_record

_POLL_MS: Final = 200
_POLL_RECORDS: Final = 500
"""Per poll, some tens of milliseconds of work for all partitions together."""
_COMMITTED_EVERY_S: Final = 60.0
"""How often the group's offsets are queried, to drop the effects of committed records."""


class BroadcastReader(Service):  # type: ignore[misc]
    """Applies all shots and actions to every engine, and keeps their effects for the agents."""

    def __init__(
        self,
        settings: Settings,
        partitions: AssignedPartitions,
        progress: ProgressMonitor,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**kwargs)
        self._settings = settings
        self._prefix = settings.prefix
        self._partitions = partitions
        self._progress = progress
        self._consumer: Any = None
        self._pending: dict[Source, _PendingEffects] = {
            source: _PendingEffects() for source in partitions.broadcast_sources
        }
        self._advanced = asyncio.Condition()
        self._ends = PeriodicQuery(self._fetch_ends)
        self._end_queries: PartitionQueries[TopicPartition, int] = PartitionQueries(self._end_of)
        self._committed = PeriodicQuery(self._fetch_committed, _COMMITTED_EVERY_S)

    async def on_start(self) -> None:
        """Assign all partitions of the broadcast topics, from their beginning."""
        self._consumer = AIOKafkaConsumer(
            **connection(self._settings),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=100,
            max_poll_records=_POLL_RECORDS,
        )
        await self._consumer.start()
        watch_tasks(self._consumer, lambda error: self.add_future(self.crash(error)))
        tps = [self._tp(source) for source in self._pending]
        self._consumer.assign(tps)
        await self._consumer.seek_to_beginning(*tps)
        with suppress(KafkaError):  # then everything is kept until the next query
            self._note_committed(await self._fetch_committed())

    async def on_stop(self) -> None:
        """Close the connection."""
        if self._consumer is not None:
            await self._ends.stop()
            await self._end_queries.stop()
            await self._committed.stop()
            await self._consumer.stop()

    def _tp(self, source: Source) -> TopicPartition:
        return TopicPartition(self._prefix + source[0], source[1])

    def _source(self, tp: TopicPartition) -> Source:
        return tp.topic.removeprefix(self._prefix), tp.partition

    # ------------------------------------------------------------------ reading

    @Service.task  # type: ignore[untyped-decorator]
    async def _run(self) -> None:
        with client_errors_mapped():  # mode would go on without this task if it is cancelled
            await self._read()

    async def _read(self) -> None:
        while not self.should_stop:
            batches = await self._consumer.getmany(timeout_ms=_POLL_MS)
            records = [self._record(row) for rows in batches.values() for row in rows]
            async with self._partitions.lock:
                self._apply(records)
                await self._partitions.publish()
            if self._partitions.is_spare:
                self._progress.mark()  # a worker without partitions has no work
            async with self._advanced:
                self._advanced.notify_all()
            await self._check_ends()
            self._check_committed()

    def _record(self, row: Any) -> Record:  # noqa: ANN401 - aiokafka has no types
        return row_record(self._prefix, row.topic, row.partition, row)

    def _apply(self, records: Sequence[Record]) -> None:
        for record in records:
            pending = self._pending[record.topic, record.partition]
            effects = self._partitions.apply_broadcast(record, pending.keeps(record.offset))
            pending.add(record, effects)

    # ------------------------------------------------------------------ the ends of the topics

    async def _check_ends(self) -> None:
        """Note which partitions are read to the ends that were queried.

        No record is in flight here.
        """
        try:
            response = self._ends.poll()
            if response is None:
                return
            greatest_ms, ends = response
            with client_errors_mapped():
                positions = {tp: await self._consumer.position(tp) for tp in ends}
        except KafkaError as error:
            self.log.warning("the ends of the broadcast topics are unknown (%s); retrying", type(error).__name__)
            self._progress.mark()
            return
        async with self._partitions.lock:
            for tp in (tp for tp, end in ends.items() if positions[tp] >= end):
                self._partitions.read_to_end(self._source(tp), positions[tp], greatest_ms)
            await self._partitions.publish()

    async def _fetch_ends(self) -> tuple[dict[int, int], dict[TopicPartition, int]]:
        """Return the greatest stamps seen before, and the ends of the topics.

        Raises `KafkaError`.
        """
        greatest_ms = self._partitions.greatest_stamps_ms()
        return greatest_ms, await self._end_queries.answers(map(self._tp, self._pending))

    async def _end_of(self, tp: TopicPartition) -> dict[TopicPartition, int]:
        ends: dict[TopicPartition, int] = await self._consumer.end_offsets([tp])
        return ends

    # ------------------------------------------------------------------ effects, for the agents

    async def effects_of(self, record: Record) -> Effects:
        """Return the effects of a record that the group has not committed.

        Waits until it is applied.
        """
        pending = self._pending[record.topic, record.partition]
        async with self._advanced:
            await self._advanced.wait_for(lambda: pending.next_offset > record.offset)
        return pending.effects_of(record)

    def _check_committed(self) -> None:
        try:
            offsets = self._committed.poll()
        except KafkaError as error:
            self.log.warning("the group's offsets are unknown (%s); retrying", type(error).__name__)
            return
        if offsets is not None:
            self._note_committed(offsets)

    async def _fetch_committed(self) -> dict[TopicPartition, int]:
        commits = await committed(self._settings, map(self._tp, self._pending))
        return {tp: commit.offset for tp, commit in commits.items()}

    def _note_committed(self, offsets: Mapping[TopicPartition, int]) -> None:
        for tp, offset in offsets.items():
            self._pending[self._source(tp)].note_committed(offset)


class _Pending(NamedTuple):
    outcome: Outcome
    error: InvalidRecord | None
    tallies: tuple[Tally, ...]


class _PendingEffects:
    """The effects of one partition's uncommitted records, without the records' bytes."""

    def __init__(self) -> None:
        self.next_offset = 0
        """The offset after the last record that was applied."""
        self._effects: dict[int, _Pending] = {}
        self._committed = 0
        self._dropped_below = 0

    def add(self, record: Record, effects: Effects) -> None:
        """Keep the effects of the next record.

        Raises `RampwatchError` if it is not the next one.
        """
        if record.offset < self.next_offset:
            raise RampwatchError(
                f"{record.topic}-{record.partition} went back from offset {self.next_offset} to {record.offset}; "
                "restart the worker"
            )
        self.next_offset = record.offset + 1
        if self.keeps(record.offset):
            (_, outcome), *_ = effects.outcomes
            error = effects.dead_letters[0].error if effects.dead_letters else None
            self._effects[record.offset] = _Pending(outcome, error, tuple(effects.tallies))

    def keeps(self, offset: int) -> bool:
        """Return whether the group has not committed this offset, as far as is known."""
        return offset >= self._dropped_below

    def effects_of(self, record: Record) -> Effects:
        """Return the effects of a record; none if another worker has delivered them.

        Raises `RampwatchError` if the record was never read here.
        """
        if not self.keeps(record.offset):
            return Effects()
        pending = self._effects.get(record.offset)
        if pending is None:
            raise RampwatchError(
                f"{record.topic}-{record.partition} has no offset {record.offset} in its history; restart the worker"
            )
        effects = Effects(tallies=list(pending.tallies))
        if pending.error is not None:
            effects.reject(record, pending.error)
        else:
            effects.count(record.topic, pending.outcome)
        return effects

    def note_committed(self, offset: int) -> None:
        """Drop the effects of records committed by the time of the call before this one.

        One call late, because an agent may still be busy with a record that another worker, to
        which the partition has moved, has committed meanwhile.
        """
        if not self.next_offset:
            self._committed = offset  # at the start no agent is busy yet
        if self._committed > self._dropped_below:
            self._dropped_below = self._committed
            self._effects = {at: pending for at, pending in self._effects.items() if at >= self._dropped_below}
        self._committed = offset
