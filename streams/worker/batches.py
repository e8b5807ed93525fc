"""The seam for batches: whole lists of records of the joined topics, from the fetcher to their handler.

A stock Faust agent costs more per message than the join does (four futures a record). The fetcher already holds lists,
a partition at a time; only `Consumer._drain_messages` takes them apart. Here it hands those of the batch topics on
whole; every other topic goes the ordinary way. Faust's internals are touched in this module alone.

Invariants:

* A batch is either handled whole, and its end becomes the offset that may be committed, or it is dropped and the
  consumer sought back to this worker's own position: never dropped without seeking back.
* Before partitions are given up, the batch in hand ends and what was handled is committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.core.events import Record
from streams.worker.records import core_record

_ASK_EVERY_S: Final = 1.0
"""How often the ends of quiet partitions are asked for: it bounds how late memory is released."""


class BatchHandler(Protocol):
    """Who takes whole batches."""

    lock: asyncio.Lock

    def keep(self, numbers: set[int], topics: Sequence[str]) -> None:
        """These partitions, and no others, are this worker's now."""

    async def batch(self, number: int, records: Sequence[Record]) -> None:
        """Handle records of one partition of one topic; the lock is held. When it returns they may be committed."""

    def greatest_ms(self) -> dict[int, int]:
        """The greatest stamp seen so far on the inputs of each partition."""

    def read_to_end(self, source: tuple[str, int], greatest_ms: Mapping[int, int]) -> None:
        """This partition of a topic had nothing more to read when asked after ``greatest_ms``; the lock is held."""

    async def publish(self) -> None:
        """Say what changed and release what may go; the lock is held."""


class BatchConsumer(driver.Consumer):  # type: ignore[misc]
    """Faust's Kafka consumer with the seam for batches."""

    handler: BatchHandler
    batch_topics: tuple[str, ...] = ()
    prefix: str = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as Faust's
        super().__init__(*args, **kwargs)
        self._position: dict[TP, int] = {}
        self._handled: dict[TP, int] = {}
        self._epoch = 0
        self._asked_at_s = 0.0

    # ------------------------------------------------------------------ partitions come and go

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Let the batch in hand end and commit it while the partitions are still this worker's."""
        self.stop_flow()
        async with self.handler.lock:
            await self.commit()
            self._epoch += 1
            self._handled.clear()
            self._position.clear()
        await super().on_partitions_revoked(revoked)

    async def perform_seek(self) -> None:
        """Go to where the group has committed, and say whose partitions these are. Called once an assignment."""
        await super().perform_seek()
        self._epoch += 1
        mine = {tp for tp in self.assignment() if tp.topic in self.batch_topics}
        begin = await self.earliest_offsets(*mine) if mine else {}
        self._position = {ensure_TP(tp): self._read_offset[tp] or begin[tp] for tp in mine}
        names = [topic.removeprefix(self.prefix) for topic in self.batch_topics]
        self.handler.keep({tp.partition for tp in mine}, names)

    # ------------------------------------------------------------------ what may be committed

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:  # noqa: ANN401 - as Faust's
        yield from super()._filter_tps_with_pending_acks(topics)
        yield from list(self._handled)

    def _new_offset(self, tp: TP) -> int | None:
        if tp.topic in self.batch_topics:
            return self._handled.get(tp)
        offset: int | None = super()._new_offset(tp)
        return offset

    # ------------------------------------------------------------------ the drain

    async def _drain_messages(self, fetcher: Any) -> None:  # noqa: ANN401 - as Faust's
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):
                await asyncio.sleep(0)
                await self._drain_once()
                await self._ask_for_ends()
        except self.consumer_stopped_errors:
            if not self.transport.app.should_stop:
                raise

    async def _drain_once(self) -> None:
        epoch, generation = self._epoch, self.app.consumer_generation_id
        records, active = await self._wait_next_records(1.0)
        for tp, rows in (records or {}).items():
            tp = ensure_TP(tp)
            if tp.topic not in self.batch_topics:
                await self._one_by_one(tp, rows)
                continue
            async with self.handler.lock:
                current = epoch == self._epoch and generation == self.app.consumer_generation_id
                if current and self.flow_active and active and tp in active and tp in self._position:
                    await self._whole(tp, rows)
                elif self.flow_active and tp in self._position:
                    self._thread.seek(tp, self._position[tp])

    async def _whole(self, tp: TP, rows: Sequence[Any]) -> None:
        await self.handler.batch(
            tp.partition,
            [core_record(self.prefix, r.topic, r.partition, r.offset, r.timestamp, r.value, r.headers) for r in rows],
        )
        self._position[tp] = self._handled[tp] = rows[-1].offset + 1
        self._read_offset[tp] = rows[-1].offset

    async def _one_by_one(self, tp: TP, rows: Sequence[Any]) -> None:
        """Hand records to the ordinary agents as the stock consumer does, gaps in the offsets noted."""
        for row in rows:
            read = self._read_offset[tp]
            if read is not None and row.offset < read:
                continue
            if read and row.offset - read > 1 and self.app.topics.acks_enabled_for(row.topic):
                await self._add_gap(tp, read + 1, row.offset)
            await self.wait_first(self.callback(self._to_message(tp, row)), self.suspend_flow.wait())
            self._read_offset[tp] = row.offset

    async def _ask_for_ends(self) -> None:
        """Tell the handler which partitions were read to their ends. Nothing is in hand when this is called."""
        loop_time_s = asyncio.get_running_loop().time()
        if loop_time_s - self._asked_at_s < _ASK_EVERY_S or not self._position:
            return
        self._asked_at_s = loop_time_s
        before = self.handler.greatest_ms()
        ends = await self.highwaters(*self._position)
        for tp in list(self._position):
            # behind the last record may lie transaction markers, which nobody is given
            fetched = await self.position(tp)
            if fetched is not None and tp in self._position:
                self._position[tp] = max(fetched, self._position[tp])
        async with self.handler.lock:
            for tp, position in self._position.items():
                if position >= ends.get(tp, position + 1):
                    self.handler.read_to_end((tp.topic.removeprefix(self.prefix), tp.partition), before)
            await self.handler.publish()


def batch_transport(
    app: Any,  # noqa: ANN401 - Faust has no types
    topics: Sequence[str],
    prefix: str,
    handler: Callable[[], BatchHandler],
) -> Any:  # noqa: ANN401 - Faust has no types
    """Return a transport for ``app`` whose consumer hands whole batches of ``topics`` to the handler."""

    class Consumer(BatchConsumer):
        batch_topics = tuple(topics)

        def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as Faust's
            super().__init__(*args, **kwargs)
            self.handler = handler()
            self.prefix = prefix

    class Transport(driver.Transport):  # type: ignore[misc]
        pass

    Transport.Consumer = Consumer
    return Transport(app.conf.broker_consumer, app)
