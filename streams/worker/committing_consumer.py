"""What Faust's consumer lacks where it commits: a word beside the offset, batches, a way to settle anew.

A commit that fails is not the end of a worker: the broker is away, or the group is settling. What was not committed is
read again by whoever goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from time import monotonic
from typing import Any, Final

from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.worker.assigned_partitions import AssignedPartitions
from streams.worker.committed_offsets import metadata
from streams.worker.health import ProgressMonitor

_FETCH_WAIT_MS: Final = 100


class CommittingThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """The thread that talks to Kafka; its consumer's ``saying`` is what a commit says."""

    def _create_worker_consumer(self, transport: Any) -> Any:  # noqa: ANN401 - Faust has no types
        consumer = super()._create_worker_consumer(transport)
        # Faust fixes it at 1.5 s: for so long a fetch of quiet partitions would hold up the next of busy ones
        consumer._fetch_max_wait_ms = _FETCH_WAIT_MS
        return consumer

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        consumer = self._ensure_consumer()
        mine = {tp: offset for tp, offset in offsets.items() if tp in self.assignment()}
        said = {
            driver.ensure_aiokafka_TP(tp): OffsetAndMetadata(offset, self.consumer.saying.get(tp, ""))
            for tp, offset in mine.items()
        }
        if not said:
            return False  # all are somebody else's by now; aiokafka refuses to commit nothing
        self.tp_last_committed_at.update(dict.fromkeys(mine, monotonic()))
        try:
            await consumer.commit(said)
        except KafkaError as error:
            self.log.warning("not committed now (%s); trying again", type(error).__name__)
            return False
        return True

    def request_rebalance(self) -> None:
        """Ask the group to share out its partitions again; returns at once."""
        self.thread_loop.call_soon_threadsafe(self._request_rejoin)

    def _request_rejoin(self) -> None:
        consumer: Any = self._consumer
        if consumer is not None:
            consumer._coordinator.request_rejoin()


class CommittingConsumer(driver.Consumer):  # type: ignore[misc]
    """Faust's consumer, which knows where it reads on and what of that may be committed.

    Of a batch topic that is its own position, with the watermark beside it; of any other what Faust says.
    """

    handler: AssignedPartitions
    progress: ProgressMonitor
    batch_topics: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as Faust's
        super().__init__(*args, **kwargs)
        self._position: dict[TP, int] = {}
        self._uncommitted: dict[TP, int] = {}
        self._said: dict[TP, str] = {}
        self.saying: dict[TP, str] = {}
        """What the commit under way says beside the offsets."""

    def forget_positions(self) -> None:
        """Know no more where to read on, nor what was committed."""
        self._position, self._uncommitted, self._said = {}, {}, {}

    def _new_consumer_thread(self) -> CommittingThread:
        return CommittingThread(self, loop=self.loop, beacon=self.beacon)

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:  # noqa: ANN401 - as Faust's
        yield from super()._filter_tps_with_pending_acks(topics)
        yield from [tp for tp in self._position if tp.topic in self.batch_topics or tp in self._uncommitted]

    def _new_offset(self, tp: TP) -> int | None:
        if tp.topic in self.batch_topics:
            may = self.handler.committable_ms(tp.partition) is not None
            return self._position.get(tp) if may else None
        offset: int | None = super()._new_offset(tp)
        return max(offset or 0, self._uncommitted.get(tp, 0)) or None

    def _should_commit(self, tp: TP, offset: int) -> bool:
        moved: bool = super()._should_commit(tp, offset)
        return moved or (tp.topic in self.batch_topics and self.metadata_of(tp) != self._said.get(tp))

    def metadata_of(self, tp: TP) -> str:
        """Return what a commit says of this partition beside the offset."""
        watermark_ms = self.handler.committable_ms(tp.partition) if tp.topic in self.batch_topics else None
        return "" if watermark_ms is None else metadata(watermark_ms)

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        """Commit; what cannot be committed now is tried again with the next."""
        # of a partition dropped meanwhile nothing is said any more, least of all that nothing was judged
        offsets = {tp: offset for tp, offset in offsets.items() if tp in self._position}
        before = {tp: self._committed_offset.get(tp) for tp in offsets}
        said = self.saying = {tp: self.metadata_of(tp) for tp in offsets}
        done: bool = await super()._commit_offsets(offsets, start_new_transaction)
        if done:
            self.progress.mark()
            self._said.update(said)
            for tp in offsets:
                self._uncommitted.pop(tp, None)
        else:
            self._committed_offset.update(before)
            self._uncommitted.update({tp: offset for tp, offset in offsets.items() if tp in self._position})
        return done
