"""The rare topics, read whole by every worker: shots and actions, from the retained past on, outside the group."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from mode import Service

from streams.core.errors import RampwatchError
from streams.core.events import InvalidRecord, Outcome, Record
from streams.kafka.connection import connection
from streams.settings import Settings
from streams.worker.assigned_partitions import AssignedPartitions
from streams.worker.health import ProgressMonitor
from streams.worker.periodic_query import PeriodicQuery
from streams.worker.records import core_record

_POLL_MS: Final = 200


class BroadcastReader(Service):  # type: ignore[misc]
    """Feeds all shots and actions to every engine, and knows what each record of theirs counts as."""

    def __init__(
        self,
        settings: Settings,
        partitions: AssignedPartitions,
        progress: ProgressMonitor,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**kwargs)
        self._progress = progress
        self._prefix = settings.prefix
        self._settings = settings
        self._assigned = partitions
        self._consumer: Any = None
        self._outcomes: dict[tuple[str, int], _Outcomes] = {}
        self._ends = PeriodicQuery(self._ask_for_ends)
        self._moved = asyncio.Condition()

    async def on_start(self) -> None:
        """Take all partitions of the broadcast topics, from their beginnings."""
        self._consumer = AIOKafkaConsumer(
            **connection(self._settings),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=100,
        )
        await self._consumer.start()
        tps = [TopicPartition(self._prefix + topic, number) for topic, number in self._assigned.shared]
        self._consumer.assign(tps)
        await self._consumer.seek_to_beginning(*tps)

    async def on_stop(self) -> None:
        """Give the connection back."""
        if self._consumer is not None:
            await self._ends.stop()
            await self._consumer.stop()

    @Service.task  # type: ignore[untyped-decorator]
    async def _read(self) -> None:
        while not self.should_stop:
            rows = await self._consumer.getmany(timeout_ms=_POLL_MS)
            records = [self._record(row) for batch in rows.values() for row in batch]
            async with self._assigned.lock:
                self._feed(records)
                await self._assigned.publish()
            if self._assigned.is_spare:
                self._progress.mark()  # whoever has no partitions has no work
            async with self._moved:
                self._moved.notify_all()
            await self._look_for_ends()

    async def _look_for_ends(self) -> None:
        """Say which partitions are read to the ends they had when these were asked for; nothing is in hand."""
        try:
            asked = self._ends.answer()
            if asked is None:
                return
            before, ends = asked
            at = {tp: await self._consumer.position(tp) for tp in ends}
        except KafkaError as error:
            self.log.warning("the ends of the rare topics are not known now (%s); asking again", type(error).__name__)
            self._progress.mark()
            return
        async with self._assigned.lock:
            for tp in (tp for tp, end in ends.items() if at[tp] >= end):
                self._assigned.read_to_end((tp.topic.removeprefix(self._prefix), tp.partition), at[tp], before)
            await self._assigned.publish()

    async def _ask_for_ends(self) -> tuple[dict[int, int], dict[TopicPartition, int]]:
        """The greatest stamps seen before, and where the topics end; raises `KafkaError`."""
        before = self._assigned.greatest_ms()
        return before, await self._consumer.end_offsets(list(self._consumer.assignment()))

    def _record(self, row: Any) -> Record:  # noqa: ANN401 - aiokafka has no types
        return core_record(self._prefix, row.topic, row.partition, row.offset, row.timestamp, row.value, row.headers)

    def _feed(self, records: Sequence[Record]) -> None:
        for record in records:
            source = (record.topic, record.partition)
            try:
                admitted = self._assigned.intake.admit(record)
                outcome = self._assigned.broadcast.feed(admitted)
                self._assigned.apply_broadcast(admitted)
            except InvalidRecord as refused:
                outcome = refused.outcome
            self._outcomes.setdefault(source, _Outcomes(record.offset)).add(record.offset, outcome)
            self._assigned.passed(source, record.offset + 1, record.stamp_ms)

    async def outcome(self, topic: str, partition: int, offset: int) -> Outcome:
        """Return what the record at this place counts as; waits until it has been read here."""
        source = (topic, partition)
        async with self._moved:
            await self._moved.wait_for(lambda: source in self._outcomes and self._outcomes[source].end > offset)
        return self._outcomes[source].at(offset)


class _Outcomes:
    """What the records of one partition count as: a byte each, from the first that was there."""

    _CODES: Final[tuple[Outcome, ...]] = ("duplicate", "used", "superseded", "conflict", "forwarded", "late", "dead")

    def __init__(self, begin: int) -> None:
        self._begin = begin
        self._codes = bytearray()

    @property
    def end(self) -> int:
        """The offset behind the last record."""
        return self._begin + len(self._codes)

    def add(self, offset: int, outcome: Outcome) -> None:
        """Note a record's outcome; offsets that were left out, such as markers, hold none. Raises `RampwatchError`."""
        if offset < self.end:
            raise RampwatchError(f"a topic that is read whole went back from offset {self.end} to {offset}; start anew")
        self._codes.extend(bytes(offset - self.end))
        self._codes.append(self._CODES.index(outcome))

    def at(self, offset: int) -> Outcome:
        """Return the outcome of the record at ``offset``."""
        return self._CODES[self._codes[max(0, offset - self._begin)]]
