"""A dead letter has all that is needed to send its record again as it was."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from streams.core.events import Headers
from streams.core.plates import plate_key
from streams.core.topics import DEAD_LETTERS, HITS, INPUTS, READS, SHOTS
from streams.kafka.partitioner import partition_of
from streams.settings import Settings
from tests.drivers.brokers import Broker
from tests.drivers.topics import read_topic, topics_of
from tests.drivers.workers import await_handled, worker
from tests.worlds.pairs import EVENING_MS, pair

Sent = tuple[str, int, bytes | None, bytes | None, Headers]
"""Topic, partition, key, value, headers."""

TRACE = [("trace", b"\xff\x001"), ("trace", None), ("source", "Kamera é".encode())]


def send(settings: Settings, records: Sequence[Sent]) -> None:
    asyncio.run(_send(settings, records))


async def _send(settings: Settings, records: Sequence[Sent]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.broker) as producer:
        for topic, partition, key, value, headers in records:
            await producer.send_and_wait(
                settings.prefix + topic, value, key, partition=partition, headers=[*headers] or None
            )


def test_a_record_can_be_sent_again_from_its_dead_letter(broker: Broker, prefix: str, tmp_path: Path) -> None:
    bad: list[Sent] = [
        *((topic, 0, b"k\xff" + topic.encode(), b'{"plate":', TRACE) for topic in INPUTS),
        (READS, 0, None, b"[]", []),
        (SHOTS, 0, b"", None, TRACE),
    ]
    with topics_of(broker.address, prefix) as settings, worker(settings, tmp_path) as running:
        send(settings, bad)
        await_handled(settings, running)
        first = [again(row) for row in read_topic(settings, DEAD_LETTERS)]
        assert sorted(map(repr, first)) == sorted(map(repr, sound(bad)))
        send(settings, first)
        await_handled(settings, running)
        both = [again(row) for row in read_topic(settings, DEAD_LETTERS)]
    assert sorted(map(repr, both)) == sorted(map(repr, sound(bad) * 2))


def sound(records: Sequence[Sent]) -> list[Sent]:
    """Records as dead letters give them: an empty value and none are the same."""
    return [(topic, partition, key, value or b"", headers) for topic, partition, key, value, headers in records]


def again(row: Any) -> Sent:
    """The record of a dead letter, by nothing but the contract."""
    ours = {name: value for name, value in row.headers if name.startswith("rampwatch-")}
    theirs = [(name, value) for name, value in row.headers if not name.startswith("rampwatch-")]
    topic, partition = ours["rampwatch-topic"].decode(), int(ours["rampwatch-partition"])
    return topic, partition, ours.get("rampwatch-key"), row.value, theirs


def test_a_forwarded_record_keeps_its_headers(broker: Broker, prefix: str, tmp_path: Path) -> None:
    plate = "SIM 505"
    with topics_of(broker.address, prefix) as settings, worker(settings, tmp_path) as running:
        home = partition_of(plate_key(plate), settings.partitions)
        elsewhere = (home + 1) % settings.partitions
        records = [record for record in pair("misrouted", EVENING_MS, plate) if record.topic in (HITS, READS)]
        stamps = [str(record.stamp_ms).encode() for record in records]
        sent: list[Sent] = [
            (record.topic, elsewhere, b"wrong", record.value, [*TRACE, ("rampwatch-stamp-ms", stamp)])
            for record, stamp in zip(records, stamps, strict=True)
        ]
        send(settings, sent)
        await_handled(settings, running)
        await_handled(settings, running)  # the forwarded copies as well
        copies = [row for topic in (HITS, READS) for row in read_topic(settings, topic) if row.partition == home]
    assert len(copies) == len(sent)
    assert [dict(row.headers)["rampwatch-stamp-ms"] for row in copies] == stamps
    for row in copies:
        assert [header for header in row.headers if not header[0].startswith("rampwatch-")] == TRACE
        assert row.key == plate_key(plate).encode()
