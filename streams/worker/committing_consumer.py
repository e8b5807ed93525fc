"""Extends Faust's consumer: commits with metadata, positions of batches, requested rebalances.

A failed commit does not end a worker: the broker may be away, or a rebalance under way. The next
owner reads again what was not committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import suppress
from time import monotonic
from typing import Any, Final

from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.kafka.client_errors import client_errors_mapped, log_unhandled
from streams.log_format import described
from streams.worker.assigned_partitions import AssignedPartitions
from streams.worker.client_tasks import watch_tasks
from streams.worker.committed_offsets import metadata
from streams.worker.health import ProgressMonitor

_FETCH_WAIT_MS: Final = 100


class CommittingThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """The thread of the Kafka client; commits carry the ``pending_metadata`` of its consumer."""

    async def on_start(self) -> None:
        """Start the client, and watch it.

        What asyncio reports of this thread's loop goes to the log.
        """
        self.thread_loop.set_exception_handler(log_unhandled)
        await super().on_start()
        watch_tasks(self._consumer, self._end_app)

    def _end_app(self, error: BaseException) -> None:
        asyncio.run_coroutine_threadsafe(self.app.crash(error), self.parent_loop)

    def on_crash(self, msg: str, *fmt: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as mode's
        """Log a crash of the thread; mode prints a traceback."""
        error = fmt[-1] if fmt and isinstance(fmt[-1], BaseException) else None
        self.log.error("the consumer's thread failed (%s)", described(error) if error else "no reason known")

    def _start_thread(self) -> None:
        # mode raises a crash again at the end of the thread, after it was reported: Python would
        # print the traceback
        with suppress(Exception, asyncio.CancelledError):
            super()._start_thread()

    def _create_worker_consumer(self, transport: Any) -> Any:  # noqa: ANN401 - Faust has no types
        consumer = super()._create_worker_consumer(transport)
        # Faust hard-codes 1.5 s. A fetch from quiet partitions would delay the next one from busy
        # partitions by that much.
        consumer._fetch_max_wait_ms = _FETCH_WAIT_MS
        return consumer

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        consumer = self._ensure_consumer()
        owned = {tp: offset for tp, offset in offsets.items() if tp in self.assignment()}
        commits = {
            driver.ensure_aiokafka_TP(tp): OffsetAndMetadata(offset, self.consumer.pending_metadata.get(tp, ""))
            for tp, offset in owned.items()
        }
        if not commits:
            return False  # other workers own all of them now, and aiokafka rejects an empty commit
        self.tp_last_committed_at.update(dict.fromkeys(owned, monotonic()))
        try:
            with client_errors_mapped():
                await consumer.commit(commits)
        except KafkaError as error:
            self.log.warning("offsets not committed (%s); retrying", type(error).__name__)
            return False
        return True

    def request_rebalance(self) -> None:
        """Request a rebalance of the group; returns at once."""
        self.thread_loop.call_soon_threadsafe(self._request_rejoin)

    def _request_rejoin(self) -> None:
        consumer: Any = self._consumer
        if consumer is not None:
            consumer._coordinator.request_rejoin()


class CommittingConsumer(driver.Consumer):  # type: ignore[misc]
    """Faust's consumer with its own positions, and with what may be committed of them.

    For a batch topic that is the position, with the watermark as metadata; for any other topic it
    is what Faust commits.
    """

    partitions: AssignedPartitions
    progress: ProgressMonitor
    batch_topics: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as Faust's
        super().__init__(*args, **kwargs)
        self._position: dict[TP, int] = {}
        self._uncommitted: dict[TP, int] = {}
        """Offsets of commits that failed."""
        self._committed_metadata: dict[TP, str] = {}
        self.pending_metadata: dict[TP, str] = {}
        """The metadata of the commit in flight."""

    def forget_positions(self) -> None:
        """Forget where to read on and what was committed."""
        self._position, self._uncommitted, self._committed_metadata = {}, {}, {}

    def _new_consumer_thread(self) -> CommittingThread:
        return CommittingThread(self, loop=self.loop, beacon=self.beacon)

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:  # noqa: ANN401 - as Faust's
        yield from super()._filter_tps_with_pending_acks(topics)
        yield from [tp for tp in self._position if tp.topic in self.batch_topics or tp in self._uncommitted]

    def _new_offset(self, tp: TP) -> int | None:
        if tp.topic in self.batch_topics:
            is_committable = self.partitions.committable_watermark_ms(tp.partition) is not None
            return self._position.get(tp) if is_committable else None
        offset: int | None = super()._new_offset(tp)
        return max(offset or 0, self._uncommitted.get(tp, 0)) or None

    def _should_commit(self, tp: TP, offset: int) -> bool:
        has_moved: bool = super()._should_commit(tp, offset)
        return has_moved or (tp.topic in self.batch_topics and self.metadata_of(tp) != self._committed_metadata.get(tp))

    def metadata_of(self, tp: TP) -> str:
        """Return the metadata to commit for a partition: its watermark, or nothing."""
        is_batch = tp.topic in self.batch_topics
        watermark_ms = self.partitions.committable_watermark_ms(tp.partition) if is_batch else None
        return "" if watermark_ms is None else metadata(watermark_ms)

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        """Commit; offsets that fail are committed with the next attempt."""
        # A partition dropped meanwhile is not committed: empty metadata would erase its watermark.
        offsets = {tp: offset for tp, offset in offsets.items() if tp in self._position}
        before = {tp: self._committed_offset.get(tp) for tp in offsets}
        pending = self.pending_metadata = {tp: self.metadata_of(tp) for tp in offsets}
        done: bool = await super()._commit_offsets(offsets, start_new_transaction)
        if done:
            self.progress.mark()
            self._committed_metadata.update(pending)
            for tp in offsets:
                self._uncommitted.pop(tp, None)
        else:
            self._committed_offset.update(before)
            self._uncommitted.update({tp: offset for tp, offset in offsets.items() if tp in self._position})
        return done
