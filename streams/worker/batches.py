"""The seam for batches: whole lists of records of the joined topics, from the fetcher to their handler.

A stock Faust agent costs more per message than the join does (four futures a record). The fetcher already holds lists,
a partition at a time; only `Consumer._drain_messages` takes them apart. Here it hands those of the batch topics on
whole; every other topic goes the ordinary way. Faust's internals are touched in this module alone.

Invariants:

* A batch is either handled whole, and its end becomes the offset that may be committed, or it is dropped and the
  consumer sought back to this worker's own position: never dropped without seeking back.
* Before partitions are given up, the batch in hand ends and what was handled is committed.
* What a partition's memory holds is kept over a rebalance only if nobody else has read on meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from aiokafka.errors import KafkaError
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.core.errors import RampwatchError
from streams.core.events import Record
from streams.worker.records import core_record

_ASK_EVERY_S: Final = 1.0
"""How often the ends of quiet partitions are asked for: it bounds how late memory is released."""


class BatchHandler(Protocol):
    """Who takes whole batches."""

    lock: asyncio.Lock

    def pause(self) -> None:
        """Nothing may be published until `begin`: whose the partitions are is being settled; the lock is held."""

    def keep(self, numbers: set[int]) -> None:
        """No other partitions than these are this worker's now; the lock is held."""

    def begin(self, numbers: set[int], moved: set[int], topics: Sequence[str]) -> None:
        """These partitions are this worker's. Of those that ``moved``, somebody else has read meanwhile."""

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
        self._left_at: dict[TP, int] = {}
        self._epoch = 0
        self._asked_at_s = 0.0

    # ------------------------------------------------------------------ partitions come and go

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Let the batch in hand end and commit it while the partitions are still this worker's."""
        self.stop_flow()
        async with self.handler.lock:
            # a commit under way took its offsets before the batch in hand ended
            await self.maybe_wait_for_commit_to_finish()
            await self.force_commit()
            self._epoch += 1
            self._left_at = self._position
            self._position, self._handled = {}, {}
            self.handler.pause()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Let go of what went elsewhere, also where nothing is left: then Faust seeks nothing and says no more."""
        async with self.handler.lock:
            self.handler.keep({tp.partition for tp in assigned if tp.topic in self.batch_topics})
        await super().on_partitions_assigned(assigned, generation_id)

    async def perform_seek(self) -> None:
        """Go to where the group has committed, and begin what is new here. Called once an assignment."""
        self._epoch += 1
        await super().perform_seek()
        assigned = {ensure_TP(tp) for tp in self.assignment()}
        mine = {tp for tp in assigned if tp.topic in self.batch_topics}
        await self._check_together(mine)
        begin = await self.earliest_offsets(*assigned) if assigned else {}
        position = {tp: self._read_offset[tp] or begin[tp] for tp in assigned}
        for tp, offset in position.items():
            # a fetch under way may have moved the consumer on after the seek to the committed offset
            self._thread.seek(tp, offset)
        moved = {tp.partition for tp in mine if self._left_at.get(tp) != position[tp]}
        async with self.handler.lock:
            self._position = position
            names = [topic.removeprefix(self.prefix) for topic in self.batch_topics]
            self.handler.begin({tp.partition for tp in mine}, moved, names)

    async def _check_together(self, mine: set[TP]) -> None:
        """The same partitions of all batch topics must be here, or nothing joins and nobody notices."""
        numbers = [{tp.partition for tp in mine if tp.topic == topic} for topic in self.batch_topics]
        if any(other != numbers[0] for other in numbers):
            topics = " and ".join(self.batch_topics)
            await self.crash(
                RampwatchError(
                    f"the partitions of {topics} were not assigned together; see that all workers of the group are "
                    "of one version and read the same topics, and that rampwatch topics check is silent"
                )
            )

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
                await self._one_by_one(tp, rows, epoch, generation)
                continue
            async with self.handler.lock:
                if self._current(epoch, generation) and active and tp in active and tp in self._position:
                    await self._whole(tp, rows)
                elif tp in self._position:
                    self._thread.seek(tp, self._position[tp])

    def _current(self, epoch: int, generation: int) -> bool:
        """Whether what was fetched then may be handled now."""
        return bool(epoch == self._epoch and generation == self.app.consumer_generation_id and self.flow_active)

    async def _whole(self, tp: TP, rows: Sequence[Any]) -> None:
        await self.handler.batch(
            tp.partition,
            [core_record(self.prefix, r.topic, r.partition, r.offset, r.timestamp, r.value, r.headers) for r in rows],
        )
        self._position[tp] = self._handled[tp] = rows[-1].offset + 1
        self._read_offset[tp] = rows[-1].offset

    async def _one_by_one(self, tp: TP, rows: Sequence[Any], epoch: int, generation: int) -> None:
        """Hand records to the ordinary agents as the stock consumer does, gaps in the offsets noted."""
        for row in rows:
            position = self._position.get(tp)
            if position is None or row.offset < position:
                continue
            if not self._current(epoch, generation):
                self._thread.seek(tp, position)
                return
            if row.offset > position and self.app.topics.acks_enabled_for(row.topic):
                await self._add_gap(tp, position, row.offset)
            await self.wait_first(self.callback(self._to_message(tp, row)), self.suspend_flow.wait())
            if self._current(epoch, generation):
                self._position[tp] = row.offset + 1
                self._read_offset[tp] = row.offset

    async def _ask_for_ends(self) -> None:
        """Tell the handler which partitions were read to their ends. Nothing is in hand when this is called."""
        loop_time_s = asyncio.get_running_loop().time()
        if loop_time_s - self._asked_at_s < _ASK_EVERY_S or not self._position or not self.flow_active:
            return
        self._asked_at_s = loop_time_s
        epoch, before = self._epoch, self.handler.greatest_ms()
        mine = [tp for tp in self._position if tp.topic in self.batch_topics]
        try:
            ends = await self.highwaters(*mine)
            # behind the last record may lie transaction markers, which nobody is given: the fetcher has passed them
            fetched = {tp: await self.position(tp) or 0 for tp in mine}
        except KafkaError as error:
            self.log.warning("the ends of partitions are not known now (%s); asking again", type(error).__name__)
            return
        async with self.handler.lock:
            if epoch != self._epoch:
                return
            for tp in mine:
                position = self._position[tp]
                if max(position, fetched[tp]) >= ends.get(tp, position + 1):
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
