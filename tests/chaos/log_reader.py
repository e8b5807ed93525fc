"""The topics at the end of a run: their committed records, and who wrote them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.errors import KafkaError
from aiokafka.record.memory_records import MemoryRecords

from streams.core.topics import DEAD_LETTERS, INCIDENTS, INPUTS
from streams.local_broker.broker import LocalBroker
from streams.settings import Settings
from streams.worker.aiokafka_patch import tolerate_unreadable_records
from tests.chaos.judge import Log
from tests.chaos.rows import Row
from tests.drivers.topics import partitions_of

QUERY_EVERY_S = 0.5
POLL_MS = 200
READ_S_MAX = 120.0


# ---------------------------------------------------------------------- waiting for rest


async def until_settled(settings: Settings, quiet_s: float, wait_s_max: float) -> str:
    """Wait until every input is committed and nothing has been published for ``quiet_s``.

    Returns "" then, or the reason why that has not happened.
    """
    loop = asyncio.get_running_loop()
    deadline_s, quiet_since_s, before = loop.time() + wait_s_max, loop.time(), None
    behind = ["the broker has not responded"]
    while loop.time() < deadline_s:
        try:
            behind, ends = await _state(settings)
        except KafkaError as error:
            behind, ends = [f"the broker does not respond ({type(error).__name__})"], None
        if behind or ends != before:
            quiet_since_s, before = loop.time(), ends
        elif loop.time() - quiet_since_s > quiet_s:
            return ""
        await asyncio.sleep(QUERY_EVERY_S)
    return "; ".join(behind) or "workers keep publishing"


async def _state(settings: Settings) -> tuple[list[str], dict[TopicPartition, int]]:
    """Which inputs are not committed to their ends, and where the outputs end."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.broker)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker)
    try:
        await consumer.start()
        await admin.start()
        ends = await consumer.end_offsets(_partitions(settings, *INPUTS))
        committed = await admin.list_consumer_group_offsets(settings.prefix + settings.group)
        offsets = {tp: committed[tp].offset if tp in committed else 0 for tp in ends}
        behind = [
            f"{tp.topic}-{tp.partition} is committed to {offsets[tp]} of {end}"
            for tp, end in ends.items()
            if offsets[tp] < end
        ]
        return behind, await consumer.end_offsets(_partitions(settings, INCIDENTS, DEAD_LETTERS))
    finally:
        await admin.close()
        await consumer.stop()


def _partitions(settings: Settings, *topics: str) -> list[TopicPartition]:
    return [tp for topic in topics for tp in partitions_of(settings, topic)]


# ---------------------------------------------------------------------- reading the log


async def read_log(settings: Settings, broker: LocalBroker) -> Log:
    """Read the committed records of all topics from their beginnings to their present ends."""
    with _tolerant_aiokafka():
        rows = {name: await _rows(settings, name) for name in (*INPUTS, INCIDENTS, DEAD_LETTERS)}
    producers = _producers(broker.data / "topics", partitions_of(settings, INCIDENTS))
    revisions = [_row(settings, row, producers.get((row.partition, row.offset))) for row in rows[INCIDENTS]]
    inputs = {name: [_row(settings, row) for row in rows[name]] for name in INPUTS}
    return Log(inputs, revisions, [_row(settings, row) for row in rows[DEAD_LETTERS]])


@contextmanager
def _tolerant_aiokafka() -> Iterator[None]:
    """Let this process read header names that are not UTF-8, as workers do."""
    stock = fetcher.MemoryRecords, PartitionRecords._unpack_records
    tolerate_unreadable_records()
    try:
        yield
    finally:
        fetcher.MemoryRecords, PartitionRecords._unpack_records = stock


async def _rows(settings: Settings, topic: str) -> list[Any]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.broker, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        async with asyncio.timeout(READ_S_MAX):
            tps = partitions_of(settings, topic)
            consumer.assign(tps)
            begin, ends = await consumer.beginning_offsets(tps), await consumer.end_offsets(tps)
            # a verdict on part of the log would be worthless
            assert not any(begin.values()), f"{topic}: the topic has deleted records, so it cannot be judged"
            rows: list[Any] = []
            while [tp for tp in tps if await consumer.position(tp) < ends[tp]]:
                rows += [row for batch in (await consumer.getmany(timeout_ms=POLL_MS)).values() for row in batch]
    finally:
        await consumer.stop()
    return rows


def _row(settings: Settings, row: Any, producer: tuple[int, int] | None = None) -> Row:
    return Row(
        topic=row.topic.removeprefix(settings.prefix),
        partition=row.partition,
        offset=row.offset,
        stamp_ms=row.timestamp,
        key=row.key,
        value=row.value,
        headers=dict(row.headers),
        producer=producer,
    )


def _producers(folder: Path, tps: list[TopicPartition]) -> dict[tuple[int, int], tuple[int, int]]:
    """Producer id and epoch by partition and offset, which consumers do not get."""
    producers = {}
    for tp in tps:
        for segment in sorted((folder / f"{tp.topic}-{tp.partition}").glob("*.log")):
            for batch in _batches(segment.read_bytes()):
                for offset in range(batch.base_offset, batch.next_offset):
                    if batch.producer_id >= 0:
                        producers[tp.partition, offset] = (batch.producer_id, batch.producer_epoch)
    return producers


def _batches(segment: bytes) -> Iterator[Any]:
    records = MemoryRecords(segment)
    while records.has_next():
        yield records.next_batch()
