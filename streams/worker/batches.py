"""The seam for batches: whole lists of records of the joined topics, from the fetcher to their handler.

A stock Faust agent costs more per message than the join does (four futures a record). The fetcher already holds lists,
a partition at a time; only `Consumer._drain_messages` takes them apart. Here it hands those of the batch topics on
whole; every other topic goes the ordinary way. Faust's internals are touched in this module and in `committing`.

Invariants:

* A batch is either handled whole, and its end becomes the offset that may be committed, or it is dropped and the
  consumer sought back to this worker's own position: never dropped without seeking back.
* Before partitions are given up, the batch in hand ends and what was handled is committed.
* What a partition's memory holds is kept over a rebalance only if this worker had it in the generation just before;
  else it is rebuilt, and nothing of it is read here until that is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.core.errors import RampwatchError
from streams.core.events import TALLIES
from streams.worker.commits import Committed
from streams.worker.committing import CommittingConsumer
from streams.worker.counting import Counting
from streams.worker.fencing import WriterLost
from streams.worker.health import Pulse
from streams.worker.rebuild import Ready
from streams.worker.records import Batch

_ASK_EVERY_S: Final = 1.0
"""How often the ends of quiet partitions are asked for: it bounds how late memory is released."""
_NOTHING_S: Final = 0.05
_AGAIN_S: Final = 1.0
"""How long to wait where the broker could not help."""


class BatchHandler(Protocol):
    """Who takes whole batches."""

    lock: asyncio.Lock
    on_lost: Callable[[set[int]], None]
    """Called, with the lock held, when somebody else may write what partitions have to say."""
    shared: frozenset[tuple[str, int]]
    """The partitions of the broadcast topics, each with its topic's name without the prefix."""
    settled_in: asyncio.Event
    """Set when the first share of the partitions is taken over."""

    def pause(self) -> None:
        """Nothing may be published until `resume`: whose the partitions are is being settled; the lock is held."""

    def resume(self) -> None:
        """What is kept may be published again; the lock is held."""

    def keep(self, numbers: set[int]) -> None:
        """No other partitions than these are this worker's now; the lock is held."""

    def live(self) -> set[int]:
        """The partitions that take records."""

    def committable_ms(self, number: int) -> int | None:
        """The watermark that a commit may say of this partition; None while nothing may be committed."""

    def take(self, batch: Batch) -> None:
        """Take in records of one partition of one topic; the lock is held until `settle`."""

    async def settle(self) -> None:
        """End what the batches taken began; when it returns they may be committed."""

    def greatest_ms(self) -> dict[int, int]:
        """The greatest stamp seen so far on the inputs of each partition."""

    def read_to_end(self, source: tuple[str, int], position: int, greatest_ms: Mapping[int, int]) -> None:
        """This partition of a topic had nothing more to read when asked after ``greatest_ms``; the lock is held."""

    async def publish(self) -> None:
        """Say what changed and release what may go; the lock is held."""

    async def close(self) -> None:
        """Let go of everything; the lock is held."""


class Recovery(Protocol):
    """Who knows what the group has committed, and takes over partitions that are new here."""

    async def committed(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, Committed]:
        """Where the group goes on; raises `KafkaError`."""

    async def take_over(self, numbers: set[int], places: Mapping[TopicPartition, Committed], ready: Ready) -> None:
        """Rebuild partitions, and call ``ready`` for each that may be read on; raises `KafkaError`, `WriterLost`."""


class BatchConsumer(CommittingConsumer):
    """Faust's Kafka consumer with the seam for batches."""

    handler: BatchHandler
    recovery: Recovery
    counting: Counting
    owned_topic: str = ""
    """Whoever has its partition counts; its records are not read here."""
    prefix: str = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as Faust's
        super().__init__(*args, **kwargs)
        self._left_at: dict[TP, int] = {}
        self._generation = -1
        self._epoch = 0
        self._settling_in: asyncio.Task[None] | None = None
        self._is_settled = False
        """Whether the group has shared out its partitions, and not begun to share them out anew."""
        self._asked_at_s = 0.0

    async def on_stop(self) -> None:
        """Stop counting and taking over; commit what was handled, and give the partitions up."""
        await self.counting.stop()
        await self._stop_settling_in()
        await super().on_stop()
        async with self.handler.lock:
            await self.handler.close()

    # ------------------------------------------------------------------ partitions come and go

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Let the batch in hand end and commit it while the partitions are still this worker's."""
        self._is_settled = False
        self.stop_flow()
        await self._stop_settling_in()
        async with self.handler.lock:
            # a commit under way took its offsets before the batch in hand ended
            await self.maybe_wait_for_commit_to_finish()
            await self.force_commit()
            self._epoch += 1
            self._left_at = self._position
            self.forget_positions()
            self.handler.keep(self.handler.live())
            self.handler.pause()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Let go of what went elsewhere, or may have been there; also where nothing is left: then nothing is sought."""
        async with self.handler.lock:
            mine = {tp for tp in assigned if tp.topic in self.batch_topics}
            kept = generation_id == self._generation + 1
            self._generation = generation_id
            lost = {tp.partition for tp in mine if not kept or tp not in self._left_at}
            self.handler.keep({tp.partition for tp in mine} - lost)
            self._is_settled = True
        await super().on_partitions_assigned(assigned, generation_id)
        await self.counting.own(any(tp.topic == self.owned_topic for tp in assigned))

        if not assigned:
            self.handler.settled_in.set()

    async def perform_seek(self) -> None:
        """Begin to settle in; Faust calls this once an assignment, and must not be kept waiting."""
        await self._stop_settling_in()
        assigned = {ensure_TP(tp) for tp in self.assignment() if tp.topic != self.owned_topic}
        mine = {tp for tp in assigned if tp.topic in self.batch_topics}
        await self._check_together(mine)
        await self._check_shared(assigned - mine)
        async with self.handler.lock:
            if not self._is_settled:
                return  # the partitions were given up while this waited: the next assignment begins anew
            kept = {tp for tp in mine if tp.partition in self.handler.live()} & self._left_at.keys()
            self._go_on({tp: self._left_at[tp] for tp in kept - self._position.keys()})
            self.handler.resume()
            self._settling_in = asyncio.ensure_future(self._settle_in(assigned))

    async def _settle_in(self, assigned: set[TP]) -> None:
        """Find out where the group goes on, and take over what is new here; tries until it is done.

        It may be cancelled at any time, so it asks nothing of the consumer's thread, which breaks at a call given up.
        """
        try:
            while new := {tp for tp in assigned if tp not in self._position}:
                try:
                    await self._settle_in_once(new)
                except (KafkaError, WriterLost) as error:
                    self.log.warning("partitions cannot be taken over now (%s); trying again", error)
                    self.pulse.beat()
                    await asyncio.sleep(_AGAIN_S)
            self.handler.settled_in.set()
        except Exception as error:  # whatever it is, a worker that reads nothing must not live on
            await self.crash(error)

    async def _settle_in_once(self, new: set[TP]) -> None:
        places = await self.recovery.committed([TopicPartition(tp.topic, tp.partition) for tp in new])
        rare = {tp for tp in new if tp.topic not in self.batch_topics}
        async with self.handler.lock:
            self._go_on({tp: places[tp].offset if tp in places else 0 for tp in rare})
        numbers = {tp.partition for tp in new - rare}
        if numbers:
            await self.recovery.take_over(numbers, places, self._ready)

    async def _ready(self, number: int, positions: Mapping[TopicPartition, int]) -> None:
        async with self.handler.lock:
            if number in self.handler.live():  # else its writer was lost meanwhile, and it is taken over again
                self._go_on({TP(tp.topic, tp.partition): offset for tp, offset in positions.items()})

    def _go_on(self, positions: Mapping[TP, int]) -> None:
        """Read these partitions on from here; the lock is held."""
        self._position.update(positions)
        for tp, offset in positions.items():
            self._read_offset[tp] = self._committed_offset[tp] = offset or None
            self._thread.seek(tp, offset)

    async def _stop_settling_in(self) -> None:
        task, self._settling_in = self._settling_in, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            await asyncio.wait({task})

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

    async def _check_shared(self, rare: set[TP]) -> None:
        """Shots and actions of a partition made since this worker began reach no engine here."""
        known = self.handler.shared
        grown = sorted(tp.topic for tp in rare if (tp.topic.removeprefix(self.prefix), tp.partition) not in known)
        if grown:
            await self.crash(
                RampwatchError(f"{grown[0]} has more partitions than when this worker began; restart all workers")
            )

    def committable_ms(self, number: int) -> int | None:
        """As the handler's."""
        return self.handler.committable_ms(number)

    def drop(self, numbers: set[int]) -> None:
        """Read these partitions no more and let the group settle anew, which takes them over; the lock is held."""
        for tp in [tp for tp in self._position if tp.topic in self.batch_topics and tp.partition in numbers]:
            del self._position[tp]
        self._thread.settle_anew()

    async def verify_all_partitions_active(self) -> None:
        """Leave it to the pulse: Faust complains of what is not read here."""

    # ------------------------------------------------------------------ the drain

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ANN401 - Faust's
        """Fetch from those of the active partitions that this worker knows where to read on."""
        known = (active_partitions or set()) & self._position.keys()
        if not known:
            await asyncio.sleep(_NOTHING_S)
            return {}
        return await super()._getmany(known, timeout)

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
        fetched, active = await self._wait_next_records(1.0)
        records = {ensure_TP(tp): rows for tp, rows in (fetched or {}).items()}
        batches = {tp: rows for tp, rows in records.items() if tp.topic in self.batch_topics}
        if batches:
            async with self.handler.lock:
                mine = batches.keys() & self._position.keys()
                now = mine & active if self._current(epoch, generation) and active else set()
                for tp in mine - now:
                    self._thread.seek(tp, self._position[tp])
                await self._whole({tp: batches[tp] for tp in now})
        for tp in records.keys() - batches.keys():
            await self._one_by_one(tp, records[tp], epoch, generation)

    def _current(self, epoch: int, generation: int) -> bool:
        """Whether what was fetched then may be handled now."""
        return bool(epoch == self._epoch and generation == self.app.consumer_generation_id and self.flow_active)

    async def _whole(self, batches: Mapping[TP, Sequence[Any]]) -> None:
        for tp, rows in batches.items():
            self.handler.take(Batch(self.prefix, tp.topic, tp.partition, rows))
        await self.handler.settle()
        for tp, rows in batches.items():
            # a partition may have been dropped meanwhile
            if tp in self._position:
                self._position[tp] = rows[-1].offset + 1
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
            self.pulse.beat()
            return
        async with self.handler.lock:
            if epoch != self._epoch:
                return
            for tp in self._position.keys() & set(mine):
                position = max(self._position[tp], fetched[tp])
                if position >= ends.get(tp, position + 1):
                    self.handler.read_to_end((tp.topic.removeprefix(self.prefix), tp.partition), position, before)
            await self.handler.publish()
            if all(self._position[tp] >= ends.get(tp, 0) for tp in mine if tp in self._position):
                self.pulse.beat()  # there is nothing to commit


def batch_transport(
    app: Any,  # noqa: ANN401 - Faust has no types
    topics: Sequence[str],
    prefix: str,
    handler: BatchHandler,
    recovery: Recovery,
    counting: Counting,
    pulse: Pulse,
) -> Any:  # noqa: ANN401 - Faust has no types
    """Return a transport for ``app`` whose consumer hands whole batches of ``topics`` to the handler."""

    class Consumer(BatchConsumer):
        batch_topics = tuple(topics)
        owned_topic = prefix + TALLIES

        def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as Faust's
            super().__init__(*args, **kwargs)
            self.handler = handler
            self.recovery = recovery
            self.pulse = pulse
            self.counting = counting
            counting.on_lost = self._thread.settle_anew
            self.prefix = prefix
            handler.on_lost = self.drop

    class Transport(driver.Transport):  # type: ignore[misc]
        pass

    Transport.Consumer = Consumer
    return Transport(app.conf.broker_consumer, app)
