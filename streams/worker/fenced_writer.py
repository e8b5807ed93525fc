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
        try:
            await asyncio.wait_for(producer.start(), _OPEN_S_MAX)
        except TimeoutError:
            await producer.stop()
            raise KafkaTimeoutError(f"writer {name}: no response from the broker for {_OPEN_S_MAX:.0f} s") from None
        except BaseException:
            await producer.stop()
            raise
        return cls(name, producer, headers)

    async def publish(self, records: Sequence[OutboundRecord]) -> None:
        """Publish records in order, in one transaction or several; raises `ProducerFencedError`."""
        for first in range(0, len(records), TRANSACTION_RECORDS_MAX):
            await self._publish_in_time(records[first : first + TRANSACTION_RECORDS_MAX])

    async def _publish_in_time(self, records: Sequence[OutboundRecord]) -> None:
        publishing = asyncio.ensure_future(self._publish(records))
        publishing.add_done_callback(_retrieve_error)
        await asyncio.wait({publishing}, timeout=_PUBLISH_S_MAX)
        if not publishing.done():
            publishing.cancel()  # not awaited, because it may hang in the cancellation as well
            raise ProducerFencedError(f"writer {self._name}: no response from the broker for {_PUBLISH_S_MAX:.0f} s")
        try:
            publishing.result()
        except (KafkaError, AssertionError) as error:  # aiokafka asserts that a failed producer is not used again
            raise ProducerFencedError(f"writer {self._name}: fenced or failed ({type(error).__name__})") from None

    async def _publish(self, records: Sequence[OutboundRecord]) -> None:
        async with self._producer.transaction():
            sent = [
                await self._producer.send(
                    record.topic, record.value, record.key.encode(), record.partition, headers=self._headers
                )
                for record in records
            ]
            await asyncio.gather(*sent)

    async def close(self) -> None:
        """Close the connections, without waiting long for a broker that does not respond."""
        stopping = asyncio.ensure_future(self._stop())
        stopping.add_done_callback(_retrieve_error)
        await asyncio.wait({stopping}, timeout=_CLOSE_S_MAX)

    async def _stop(self) -> None:
        try:
            await self._producer.stop()
        except KafkaError:
            # A fenced producer raises that once more, and leaves its connections open.
            await self._producer.client.close()


def _retrieve_error(task: asyncio.Future[None]) -> None:
    """Retrieve the error of a task that nobody may wait for, or asyncio logs its traceback."""
    if not task.cancelled():
        task.exception()
