"""The records of aiokafka's parser equal the copies that its consumers return."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.structs import ConsumerRecord

from streams.core.topics import READS
from streams.settings import Settings
from streams.worker.aiokafka_patch import use_plain_records
from tests.drivers.brokers import Broker
from tests.drivers.topics import topics_of


@pytest.fixture
def restore_aiokafka() -> Iterator[None]:
    yield
    use_plain_records(())


async def fill(settings: Settings, tp: TopicPartition) -> None:
    """Write batches of each compression, headers, null values, and an aborted transaction."""
    for compression in (None, "gzip", "snappy", "lz4", "zstd"):
        async with AIOKafkaProducer(
            bootstrap_servers=settings.broker, compression_type=compression, linger_ms=50
        ) as producer:
            headers = [("rampwatch-stamp-ms", b"7")] if compression else []
            values = [None, *(b'{"n": %d}' % n for n in range(300))]
            sent = [await producer.send(tp.topic, value, b"k", tp.partition, headers=headers) for value in values]
            await asyncio.gather(*sent)
    for is_committed in (False, True):
        producer = AIOKafkaProducer(
            bootstrap_servers=settings.broker, transactional_id=f"{settings.prefix}{is_committed}"
        )
        async with producer:
            await producer.begin_transaction()
            await producer.send_and_wait(tp.topic, b"in a transaction", b"k", tp.partition)
            await (producer.commit_transaction() if is_committed else producer.abort_transaction())


async def read(settings: Settings, tp: TopicPartition, since: int, isolation: str) -> list[Any]:
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.broker, isolation_level=isolation)
    await consumer.start()
    try:
        consumer.assign([tp])
        consumer.seek(tp, since)
        end = (await consumer.end_offsets([tp]))[tp]
        rows: list[Any] = []
        while await consumer.position(tp) < end:
            rows += (await consumer.getmany(timeout_ms=200, max_records=100)).get(tp, [])
    finally:
        await consumer.stop()
    return rows


def content(rows: list[Any]) -> list[Any]:
    return [(row.offset, row.timestamp, row.key, row.value, tuple(row.headers)) for row in rows]


@pytest.mark.usefixtures("restore_aiokafka")
@pytest.mark.parametrize("isolation", ["read_committed", "read_uncommitted"])
def test_plain_records_equal_the_copies(broker: Broker, prefix: str, isolation: str) -> None:
    with topics_of(broker.address, prefix) as settings:
        tp = TopicPartition(prefix + READS, 0)
        asyncio.run(fill(settings, tp))
        for since in (0, 150):  # 150 is within a batch
            use_plain_records(())
            copies = asyncio.run(read(settings, tp, since, isolation))
            use_plain_records([tp.topic])
            plain = asyncio.run(read(settings, tp, since, isolation))
            assert content(plain) == content(copies)
            assert len(plain) == 5 * 301 - since + (1 if isolation == "read_committed" else 2)
            assert isinstance(copies[0], ConsumerRecord)
            assert not isinstance(plain[0], ConsumerRecord)


@pytest.mark.usefixtures("restore_aiokafka")
def test_without_topics_aiokafka_is_unchanged() -> None:
    stock = PartitionRecords._consumer_record
    use_plain_records(["joined"])
    assert PartitionRecords._consumer_record is not stock
    use_plain_records([])
    assert PartitionRecords._consumer_record is stock
