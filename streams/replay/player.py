"""Publishes records to prefixed topics, paced by their stamps.

A worker started with that prefix joins them as if they were live. Each record carries its original
stamp in a header. On prefixed topics, and only there, it replaces the broker's timestamp
(``streams/core/JOIN.md``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from msgspec import Struct

from streams.core.topics import STAMP_HEADER
from streams.kafka.connection import access_errors_explained, connection, start_client
from streams.settings import Settings

_SLICE_S: Final = 0.05
"""Resolution of the pacing: a record due within this time is published at once."""


class Playable(Struct, frozen=True, gc=False):
    """A record to publish: topic without prefix, original stamp, key and value."""

    topic: str
    stamp_ms: int
    key: str
    value: bytes


class Pace:
    """Paces records by their stamps, ``speed`` times as fast as real time, starting at ``from_ms``.

    Records stamped before ``from_ms`` are due at once. Without a speed, all are.
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
    """Publish records to the topics of the settings' prefix, and return their number.

    ``records`` must be ordered by stamp; `Pace` explains ``speed`` and ``from_ms``. Raises
    `BrokerError` if the broker cannot be reached or denies access.
    """
    with access_errors_explained(settings):
        return await _play(records, settings, speed, from_ms)


async def _play(records: Iterable[Playable], settings: Settings, speed: float | None, from_ms: int) -> int:
    producer = AIOKafkaProducer(**connection(settings), enable_idempotence=True, linger_ms=5)
    sent = 0
    pending: list[Any] = []
    await start_client(producer, settings)
    try:
        pace = Pace(speed, from_ms)
        for record in records:
            await pace.until_due(record.stamp_ms)
            headers = [(STAMP_HEADER, str(record.stamp_ms).encode())]
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
