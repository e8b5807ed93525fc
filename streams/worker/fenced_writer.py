"""One writer a partition of the incidents, one of the counters, and never two of a kind that can still write.

Invariants:

* Whoever opens a writer shuts out whoever had it before: Kafka refuses what an older one sends.
* What is said together is seen together, or not at all: it is a transaction, read by `read_committed`.
* After any failure the writer is of no use any more, and what was said last is known only from the topic itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError

from streams.core.errors import RampwatchError
from streams.kafka.connection import connection
from streams.settings import Settings

_TRANSACTION_MS_MAX: Final = 10_000
"""How long the broker waits for a writer that begins to say something and does not end."""
_PUBLISH_S_MAX: Final = 15.0
"""By then the broker has given the transaction up, and a group that settles must not wait for longer."""
_OPEN_S_MAX: Final = 60.0
"""A broker that knows no coordinator for transactions yet is asked again and again, in silence."""
_AT_ONCE: Final = 200
"""Records in one transaction: so many go out well before it is given up, also where all partitions have much to say."""
_CLOSE_S_MAX: Final = 5.0
_RECORD_BYTES_MAX: Final = 4 * 2**20


class ProducerFencedError(RampwatchError):
    """This writer can write no more: somebody else has the partition, or the broker was away for too long."""


class OutboundRecord(NamedTuple):
    """One record to be written."""

    topic: str
    key: str
    value: bytes
    partition: int


class FencedWriter:
    """Writes what only one may write at a time; made by `open`."""

    def __init__(self, name: str, producer: Any, headers: Mapping[str, bytes]) -> None:  # noqa: ANN401
        self._name = name
        self._producer = producer
        self._headers = list(headers.items())

    @classmethod
    async def open(cls, settings: Settings, name: str, headers: Mapping[str, bytes]) -> Self:
        """Shut out who had this name in this group before, and return its writer; raises `KafkaError`."""
        producer = AIOKafkaProducer(
            **connection(settings),
            transactional_id=f"{settings.prefix}{settings.group}-{name}",
            transaction_timeout_ms=_TRANSACTION_MS_MAX,
            # an incident of the longest texts is larger than a record may be, until it is compressed
            max_request_size=_RECORD_BYTES_MAX,
            compression_type="gzip",
        )
        try:
            await asyncio.wait_for(producer.start(), _OPEN_S_MAX)
        except TimeoutError:
            await producer.stop()
            raise KafkaTimeoutError(f"writer {name} has had no answer for {_OPEN_S_MAX:.0f} s") from None
        except BaseException:
            await producer.stop()
            raise
        return cls(name, producer, headers)

    async def publish(self, records: Sequence[OutboundRecord]) -> None:
        """Publish records, in their order, many of them in several steps; raises `ProducerFencedError`."""
        for first in range(0, len(records), _AT_ONCE):
            await self._publish_together(records[first : first + _AT_ONCE])

    async def _publish_together(self, records: Sequence[OutboundRecord]) -> None:
        saying = asyncio.ensure_future(self._publish(records))
        await asyncio.wait({saying}, timeout=_PUBLISH_S_MAX)
        if not saying.done():
            saying.cancel()  # and not waited for: what hangs may go on hanging
            raise ProducerFencedError(f"writer {self._name} has had no answer for {_PUBLISH_S_MAX:.0f} s")
        try:
            saying.result()
        except KafkaError as error:
            raise ProducerFencedError(f"writer {self._name} is shut out ({type(error).__name__})") from None

    async def _publish(self, records: Sequence[OutboundRecord]) -> None:
        async with self._producer.transaction():
            sent = [
                await self._producer.send(one.topic, one.value, one.key.encode(), one.partition, headers=self._headers)
                for one in records
            ]
            await asyncio.gather(*sent)

    async def close(self) -> None:
        """Give the connections back, or leave them to the system where the broker does not answer."""
        await asyncio.wait({asyncio.ensure_future(self._producer.stop())}, timeout=_CLOSE_S_MAX)
