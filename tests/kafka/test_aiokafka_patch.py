"""Records as aiokafka's parser makes them are those that its consumers hand out, whatever lies in a partition."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.structs import ConsumerRecord

from streams.core.events import READS
from streams.local_broker.broker import LocalBroker
from streams.settings import Settings
from streams.worker.aiokafka_patch import take_plain
from tests.kafka.conftest import GivenBroker
from tests.kafka.driving import topics_of


@pytest.fixture
def stock_afterwards() -> Iterator[None]:
    yield
    take_plain(())


async def fill(settings: Settings, tp: TopicPartition) -> None:
    """Batches of each compression, headers, a null value, and transactions, one of which is given up."""
    for compression in (None, "gzip", "snappy", "lz4", "zstd"):
        async with AIOKafkaProducer(
            bootstrap_servers=settings.broker, compression_type=compression, linger_ms=50
        ) as producer:
            headers = [("rampwatch-stamp-ms", b"7")] if compression else []
            values = [None, *(b'{"n": %d}' % n for n in range(300))]
            sent = [await producer.send(tp.topic, value, b"k", tp.partition, headers=headers) for value in values]
            await asyncio.gather(*sent)
    for is_kept in (False, True):
        producer = AIOKafkaProducer(bootstrap_servers=settings.broker, transactional_id=f"{settings.prefix}{is_kept}")
        async with producer:
            await producer.begin_transaction()
            await producer.send_and_wait(tp.topic, b"in a transaction", b"k", tp.partition)
            await (producer.commit_transaction() if is_kept else producer.abort_transaction())


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


@pytest.mark.usefixtures("stock_afterwards")
@pytest.mark.parametrize("isolation", ["read_committed", "read_uncommitted"])
def test_plain_records_say_what_copies_say(broker: LocalBroker | GivenBroker, prefix: str, isolation: str) -> None:
    with topics_of(broker.address, prefix) as settings:
        tp = TopicPartition(prefix + READS, 0)
        asyncio.run(fill(settings, tp))
        for since in (0, 150):  # the second lies within a batch
            take_plain(())
            copies = asyncio.run(read(settings, tp, since, isolation))
            take_plain([tp.topic])
            plain = asyncio.run(read(settings, tp, since, isolation))
            assert content(plain) == content(copies)
            assert len(plain) == 5 * 301 - since + (1 if isolation == "read_committed" else 2)
            assert isinstance(copies[0], ConsumerRecord)
            assert not isinstance(plain[0], ConsumerRecord)


@pytest.mark.usefixtures("stock_afterwards")
def test_other_topics_and_a_switch_that_is_off_leave_aiokafka_as_it_is() -> None:
    stock = PartitionRecords._consumer_record
    take_plain(["joined"])
    assert PartitionRecords._consumer_record is not stock
    take_plain([])
    assert PartitionRecords._consumer_record is stock
