"""The rare topics, read whole by every worker: shots and actions, from the retained past on, outside the group."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from mode import Service

from streams.core.events import Outcome, Record, Refused
from streams.settings import Settings
from streams.worker.joining import Joining
from streams.worker.records import core_record

_POLL_MS = 200


class BroadcastReader(Service):  # type: ignore[misc]
    """Feeds all shots and actions to every engine, and knows what each record of theirs counts as."""

    def __init__(self, settings: Settings, joining: Joining, **kwargs: Any) -> None:  # noqa: ANN401 - as mode's
        super().__init__(**kwargs)
        self._prefix = settings.prefix
        self._broker = settings.broker
        self._joining = joining
        self._consumer: Any = None
        self._outcomes: dict[tuple[str, int, int], Outcome | Refused] = {}
        self._position: dict[tuple[str, int], int] = {}
        self._moved = asyncio.Condition()

    async def on_start(self) -> None:
        """Take all partitions of the broadcast topics, from their beginnings."""
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=self._broker,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=100,
        )
        await self._consumer.start()
        tps = [TopicPartition(self._prefix + topic, number) for topic, number in self._joining.shared]
        self._consumer.assign(tps)
        await self._consumer.seek_to_beginning(*tps)

    async def on_stop(self) -> None:
        """Give the connection back."""
        if self._consumer is not None:
            await self._consumer.stop()

    @Service.task  # type: ignore[untyped-decorator]
    async def _read(self) -> None:
        while not self.should_stop:
            before = self._joining.greatest_ms()
            rows = await self._consumer.getmany(timeout_ms=_POLL_MS)
            records = [self._record(row) for batch in rows.values() for row in batch]
            async with self._joining.lock:
                self._feed(records)
                if not records:
                    await self._note_ends(before)
                await self._joining.publish()
            async with self._moved:
                self._moved.notify_all()

    def _record(self, row: Any) -> Record:  # noqa: ANN401 - aiokafka has no types
        return core_record(self._prefix, row.topic, row.partition, row.offset, row.timestamp, row.value, row.headers)

    def _feed(self, records: Sequence[Record]) -> None:
        for record in records:
            place = (record.topic, record.partition, record.offset)
            try:
                admitted = self._joining.intake.admit(record)
                self._outcomes[place] = self._joining.broadcast.feed(admitted)
                self._joining.hear(admitted)
            except Refused as refused:
                self._outcomes[place] = refused
            self._joining.passed((record.topic, record.partition), record.stamp_ms)
            self._position[record.topic, record.partition] = record.offset + 1

    async def _note_ends(self, before: dict[int, int]) -> None:
        tps = self._consumer.assignment()
        ends = await self._consumer.end_offsets(list(tps))
        for tp in tps:
            if await self._consumer.position(tp) >= ends[tp]:
                self._joining.read_to_end((tp.topic.removeprefix(self._prefix), tp.partition), before)

    async def outcome(self, topic: str, partition: int, offset: int) -> Outcome | Refused:
        """Return what the record at this place counts as; waits until it has been read here. Ask once a record."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._position.get((topic, partition), 0) > offset)
        return self._outcomes.pop((topic, partition, offset), "duplicate")
