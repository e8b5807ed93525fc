"""A Faust consumer that passes on the records of the joined topics in whole batches.

A stock Faust agent costs more per message than the join does: four futures a record. The fetcher
already holds a list for each partition; only `Consumer._drain_messages` takes it apart. Here, the
lists of the batch topics stay whole; records of any other topic reach its agent as in stock Faust.
Faust's internals are touched in this module and in `committing_consumer` only.

Invariants:

* A batch is either applied whole, and its end may be committed, or it is dropped and the consumer
  seeks back to this worker's own position. No batch is dropped without seeking back.
* Before partitions are revoked, and before the worker stops, the batch in flight ends and what was
  applied is committed.
* A partition's state survives a rebalance only if this worker owned the partition in the generation
  just before. Otherwise it is rebuilt, and nothing is read from the partition until that is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence, Set
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.core.effects import Effects
from streams.core.errors import RampwatchError
from streams.core.topics import HITS, TALLIES
from streams.kafka.client_errors import client_errors_mapped
from streams.worker.assigned_partitions import AssignedPartitions
from streams.worker.committing_consumer import CommittingConsumer
from streams.worker.fenced_writer import ProducerFencedError
from streams.worker.health import ProgressMonitor
from streams.worker.joined_ends import JoinedEnds
from streams.worker.rebuild import Recovery
from streams.worker.records import Batch, pieces
from streams.worker.spike_counters import CounterService

_IDLE_S: Final = 0.05
"""How long to wait when no partition may be read yet."""
_RETRY_S: Final = 1.0


class BatchConsumer(CommittingConsumer):
    """Faust's Kafka consumer, applying the joined topics in batches."""

    partitions: AssignedPartitions
    recovery: Recovery
    counters: CounterService
    ends: JoinedEnds
    leader_topic: str = ""
    """The owner of its one partition is the counter leader. Its records are not read here."""
    prefix: str = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as Faust's
        super().__init__(*args, **kwargs)
        self._released_positions: dict[TP, int] = {}
        """The positions of the partitions revoked last."""
        self._generation = -1
        self._epoch = 0
        """The number of revocations: records fetched in an earlier epoch are not applied."""
        self._assigned: frozenset[TP] = frozenset()
        """What the group has assigned to this worker, without the leader topic."""
        self._takeover: asyncio.Task[None] | None = None
        self._in_flight: asyncio.Task[None] | None = None
        """The last batch being applied; it goes on when the drain is cancelled."""
        self._is_stable = False
        """Whether partitions are assigned and no rebalance has begun since."""

    async def on_stop(self) -> None:
        """Stop the counters and the takeover, commit what was applied, and drop the partitions."""
        await self.counters.stop()
        await self._stop_takeover()
        if self._in_flight is not None:
            await asyncio.wait({self._in_flight})
        await super().on_stop()
        await self.ends.stop()
        async with self.partitions.lock:
            await self.partitions.close()

    # ------------------------------------------------------------------ assignment

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish and commit the batch in flight while this worker still owns the partitions."""
        self._is_stable = False
        self.stop_flow()
        await self._stop_takeover()
        async with self.partitions.lock:
            # a commit in flight took its offsets before the batch ended: commit again after it
            await self.maybe_wait_for_commit_to_finish()
            await self.force_commit()
            self._epoch += 1
            # those not resumed since the last rebalance are where they were
            self._released_positions = self._released_positions | self._position
            self.forget_positions()
            self.partitions.pause()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Drop the partitions that other workers own, or may have owned meanwhile.

        It is done here because `perform_seek` is not called for an empty assignment.
        """
        async with self.partitions.lock:
            joined = {tp for tp in assigned if tp.topic in self.batch_topics}
            is_next = generation_id == self._generation + 1
            self._generation = generation_id
            rebuilding = self.partitions.rebuilding()
            kept = {tp for tp in joined if tp in self._released_positions or tp.partition in rebuilding}
            lost = {tp.partition for tp in joined if not is_next or tp not in kept}
            numbers = {tp.partition for tp in joined}
            self.partitions.assign(numbers, numbers - lost)
            self._assigned = frozenset(tp for tp in map(ensure_TP, assigned) if tp.topic != self.leader_topic)
            self._is_stable = True
            self.progress.mark()  # a rebalance takes as long as the slowest member of the group
        await super().on_partitions_assigned(assigned, generation_id)
        await self.counters.assign(any(tp.topic == self.leader_topic for tp in assigned))

        if not assigned:
            self.partitions.first_assignment_ready.set()

    async def perform_seek(self) -> None:
        """Resume retained partitions and start the takeover of the others.

        Faust calls this once an assignment and waits for it, so the takeover runs as a task.
        """
        await self._stop_takeover()
        assigned = self._assigned
        joined = {tp for tp in assigned if tp.topic in self.batch_topics}
        await self._check_co_assignment(joined)
        await self._check_broadcast_partitions(assigned - joined)
        async with self.partitions.lock:
            if not self._is_stable or assigned is not self._assigned:
                return  # revoked while this waited for the lock: the next assignment starts again
            live = self.partitions.live_numbers()
            retained = {tp for tp in joined if tp.partition in live} & self._released_positions.keys()
            self._resume_at({tp: self._released_positions[tp] for tp in retained - self._position.keys()})
            self._released_positions = {}
            self.partitions.resume()
            self._takeover = asyncio.ensure_future(self._take_over(assigned))

    async def _take_over(self, assigned: Set[TP]) -> None:
        """Take over the partitions that are not read yet, retrying until it is done.

        It may be cancelled at any time, so it makes no calls to the consumer's thread: that breaks
        when a call is cancelled.
        """
        try:
            while new := {tp for tp in assigned if tp not in self._position}:
                try:
                    with client_errors_mapped():
                        await self._take_over_once(new)
                except (KafkaError, ProducerFencedError) as error:
                    self.recovery.reasons.note_failure(error)
                    self.progress.mark()
                    await asyncio.sleep(_RETRY_S)
            self.partitions.first_assignment_ready.set()
        except Exception as error:  # a worker that reads nothing must not stay in the group
            await self.crash(error)

    async def _take_over_once(self, new: set[TP]) -> None:
        commits = await self.recovery.committed([TopicPartition(tp.topic, tp.partition) for tp in new])
        for tp in new:
            self._note_lag_from(tp, commits[tp].offset if tp in commits else 0)
        broadcast = {tp for tp in new if tp.topic not in self.batch_topics}
        async with self.partitions.lock:
            self._resume_at({tp: commits[tp].offset if tp in commits else 0 for tp in broadcast})
        numbers = {tp.partition for tp in new - broadcast}
        if numbers:
            await self.recovery.take_over(numbers, commits, self._resume_rebuilt)

    def _resume_rebuilt(self, number: int, positions: Mapping[TopicPartition, int]) -> None:
        self._resume_at({TP(tp.topic, tp.partition): offset for tp, offset in positions.items()})

    def _resume_at(self, positions: Mapping[TP, int]) -> None:
        """Read these partitions from these positions on; the lock is held."""
        self._position.update(positions)
        for tp, offset in positions.items():
            self._note_lag_from(tp, offset)
            self._committed_offset[tp] = offset or None
            self._thread.seek(tp, offset)

    async def _stop_takeover(self) -> None:
        task, self._takeover = self._takeover, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            await asyncio.wait({task})

    async def _check_co_assignment(self, joined: Set[TP]) -> None:
        """Crash unless the same partitions of all batch topics are assigned.

        Otherwise the join would find nothing, and nobody would notice.
        """
        numbers = [{tp.partition for tp in joined if tp.topic == topic} for topic in self.batch_topics]
        if any(other != numbers[0] for other in numbers):
            topics = " and ".join(self.batch_topics)
            await self.crash(
                RampwatchError(
                    f"{topics}: this worker was assigned different partitions of each; run one version of rampwatch "
                    "on the same topics in all workers of the group, and correct what rampwatch topics check reports"
                )
            )

    async def _check_broadcast_partitions(self, broadcast: Set[TP]) -> None:
        """Crash if a broadcast topic has new partitions: no engine here gets their records."""
        known = self.partitions.broadcast_sources
        grown = sorted(tp.topic for tp in broadcast if (tp.topic.removeprefix(self.prefix), tp.partition) not in known)
        if grown:
            await self.crash(
                RampwatchError(f"{grown[0]} has more partitions than when this worker started; restart all workers")
            )

    def drop(self, numbers: set[int]) -> None:
        """Stop reading these partitions and request a rebalance; the lock is held.

        The next assignment takes them over again, here or elsewhere.
        """
        for tp in [tp for tp in self._position if tp.topic in self.batch_topics and tp.partition in numbers]:
            del self._position[tp]
        self.recovery.reasons.note_fenced(numbers)
        self._thread.request_rebalance()

    async def verify_all_partitions_active(self) -> None:
        """Do nothing: Faust's check complains of partitions that are not read here on purpose."""

    # ------------------------------------------------------------------ the drain

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ANN401 - Faust's
        """Fetch from the active partitions that have a position here."""
        known = (active_partitions or set()) & self._position.keys()
        if not known:
            await asyncio.sleep(_IDLE_S)
            return {}
        return await super()._getmany(known, timeout)

    async def _drain_messages(self, fetcher: Any) -> None:  # noqa: ANN401 - as Faust's
        with client_errors_mapped():  # Faust's fetcher would end without a word if it is cancelled
            await self._drain(fetcher)

    async def _drain(self, fetcher: Any) -> None:  # noqa: ANN401 - as Faust's
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):
                await asyncio.sleep(0)
                await self._drain_once()
                await self._check_ends()
        except (*self.consumer_stopped_errors, asyncio.CancelledError):
            # a worker that is asked to stop in a rebalance cancels the drain: Faust would report a
            # crash
            if not self.transport.app.should_stop:
                raise

    async def _drain_once(self) -> None:
        epoch = self._epoch
        fetched, active = await self._wait_next_records(1.0)
        records = {ensure_TP(tp): rows for tp, rows in (fetched or {}).items()}
        batches = {tp: rows for tp, rows in records.items() if tp.topic in self.batch_topics}
        if batches:
            # Shielded, because cancelling the drain must not cut a batch in two: the next owner
            # would publish again what was published before the cut.
            self._in_flight = asyncio.ensure_future(self._handle(batches, active or set(), epoch))
            await asyncio.shield(self._in_flight)
        for tp in records.keys() - batches.keys():
            await self._pass_to_agents(tp, records[tp], epoch)

    async def _handle(self, batches: Mapping[TP, Sequence[Any]], active: Set[TP], epoch: int) -> None:
        """Apply the batches that are still current, and seek back to the start of the others.

        Between pieces the lock is free: a shot waits for one piece, not for a whole import.
        """
        await self._search_unlisted(batches)
        for piece in pieces(batches, self.prefix + HITS):
            async with self.partitions.lock:
                owned = piece.keys() & self._position.keys()
                current = owned & active if self._is_current(epoch) else set()
                for tp in owned - current:
                    self._thread.seek(tp, self._position[tp])
                await self._apply_batches({tp: rows for tp in current if (rows := self._new(tp, piece[tp]))})

    def _new(self, tp: TP, rows: Sequence[Any]) -> Sequence[Any]:
        """Leave out rows applied before: a batch that outlives its drain seeks back as well."""
        position = self._position[tp]
        return rows if rows[0].offset >= position else [row for row in rows if row.offset >= position]

    async def _search_unlisted(self, batches: Mapping[TP, Sequence[Any]]) -> None:
        """Prepare for the hits of the batches; their reads come after them."""
        for tp, rows in batches.items():
            if tp.topic == self.prefix + HITS:
                await self.partitions.search_unlisted(Batch(self.prefix, tp.topic, tp.partition, rows))

    def _is_current(self, epoch: int) -> bool:
        """Return whether records fetched in ``epoch`` may be applied now."""
        return bool(epoch == self._epoch and self.flow_active)

    async def _apply_batches(self, batches: Mapping[TP, Sequence[Any]]) -> None:
        effects = Effects()
        for tp, rows in batches.items():
            effects.add(self.partitions.apply(Batch(self.prefix, tp.topic, tp.partition, rows)))
        await self.partitions.flush(effects)
        for tp, rows in batches.items():
            # a partition whose writer is fenced was dropped meanwhile
            if tp in self._position:
                self._position[tp] = rows[-1].offset + 1

    async def _pass_to_agents(self, tp: TP, rows: Sequence[Any], epoch: int) -> None:
        """Pass records to the agents one by one, noting gaps in the offsets, as in stock Faust."""
        for row in rows:
            position = self._position.get(tp)
            if position is None or row.offset < position:
                continue
            if not self._is_current(epoch):
                self._thread.seek(tp, position)
                return
            if row.offset > position and self.app.topics.acks_enabled_for(row.topic):
                await self._add_gap(tp, position, row.offset)
            await self.wait_first(self.callback(self._to_message(tp, row)), self.suspend_flow.wait())
            if self._is_current(epoch):
                self._position[tp] = row.offset + 1

    # ------------------------------------------------------------------ the ends of partitions

    async def _check_ends(self) -> None:
        """Note which partitions have been read to their ends; no batch is in flight here."""
        if not self._position or not self.flow_active:
            return
        try:
            response = self.ends.poll([tp for tp in self._position if tp.topic in self.batch_topics], self._epoch)
            if response is None:
                return
            # Transaction markers, which no consumer receives, may follow the last record. The
            # fetcher's position is past them.
            with client_errors_mapped():
                fetched = {tp: await self.position(tp) or 0 for tp in response.ends.keys() & self._position.keys()}
        except KafkaError as error:
            self.log.warning("the ends of the joined topics are unknown (%s); retrying", type(error).__name__)
            self.progress.mark()
            return
        positions = {tp: max(self._position.get(tp, 0), offset) for tp, offset in fetched.items()}
        async with self.partitions.lock:
            if response.epoch != self._epoch:
                return
            at_end = {tp for tp in self._position.keys() & positions.keys() if positions[tp] >= response.ends[tp]}
            for tp in at_end:
                source = (tp.topic.removeprefix(self.prefix), tp.partition)
                self.partitions.read_to_end(source, positions[tp], response.greatest_ms)
            await self.partitions.publish()
            joined = {tp for tp in self._position if tp.topic in self.batch_topics}
            if self._assigned <= self._position.keys() and at_end == joined:
                self.progress.mark()  # there is nothing to commit

    def _note_lag_from(self, tp: TP, offset: int) -> None:
        self.partitions.lag.note_position((tp.topic.removeprefix(self.prefix), tp.partition), offset)


def batch_transport(
    app: Any,  # noqa: ANN401 - Faust has no types
    topics: Sequence[str],
    prefix: str,
    partitions: AssignedPartitions,
    recovery: Recovery,
    counters: CounterService,
    ends: JoinedEnds,
    progress: ProgressMonitor,
) -> Any:  # noqa: ANN401 - Faust has no types
    """Return a transport for ``app`` whose consumer applies ``topics`` in whole batches."""

    class Consumer(BatchConsumer):
        batch_topics = tuple(topics)
        leader_topic = prefix + TALLIES

        def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as Faust's
            super().__init__(*args, **kwargs)
            self.partitions = partitions
            self.recovery = recovery
            self.progress = progress
            self.counters = counters
            self.ends = ends
            counters.on_fenced = self._thread.request_rebalance
            self.prefix = prefix
            partitions.on_fenced = self.drop

    class Transport(driver.Transport):  # type: ignore[misc]
        pass

    Transport.Consumer = Consumer
    return Transport(app.conf.broker_consumer, app)
