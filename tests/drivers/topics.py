"""Topics on a real Kafka: created, filled and read back. All functions block."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams.core.rules import JoinRules
from streams.core.topics import DEAD_LETTERS, INCIDENTS
from streams.kafka import topics
from streams.replay.player import Playable, play
from streams.settings import Settings

DEFAULT_RULES = JoinRules()
STAMP_HEADER = "rampwatch-stamp-ms"
READ_S_MAX = 60.0

RawRecord = tuple[str, bytes | None, list[tuple[str, bytes | None]]]
"""Topic without prefix, value, headers."""


@contextmanager
def topics_of(
    address: str, prefix: str, site: str = "hartford", join: JoinRules = DEFAULT_RULES, partitions: int = 12
) -> Iterator[Settings]:
    """All topics under a prefix, deleted at the end of the block; without a prefix they stay."""
    settings = Settings(broker=address, prefix=prefix, site=site, join=join, partitions=partitions)
    asyncio.run(topics.create(settings))
    try:
        yield settings
    finally:
        if prefix:
            asyncio.run(topics.delete(settings))


def partitions_of(settings: Settings, topic: str) -> list[TopicPartition]:
    """The partitions of a topic (named without prefix)."""
    name = settings.prefix + topic
    count = next(planned.partitions for planned in topics.plan(settings) if planned.name == name)
    return [TopicPartition(name, number) for number in range(count)]


# ---------------------------------------------------------------------- publishing


def publish(settings: Settings, records: Iterable[Playable]) -> Counter[str]:
    """Publish records with their stamps in headers; return how many went to each topic."""
    records = list(records)
    asyncio.run(play(records, settings, None, 0))
    return Counter(record.topic for record in records)


def publish_raw(settings: Settings, records: Sequence[RawRecord]) -> None:
    """Publish what `publish` cannot: null values, arbitrary headers, and a key that is not text."""
    asyncio.run(_publish_raw(settings, records))


async def _publish_raw(settings: Settings, records: Sequence[RawRecord]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.broker, max_request_size=2**21) as producer:
        for topic, value, headers in records:
            await producer.send_and_wait(settings.prefix + topic, value, b"\xff", headers=headers)


# ---------------------------------------------------------------------- reading back


def read_topic(settings: Settings, topic: str) -> list[Any]:
    """All committed records of a topic (named without prefix), by partition and offset."""
    return asyncio.run(_read_all(settings.broker, partitions_of(settings, topic)))


async def _read_all(address: str, tps: list[TopicPartition]) -> list[Any]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=address, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        consumer.assign(tps)
        ends = await consumer.end_offsets(tps)
        rows: list[Any] = []
        async with asyncio.timeout(READ_S_MAX):
            while [tp for tp in tps if await consumer.position(tp) < ends[tp]]:
                rows += [row for batch in (await consumer.getmany(timeout_ms=200)).values() for row in batch]
    finally:
        await consumer.stop()
    return sorted(rows, key=lambda row: (row.partition, row.offset))


def headers_of(row: Any) -> dict[str, str]:
    """The headers of a consumed record, as text: a dead letter's may be any bytes, or none."""
    return {name: (text or b"").decode(errors="replace") for name, text in row.headers}


def last_values(settings: Settings, topic: str) -> dict[str, dict[str, Any]]:
    """The last JSON value of each key of a topic."""
    return {row.key.decode(): msgspec.json.decode(row.value) for row in read_topic(settings, topic)}


def last_incidents(settings: Settings) -> dict[str, dict[str, Any]]:
    """The last revision of each incident, by incident_id."""
    return last_values(settings, INCIDENTS)


def dead_letters(settings: Settings) -> list[tuple[str, str, str, bytes]]:
    """Topic, reason, field and value of each dead letter, sorted."""
    rows = [(headers_of(row), row.value) for row in read_topic(settings, DEAD_LETTERS)]
    return sorted((h["rampwatch-topic"], h["rampwatch-reason"], h["rampwatch-field"], value) for h, value in rows)
