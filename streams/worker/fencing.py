"""One writer a partition of the incidents, and never two that can still write.

Invariants:

* Whoever opens the writer of a partition shuts out whoever had it before: Kafka refuses what an older one sends.
* What is said together is seen together, or not at all: each call is one transaction, read by `read_committed`.
* After any failure the writer is of no use any more, and what was said last is known only from the topic itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.connection import connection
from streams.core.errors import RampwatchError
from streams.core.events import ENCODER, INCIDENTS, LinkedIncident
from streams.settings import Settings

_TRANSACTION_MS_MAX: Final = 10_000
"""How long the broker waits for a writer that begins to say something and does not end."""
_CLOSE_S_MAX: Final = 5.0


class WriterLost(RampwatchError):
    """This writer can write no more: somebody else has the partition, or the broker was away for too long."""


class IncidentWriter:
    """Writes the revisions of one partition's incidents; made by `open`."""

    def __init__(self, topic: str, number: int, producer: Any, headers: Mapping[str, bytes]) -> None:  # noqa: ANN401
        self._topic = topic
        self._number = number
        self._producer = producer
        self._headers = list(headers.items())

    @classmethod
    async def open(cls, settings: Settings, number: int, headers: Mapping[str, bytes]) -> Self:
        """Shut out who had the partition before, and return its writer; raises `KafkaError`."""
        producer = AIOKafkaProducer(
            **connection(settings),
            transactional_id=f"{settings.prefix}{settings.group}-{number}",
            transaction_timeout_ms=_TRANSACTION_MS_MAX,
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return cls(settings.prefix + INCIDENTS, number, producer, headers)

    async def say(self, incidents: Sequence[LinkedIncident]) -> None:
        """Publish revisions, in their order, all or none; raises `WriterLost`."""
        try:
            async with self._producer.transaction():
                sent = [
                    await self._producer.send(
                        self._topic,
                        ENCODER.encode(incident),
                        incident.incident_id.encode(),
                        self._number,
                        headers=self._headers,
                    )
                    for incident in incidents
                ]
                await asyncio.gather(*sent)
        except KafkaError as error:
            raise WriterLost(f"the writer of partition {self._number} is shut out ({type(error).__name__})") from None

    async def close(self) -> None:
        """Give the connections back, or leave them to the system where the broker does not answer."""
        await asyncio.wait({asyncio.ensure_future(self._producer.stop())}, timeout=_CLOSE_S_MAX)
