"""Transactional writers, one for each partition of the incidents and one for the counters.

Invariants:

* Opening a writer fences the one opened before under the same name: Kafka rejects what it sends.
* Records published together are a transaction: `read_committed` consumers see all of them or none.
* After any failure a writer is unusable. What it published last is known from the topic alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError

from streams.core.errors import RampwatchError
from streams.kafka.client_errors import client_errors_mapped
from streams.kafka.connection import connection
from streams.settings import Settings

_TRANSACTION_MS_MAX: Final = 10_000
"""How long the broker keeps a transaction open before it aborts it."""
_PUBLISH_S_MAX: Final = 15.0
"""By then the broker has aborted the transaction, and a rebalance must not wait longer."""
_OPEN_S_MAX: Final = 60.0
"""While the broker has no transaction coordinator yet, aiokafka retries without end or log."""
TRANSACTION_RECORDS_MAX: Final = 200
"""Few enough to be sent well before the timeout, even when all partitions publish at once."""
_CLOSE_S_MAX: Final = 5.0
_RECORD_BYTES_MAX: Final = 4 * 2**20


class ProducerFencedError(RampwatchError):
    """The writer is unusable: another one fenced it, or the broker was away for too long."""


class OutboundRecord(NamedTuple):
    """One record to publish."""

    topic: str
    key: str
    value: bytes
    partition: int


class FencedWriter:
    """A transactional producer that fences its predecessor of the same name; created by `open`."""

    def __init__(self, name: str, producer: Any, headers: Mapping[str, bytes]) -> None:  # noqa: ANN401
        self._name = name
        self._producer = producer
        self._headers = list(headers.items())

    @classmethod
    async def open(cls, settings: Settings, name: str, headers: Mapping[str, bytes]) -> Self:
        """Fence the writer of this name in this group and return a new one; raises `KafkaError`.

        ``headers``: of every record that it publishes.
        """
        producer = AIOKafkaProducer(
            **connection(settings),
            transactional_id=f"{settings.prefix}{settings.group}-{name}",
            transaction_timeout_ms=_TRANSACTION_MS_MAX,
            # before compression, an incident with the longest texts exceeds the default
            max_request_size=_RECORD_BYTES_MAX,
            compression_type="gzip",
        )
        writer = cls(name, producer, headers)
        try:
            with client_errors_mapped():
                await writer._start()
        except BaseException:
            await writer.close()
            raise
        return writer

    async def _start(self) -> None:
        starting = asyncio.ensure_future(self._producer.start())
        starting.add_done_callback(_retrieve)
        try:
            await asyncio.wait({starting}, timeout=_OPEN_S_MAX)
            if not starting.done():
                raise KafkaTimeoutError(f"writer {self._name}: no response from the broker for {_OPEN_S_MAX:.0f} s")
            starting.result()
        finally:
            starting.cancel()  # not awaited either

    async def publish(self, records: Sequence[OutboundRecord]) -> None:
        """Publish records in order, in one transaction or several; raises `ProducerFencedError`."""
        for first in range(0, len(records), TRANSACTION_RECORDS_MAX):
            await self._publish_in_time(records[first : first + TRANSACTION_RECORDS_MAX])

    async def _publish_in_time(self, records: Sequence[OutboundRecord]) -> None:
        publishing = asyncio.ensure_future(self._publish(records))
        publishing.add_done_callback(_retrieve)  # whoever waits for it here may be cancelled
        await asyncio.wait({publishing}, timeout=_PUBLISH_S_MAX)
        if not publishing.done():
            publishing.cancel()  # not awaited, because it may hang in the cancellation as well
            raise ProducerFencedError(f"writer {self._name}: no response from the broker for {_PUBLISH_S_MAX:.0f} s")
        try:
            with client_errors_mapped():
                publishing.result()
        except KafkaError as error:
            raise ProducerFencedError(f"writer {self._name}: fenced or failed ({type(error).__name__})") from None

    async def _publish(self, records: Sequence[OutboundRecord]) -> None:
        async with self._producer.transaction():
            sent = []
            for record in records:
                delivery = await self._producer.send(
                    record.topic, record.value, record.key.encode(), record.partition, headers=self._headers
                )
                # if a later record cannot be sent, nobody waits for this one
                delivery.add_done_callback(_retrieve)
                sent.append(delivery)
            await asyncio.gather(*sent)

    async def close(self) -> None:
        """Close the connections, without waiting long for a broker that does not respond."""
        closing = asyncio.ensure_future(self._stop())
        closing.add_done_callback(_retrieve)  # whatever a broken connection raises when it is closed
        await asyncio.wait({closing}, timeout=_CLOSE_S_MAX)

    async def _stop(self) -> None:
        try:
            await self._producer.stop()
        except KafkaError:
            # A fenced producer raises that once more, and leaves its connections open.
            await self._producer.client.close()


def _retrieve(task: asyncio.Future[Any]) -> None:
    """Take note of a task's error, or asyncio logs it as one that was never retrieved."""
    if not task.cancelled():
        task.exception()
