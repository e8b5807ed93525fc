"""A steady producer that outlives brokers: what was acknowledged is kept in mind, what was not may be there or not.

Nothing is sent again by hand: the truth is what lies in the log at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.settings import Settings
from tests.chaos.load import Sent

TRIED_AGAIN_AFTER_S = 0.2
SAY_EVERY_S = 10.0


class Publisher:
    """Publishes a load in its own time."""

    def __init__(self, settings: Settings, load: Sequence[Sent], say: Callable[[str], None]) -> None:
        self.acknowledged: set[tuple[str, int, int]] = set()
        """Topic with its prefix, partition, offset."""
        self.in_doubt = 0
        self._settings = settings
        self._load = load
        self._say = say
        self._next = 0

    async def publish(self, begin_s: float) -> None:
        """Publish what is due from ``begin_s`` on (of the loop's clock); what is overdue goes out at once."""
        while self._next < len(self._load):
            producer = AIOKafkaProducer(
                bootstrap_servers=self._settings.broker, enable_idempotence=True, linger_ms=5, request_timeout_ms=60_000
            )
            try:
                await producer.start()
                await self._publish_with(producer, begin_s)
            except KafkaError as error:
                self._say(f"the producer begins anew ({type(error).__name__})")
                await asyncio.sleep(TRIED_AGAIN_AFTER_S)
            finally:
                await producer.stop()

    async def _publish_with(self, producer: Any, begin_s: float) -> None:
        loop, pending = asyncio.get_running_loop(), set[Any]()
        say_at_s = loop.time() + SAY_EVERY_S
        while self._next < len(self._load):
            sent = self._load[self._next]
            wait_s = begin_s + sent.due_ms / 1000 - loop.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            self._next += 1
            acknowledgement = await producer.send(self._settings.prefix + sent.topic, sent.value, sent.key.encode())
            acknowledgement.add_done_callback(self._note)
            pending = {one for one in (*pending, acknowledgement) if not one.done()}
            if loop.time() > say_at_s:
                say_at_s += SAY_EVERY_S
                self._say(f"{len(self.acknowledged):,} of {len(self._load):,} records acknowledged")
        await asyncio.gather(*pending, return_exceptions=True)

    def _note(self, acknowledgement: Any) -> None:
        if acknowledgement.cancelled() or acknowledgement.exception() is not None:
            self.in_doubt += 1
        else:
            place = acknowledgement.result()
            self.acknowledged.add((place.topic, place.partition, place.offset))
