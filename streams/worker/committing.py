"""Faust's consumer thread, with two things it lacks: what a commit says beside the offset, and a way to settle anew.

A commit that fails is not the end of a worker: the broker is away, or the group is settling. What was not committed is
read again by whoever goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import Any, Final

from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

_FETCH_WAIT_MS: Final = 100


class CommittingThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """The thread that talks to Kafka; its consumer's `metadata_of` gives what a commit says."""

    def _create_worker_consumer(self, transport: Any) -> Any:  # noqa: ANN401 - Faust has no types
        consumer = super()._create_worker_consumer(transport)
        # Faust fixes it at 1.5 s: for so long a fetch of quiet partitions would hold up the next of busy ones
        consumer._fetch_max_wait_ms = _FETCH_WAIT_MS
        return consumer

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        consumer = self._ensure_consumer()
        mine = {tp: offset for tp, offset in offsets.items() if tp in self.assignment()}
        said = {
            driver.ensure_aiokafka_TP(tp): OffsetAndMetadata(offset, self.consumer.metadata_of(tp))
            for tp, offset in mine.items()
        }
        self.tp_last_committed_at.update(dict.fromkeys(mine, monotonic()))
        try:
            await consumer.commit(said)
        except KafkaError as error:
            self.log.warning("not committed now (%s); trying again", type(error).__name__)
            return False
        return True

    def settle_anew(self) -> None:
        """Ask the group to share out its partitions again; returns at once."""
        self.thread_loop.call_soon_threadsafe(self._request_rejoin)

    def _request_rejoin(self) -> None:
        consumer: Any = self._consumer
        if consumer is not None:
            consumer._coordinator.request_rejoin()
