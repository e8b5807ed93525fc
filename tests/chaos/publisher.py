"""A steady producer that outlives brokers and remembers which records they acknowledged.

It sends nothing again itself: the log at the end of the run is the truth.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.settings import Settings
from tests.chaos.load import LoadRecord

RETRY_AFTER_S = 0.2
REPORT_EVERY_S = 10.0
# More than the topics take.
REQUEST_BYTES_MAX = 2**21


class Publisher:
    """Publishes a load on schedule."""

    def __init__(self, settings: Settings, load: Sequence[LoadRecord], report: Callable[[str], None]) -> None:
        self.acknowledged: set[tuple[str, int, int]] = set()
        """Topic with its prefix, partition, offset."""
        self.in_doubt = 0
        self._settings = settings
        self._load = load
        self._report = report
        self._next = 0

    async def publish(self, begin_s: float) -> None:
        """Publish each record when it is due after ``begin_s`` of the loop's clock."""
        while self._next < len(self._load):
            producer = AIOKafkaProducer(
                bootstrap_servers=self._settings.broker,
                enable_idempotence=True,
                linger_ms=5,
                request_timeout_ms=60_000,
                max_request_size=REQUEST_BYTES_MAX,
            )
            try:
                await producer.start()
                await self._publish_with(producer, begin_s)
            except KafkaError as error:
                self._report(f"the producer restarts ({type(error).__name__})")
                await asyncio.sleep(RETRY_AFTER_S)
            finally:
                await producer.stop()

    async def _publish_with(self, producer: Any, begin_s: float) -> None:
        loop, pending = asyncio.get_running_loop(), set[Any]()
        report_at_s = loop.time() + REPORT_EVERY_S
        while self._next < len(self._load):
            record = self._load[self._next]
            wait_s = begin_s + record.due_ms / 1000 - loop.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            self._next += 1
            topic = self._settings.prefix + record.topic
            acknowledgement = await producer.send(topic, record.value, record.key.encode())
            acknowledgement.add_done_callback(self._note)
            pending.add(acknowledgement)
            acknowledgement.add_done_callback(pending.discard)
            if loop.time() > report_at_s:
                report_at_s += REPORT_EVERY_S
                left_s = begin_s + self._load[-1].due_ms / 1000 - loop.time()
                self._report(
                    f"{len(self.acknowledged):,} of {len(self._load):,} records acknowledged, {left_s:.0f} s left"
                )
        await asyncio.gather(*pending, return_exceptions=True)

    def _note(self, acknowledgement: Any) -> None:
        if acknowledgement.cancelled() or acknowledgement.exception() is not None:
            self.in_doubt += 1
        else:
            metadata = acknowledgement.result()
            self.acknowledged.add((metadata.topic, metadata.partition, metadata.offset))
