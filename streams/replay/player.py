"""Records published to prefixed topics, paced by their stamps: what a worker started with that prefix joins as if live.

Each record carries its first stamp in a header, which stands for the broker's there and nowhere else (JOIN.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from msgspec import Struct

from streams.kafka.connection import access_errors_explained, connection, started
from streams.settings import Settings

_SLICE_S: Final = 0.05
"""How finely the pace is kept: records due within it go out together."""


class Playable(Struct, frozen=True, gc=False):
    """A record to publish: its topic without a prefix, its first stamp, its key and its bytes."""

    topic: str
    stamp_ms: int
    key: str
    value: bytes


class Pace:
    """When a record is due on this machine's clock: ``speed`` times as fast as the stamps; None: at once.

    What is stamped before ``from_ms`` is due at once.
    """

    def __init__(self, speed: float | None, from_ms: int) -> None:
        self._speed = speed
        self._from_ms = from_ms
        self._began_s = asyncio.get_running_loop().time()

    async def until_due(self, stamp_ms: int) -> None:
        """Wait until a record with this stamp is due."""
        if self._speed is None:
            return
        due_s = self._began_s + (stamp_ms - self._from_ms) / 1000 / self._speed
        wait_s = due_s - asyncio.get_running_loop().time()
        if wait_s > _SLICE_S:
            await asyncio.sleep(wait_s)


async def play(records: Iterable[Playable], settings: Settings, speed: float | None, from_ms: int) -> int:
    """Publish records, given in the order of their stamps, paced from ``from_ms`` on, and return how many.

    They go to the topics of the settings' prefix. Raises `BrokerError` where the broker does not take them.
    """
    with access_errors_explained(settings):
        return await _play(records, settings, speed, from_ms)


async def _play(records: Iterable[Playable], settings: Settings, speed: float | None, from_ms: int) -> int:
    producer = AIOKafkaProducer(**connection(settings), enable_idempotence=True, linger_ms=5)
    sent = 0
    pending: list[Any] = []
    await started(producer, settings)
    try:
        pace = Pace(speed, from_ms)
        for record in records:
            await pace.until_due(record.stamp_ms)
            headers = [("rampwatch-stamp-ms", str(record.stamp_ms).encode())]
            pending.append(
                await producer.send(settings.prefix + record.topic, record.value, record.key.encode(), headers=headers)
            )
            sent += 1
            if len(pending) >= 1_000:
                await asyncio.gather(*pending)
                pending.clear()
        await asyncio.gather(*pending)
    finally:
        await producer.stop()
    return sent
