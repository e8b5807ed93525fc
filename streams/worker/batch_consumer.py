"""The seam for batches: whole lists of records of the joined topics, from the fetcher to their handler.

A stock Faust agent costs more per message than the join does (four futures a record). The fetcher already holds lists,
a partition at a time; only `Consumer._drain_messages` takes them apart. Here it hands those of the batch topics on
whole; every other topic goes the ordinary way. Faust's internals are touched in this module and in `committing`.

Invariants:

* A batch is either handled whole, and its end becomes the offset that may be committed, or it is dropped and the
  consumer sought back to this worker's own position: never dropped without seeking back.
* Before partitions are given up, and before the worker ends, the batch in hand ends and what was handled is committed.
* What a partition's memory holds is kept over a rebalance only if this worker had it in the generation just before;
  else it is rebuilt, and nothing of it is read here until that is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence, Set
from typing import Any, Final, NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.core.errors import RampwatchError
from streams.core.events import TALLIES
from streams.worker import metrics
from streams.worker.assigned_partitions import AssignedPartitions
from streams.worker.committing_consumer import CommittingConsumer
from streams.worker.fenced_writer import ProducerFencedError
from streams.worker.health import ProgressMonitor
from streams.worker.periodic_query import PeriodicQuery
from streams.worker.rebuild import Recovery
from streams.worker.records import Batch
from streams.worker.spike_counters import CounterService

_NOTHING_S: Final = 0.05
_AGAIN_S: Final = 1.0
"""How long to wait where the broker could not help."""


class _Ends(NamedTuple):
    """Where partitions ended when that was asked for."""

    epoch: int
    before: dict[int, int]
    """The greatest stamps seen by then, as `AssignedPartitions.greatest_ms`."""
    ends: dict[TP, int]


class BatchConsumer(CommittingConsumer):
    """Faust's Kafka consumer with the seam for batches."""

    handler: AssignedPartitions
    recovery: Recovery
    counting: CounterService
    owned_topic: str = ""
    """Whoever has its partition counts; its records are not read here."""
    prefix: str = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as Faust's
        super().__init__(*args, **kwargs)
        self._left_at: dict[TP, int] = {}
        self._generation = -1
        self._epoch = 0
        """Counts the times that partitions were given up: what was fetched before is handled no more."""
        self._assigned: frozenset[TP] = frozenset()
        """What the group has for this worker, without the partition of the tallies."""
        self._takeover: asyncio.Task[None] | None = None
        self._in_hand: asyncio.Task[None] | None = None
        """The handling of the last batch, which goes on where the drain is stopped."""
        self._is_stable = False
        """Whether the group has shared out its partitions, and not begun to share them out anew."""
        self._ends: PeriodicQuery[_Ends] = PeriodicQuery(self._ask_for_ends)

    async def on_stop(self) -> None:
        """Stop counting and taking over; commit what was handled, and give the partitions up."""
        await self.counting.stop()
        await self._stop_takeover()
        if self._in_hand is not None:
            await asyncio.wait({self._in_hand})
        await super().on_stop()
        await self._ends.stop()
        async with self.handler.lock:
            await self.handler.close()

    # ------------------------------------------------------------------ partitions come and go

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Let the batch in hand end and commit it while the partitions are still this worker's."""
        self._is_stable = False
        self.stop_flow()
        await self._stop_takeover()
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
            share = {tp.partition for tp in mine}
            self.handler.assign(share, share - lost)
            self._assigned = frozenset(tp for tp in map(ensure_TP, assigned) if tp.topic != self.owned_topic)
            self._is_stable = True
            self.progress.mark()  # to settle takes as long as the slowest of the group
        await super().on_partitions_assigned(assigned, generation_id)
        await self.counting.own(any(tp.topic == self.owned_topic for tp in assigned))

        if not assigned:
            self.handler.first_assignment_ready.set()

    async def perform_seek(self) -> None:
        """Begin to settle in; Faust calls this once an assignment, and must not be kept waiting."""
        await self._stop_takeover()
        assigned = self._assigned
        mine = {tp for tp in assigned if tp.topic in self.batch_topics}
        await self._check_together(mine)
        await self._check_shared(assigned - mine)
        async with self.handler.lock:
            if not self._is_stable or assigned is not self._assigned:
                return  # the partitions were given up while this waited: the next assignment begins anew
            kept = {tp for tp in mine if tp.partition in self.handler.live()} & self._left_at.keys()
            self._go_on({tp: self._left_at[tp] for tp in kept - self._position.keys()})
            self.handler.resume()
            self._takeover = asyncio.ensure_future(self._take_over(assigned))

    async def _take_over(self, assigned: Set[TP]) -> None:
        """Find out where the group goes on, and take over what is new here; tries until it is done.

        It may be cancelled at any time, so it asks nothing of the consumer's thread, which breaks at a call given up.
        """
        try:
            while new := {tp for tp in assigned if tp not in self._position}:
                try:
                    await self._take_over_once(new)
                except (KafkaError, ProducerFencedError) as error:
                    self.log.warning("partitions cannot be taken over now (%s); trying again", error)
                    self.progress.mark()
                    await asyncio.sleep(_AGAIN_S)
            self.handler.first_assignment_ready.set()
        except Exception as error:  # whatever it is, a worker that reads nothing must not live on
            await self.crash(error)

    async def _take_over_once(self, new: set[TP]) -> None:
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
            self._committed_offset[tp] = offset or None
            self._thread.seek(tp, offset)

    async def _stop_takeover(self) -> None:
        task, self._takeover = self._takeover, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            await asyncio.wait({task})

    async def _check_together(self, mine: Set[TP]) -> None:
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

    async def _check_shared(self, rare: Set[TP]) -> None:
        """Shots and actions of a partition made since this worker began reach no engine here."""
        known = self.handler.shared
        grown = sorted(tp.topic for tp in rare if (tp.topic.removeprefix(self.prefix), tp.partition) not in known)
        if grown:
            await self.crash(
                RampwatchError(f"{grown[0]} has more partitions than when this worker began; restart all workers")
            )

    def drop(self, numbers: set[int]) -> None:
        """Read these partitions no more and let the group settle anew, which takes them over; the lock is held."""
        for tp in [tp for tp in self._position if tp.topic in self.batch_topics and tp.partition in numbers]:
            del self._position[tp]
        self._thread.request_rebalance()

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
                await self._look_for_ends()
        except self.consumer_stopped_errors:
            if not self.transport.app.should_stop:
                raise

    async def _drain_once(self) -> None:
        epoch = self._epoch
        fetched, active = await self._wait_next_records(1.0)
        records = {ensure_TP(tp): rows for tp, rows in (fetched or {}).items()}
        batches = {tp: rows for tp, rows in records.items() if tp.topic in self.batch_topics}
        if batches:
            # whoever stops the drain must not cut a batch in two: what it has said already would be said again
            self._in_hand = asyncio.ensure_future(self._handle(batches, active or set(), epoch))
            await asyncio.shield(self._in_hand)
        for tp in records.keys() - batches.keys():
            await self._one_by_one(tp, records[tp], epoch)

    async def _handle(self, batches: Mapping[TP, Sequence[Any]], active: Set[TP], epoch: int) -> None:
        """Handle what is still this worker's to handle, and seek back in the rest."""
        async with self.handler.lock:
            mine = batches.keys() & self._position.keys()
            now = mine & active if self._current(epoch) else set()
            for tp in mine - now:
                self._thread.seek(tp, self._position[tp])
            await self._whole({tp: batches[tp] for tp in now})

    def _current(self, epoch: int) -> bool:
        """Whether what was fetched then may be handled now."""
        return bool(epoch == self._epoch and self.flow_active)

    async def _whole(self, batches: Mapping[TP, Sequence[Any]]) -> None:
        for tp, rows in batches.items():
            self.handler.take(Batch(self.prefix, tp.topic, tp.partition, rows))
        await self.handler.settle()
        for tp, rows in batches.items():
            # a partition may have been dropped meanwhile
            if tp in self._position:
                self._position[tp] = rows[-1].offset + 1

    async def _one_by_one(self, tp: TP, rows: Sequence[Any], epoch: int) -> None:
        """Hand records to the ordinary agents as the stock consumer does, gaps in the offsets noted."""
        for row in rows:
            position = self._position.get(tp)
            if position is None or row.offset < position:
                continue
            if not self._current(epoch):
                self._thread.seek(tp, position)
                return
            if row.offset > position and self.app.topics.acks_enabled_for(row.topic):
                await self._add_gap(tp, position, row.offset)
            await self.wait_first(self.callback(self._to_message(tp, row)), self.suspend_flow.wait())
            if self._current(epoch):
                self._position[tp] = row.offset + 1

    async def _ask_for_ends(self) -> _Ends:
        """Find out where the partitions end; raises `KafkaError`."""
        epoch, before = self._epoch, self.handler.greatest_ms()
        mine = [tp for tp in self._position if tp.topic in self.batch_topics]
        return _Ends(epoch, before, await self.highwaters(*mine) if mine else {})

    async def _look_for_ends(self) -> None:
        """Tell the handler which partitions were read to their ends. Nothing is in hand when this is called."""
        if not self._position or not self.flow_active:
            return
        try:
            asked = self._ends.answer()
            if asked is None or asked.epoch != self._epoch:
                return
            # behind the last record may lie transaction markers, which nobody is given: the fetcher has passed them
            fetched = {tp: await self.position(tp) or 0 for tp in asked.ends.keys() & self._position.keys()}
        except KafkaError as error:
            self.log.warning("the ends of partitions are not known now (%s); asking again", type(error).__name__)
            self.progress.mark()
            return
        at = {tp: max(self._position.get(tp, 0), offset) for tp, offset in fetched.items()}
        async with self.handler.lock:
            if asked.epoch != self._epoch:
                return
            self._tell_lag(at, asked.ends)
            ended = {tp for tp in self._position.keys() & at.keys() if at[tp] >= asked.ends[tp]}
            for tp in ended:
                self.handler.read_to_end((tp.topic.removeprefix(self.prefix), tp.partition), at[tp], asked.before)
            await self.handler.publish()
            if self._assigned <= self._position.keys() and ended == at.keys():
                self.progress.mark()  # there is nothing to commit

    def _tell_lag(self, at: Mapping[TP, int], ends: Mapping[TP, int]) -> None:
        for topic in self.batch_topics:
            behind = sum(max(0, ends[tp] - position) for tp, position in at.items() if tp.topic == topic)
            metrics.LAG.labels(topic.removeprefix(self.prefix)).set(behind)


def batch_transport(
    app: Any,  # noqa: ANN401 - Faust has no types
    topics: Sequence[str],
    prefix: str,
    handler: AssignedPartitions,
    recovery: Recovery,
    counting: CounterService,
    progress: ProgressMonitor,
) -> Any:  # noqa: ANN401 - Faust has no types
    """Return a transport for ``app`` whose consumer hands whole batches of ``topics`` to the handler."""

    class Consumer(BatchConsumer):
        batch_topics = tuple(topics)
        owned_topic = prefix + TALLIES

        def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as Faust's
            super().__init__(*args, **kwargs)
            self.handler = handler
            self.recovery = recovery
            self.progress = progress
            self.counting = counting
            counting.on_lost = self._thread.request_rebalance
            self.prefix = prefix
            handler.on_lost = self.drop

    class Transport(driver.Transport):  # type: ignore[misc]
        pass

    Transport.Consumer = Consumer
    return Transport(app.conf.broker_consumer, app)
