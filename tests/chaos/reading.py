"""What lies in the topics at the end of a run: read as subscribers read it, and who wrote it from Kafka's own files."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.record.memory_records import MemoryRecords

from streams.core.events import DEAD_LETTERS, INCIDENTS, INPUTS
from streams.kafka import topics
from streams.local_broker.broker import LocalBroker
from streams.settings import Settings
from tests.chaos.judging import Log
from tests.chaos.rows import Row

QUERY_EVERY_S = 0.5
POLL_MS = 200
READ_S_MAX = 120.0


def partitions_of(settings: Settings, *names: str) -> list[TopicPartition]:
    """The partitions of topics named without prefix."""
    plan = {planned.name: planned.partitions for planned in topics.plan(settings)}
    full = [settings.prefix + name for name in names]
    return [TopicPartition(name, number) for name in full for number in range(plan[name])]


# --- when all is said


async def until_quiet(settings: Settings, quiet_s: float, wait_s_max: float) -> str:
    """Wait until all inputs are committed to their ends and nothing has been published for a while.

    Return "" then, or in how far it has not become so.
    """
    loop = asyncio.get_running_loop()
    deadline_s, quiet_since_s, before = loop.time() + wait_s_max, loop.time(), None
    behind = ["no broker has answered"]
    while loop.time() < deadline_s:
        try:
            behind, ends = await _state(settings)
        except KafkaError as error:
            behind, ends = [f"the broker does not answer ({type(error).__name__})"], None
        if behind or ends != before:
            quiet_since_s, before = loop.time(), ends
        elif loop.time() - quiet_since_s > quiet_s:
            return ""
        await asyncio.sleep(QUERY_EVERY_S)
    return "; ".join(behind) or "there is no end to what is published"


async def _state(settings: Settings) -> tuple[list[str], dict[TopicPartition, int]]:
    """Which inputs are not committed to their ends, and where the outputs end."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.broker)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker)
    try:
        await consumer.start()
        await admin.start()
        ends = await consumer.end_offsets(partitions_of(settings, *INPUTS))
        committed = await admin.list_consumer_group_offsets(settings.prefix + settings.group)
        places = {tp: committed[tp].offset if tp in committed else 0 for tp in ends}
        behind = [
            f"{tp.topic}-{tp.partition} is committed to {places[tp]} of {end}"
            for tp, end in ends.items()
            if places[tp] < end
        ]
        return behind, await consumer.end_offsets(partitions_of(settings, INCIDENTS, DEAD_LETTERS))
    finally:
        await admin.close()
        await consumer.stop()


# --- what was said


async def read_log(settings: Settings, broker: LocalBroker) -> Log:
    """Read all topics from their beginnings to their present ends, only what was committed."""
    rows = {name: await _rows(settings, name) for name in (*INPUTS, INCIDENTS, DEAD_LETTERS)}
    producers = _producers(broker.data / "topics", partitions_of(settings, INCIDENTS))
    revisions = [_row(settings, row, producers.get((row.partition, row.offset))) for row in rows[INCIDENTS]]
    inputs = {name: [_row(settings, row) for row in rows[name]] for name in INPUTS}
    return Log(inputs, revisions, [_row(settings, row) for row in rows[DEAD_LETTERS]])


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
            # else the verdict would be on a part of the truth
            assert not any(begin.values()), f"{topic}: the topic has dropped records, so it cannot be judged"
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
    """Producer id and epoch by partition and offset. Consumers are not told them, but Kafka keeps them."""
    found = {}
    for tp in tps:
        for segment in sorted((folder / f"{tp.topic}-{tp.partition}").glob("*.log")):
            for batch in _batches(segment.read_bytes()):
                for offset in range(batch.base_offset, batch.next_offset):
                    if batch.producer_id >= 0:
                        found[tp.partition, offset] = (batch.producer_id, batch.producer_epoch)
    return found


def _batches(segment: bytes) -> Iterator[Any]:
    records = MemoryRecords(segment)
    while records.has_next():
        yield records.next_batch()
