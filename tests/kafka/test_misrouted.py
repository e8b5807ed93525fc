"""Records on a wrong partition are sent on to the right one, once, and count there."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from aiokafka import AIOKafkaProducer

from streams.core.events import HITS, READS, SHOTS
from streams.core.plates import plate_key
from streams.kafka.partitioner import partition_of
from streams.local_broker.broker import LocalBroker
from streams.replay.player import Playable
from streams.settings import Settings
from tests.kafka.conftest import GivenBroker
from tests.kafka.driving import (
    STAMP_HEADER,
    await_handled,
    headers_of,
    last_incidents,
    publish,
    read_topic,
    replayed,
    topics_of,
    worker,
)
from tests.kafka.test_worker import EVENING_MS, pair, pair_id

PLATE = "SIM 505"


def publish_at(settings: Settings, records: Iterable[Playable], number: int, **headers: str) -> None:
    asyncio.run(_publish_at(settings, list(records), number, headers))


async def _publish_at(settings: Settings, records: list[Playable], number: int, headers: dict[str, str]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.broker) as producer:
        for record in records:
            told = [(STAMP_HEADER, str(record.stamp_ms).encode()), *((k, v.encode()) for k, v in headers.items())]
            topic = settings.prefix + record.topic
            await producer.send_and_wait(topic, record.value, b"wrong", partition=number, headers=told)


def test_strays_are_sent_on_once_and_joined_where_they_belong(
    broker: LocalBroker | GivenBroker, prefix: str, tmp_path: Path
) -> None:
    records = pair("stray", EVENING_MS, PLATE)
    with topics_of(broker.address, prefix) as settings, worker(settings, tmp_path) as running:
        home = partition_of(plate_key(PLATE), settings.partitions)
        publish(settings, [record for record in records if record.topic == SHOTS])
        publish_at(settings, [r for r in records if r.topic in (HITS, READS)], (home + 1) % settings.partitions)
        await_handled(settings, running)
        await_handled(settings, running)  # what was sent on as well
        assert list(last_incidents(settings)) == [pair_id("stray", PLATE)]
        outcomes = running.outcomes()
        copies = [row for topic in (HITS, READS) for row in read_topic(settings, topic) if row.partition == home]
        assert replayed(settings, tmp_path).differences == []
    assert outcomes[READS] == outcomes[HITS] == Counter(forwarded=1, used=1)
    assert [headers_of(row)["rampwatch-forwarded"] for row in copies] == [f"{(home + 1) % 12}:0"] * 2


def test_what_was_sent_on_already_is_used_where_it_lies(
    broker: LocalBroker | GivenBroker, prefix: str, tmp_path: Path
) -> None:
    records = pair("stray", EVENING_MS, PLATE)
    with topics_of(broker.address, prefix) as settings, worker(settings, tmp_path) as running:
        elsewhere = (partition_of(plate_key(PLATE), settings.partitions) + 1) % settings.partitions
        joined = [record for record in records if record.topic in (HITS, READS)]
        publish(settings, [record for record in records if record.topic == SHOTS])
        publish_at(settings, joined, elsewhere, **{"rampwatch-forwarded": "3:7"})
        await_handled(settings, running)
        outcomes = running.outcomes()
        assert list(last_incidents(settings)) == [pair_id("stray", PLATE)]
    assert outcomes[READS] == outcomes[HITS] == Counter(used=1)
