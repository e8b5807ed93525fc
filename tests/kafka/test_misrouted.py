"""Records on the wrong partition are forwarded to the right one, once, and count there."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from aiokafka import AIOKafkaProducer, TopicPartition
from msgspec import structs

from streams.core.plates import plate_key
from streams.core.topics import HITS, INCIDENTS, READS, SHOTS
from streams.core.windows import NEVER
from streams.kafka.partitioner import partition_of
from streams.replay.player import Playable
from streams.settings import Settings
from streams.worker.committed_offsets import committed
from tests.drivers.brokers import Broker
from tests.drivers.replayed import replayed
from tests.drivers.topics import STAMP_HEADER, dead_letters, headers_of, last_incidents, publish, read_topic, topics_of
from tests.drivers.waiting import eventually
from tests.drivers.workers import await_handled, worker
from tests.worlds.pairs import EVENING_MS, HOUR_MS, pair, pair_id

PLATE = "SIM 505"


def published(settings: Settings) -> set[tuple[str, int]]:
    """The key and the partition of each incident."""
    return {(row.key.decode(), row.partition) for row in read_topic(settings, INCIDENTS)}


def publish_at(settings: Settings, records: Iterable[Playable], number: int, **headers: str) -> None:
    asyncio.run(_publish_at(settings, list(records), number, headers))


async def _publish_at(settings: Settings, records: list[Playable], number: int, headers: dict[str, str]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.broker) as producer:
        for record in records:
            all_headers = [
                (STAMP_HEADER, str(record.stamp_ms).encode()),
                *((k, v.encode()) for k, v in headers.items()),
            ]
            topic = settings.prefix + record.topic
            await producer.send_and_wait(topic, record.value, b"wrong", partition=number, headers=all_headers)


def test_misrouted_records_are_forwarded_once_and_joined_on_the_right_partition(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    records = pair("misrouted", EVENING_MS, PLATE)
    with topics_of(broker.address, prefix) as settings, worker(settings, tmp_path) as running:
        home = partition_of(plate_key(PLATE), settings.partitions)
        publish(settings, [record for record in records if record.topic == SHOTS])
        publish_at(settings, [r for r in records if r.topic in (HITS, READS)], (home + 1) % settings.partitions)
        await_handled(settings, running)
        await_handled(settings, running)  # the forwarded copies as well
        assert list(last_incidents(settings)) == [pair_id("misrouted", PLATE)]
        outcomes = running.outcomes()
        copies = [row for topic in (HITS, READS) for row in read_topic(settings, topic) if row.partition == home]
        again = replayed(settings, tmp_path)
        assert again.differences == []
        assert again.partitions == published(settings)
    assert again.outcomes == outcomes
    assert outcomes[READS] == outcomes[HITS] == Counter(forwarded=1, used=1)
    assert [headers_of(row)["rampwatch-forwarded"] for row in copies] == [f"{(home + 1) % 12}:0"] * 2


def test_a_record_forwarded_before_is_joined_where_it_is(broker: Broker, prefix: str, tmp_path: Path) -> None:
    records = pair("misrouted", EVENING_MS, PLATE)
    with topics_of(broker.address, prefix) as settings, worker(settings, tmp_path) as running:
        elsewhere = (partition_of(plate_key(PLATE), settings.partitions) + 1) % settings.partitions
        joined = [record for record in records if record.topic in (HITS, READS)]
        publish(settings, [record for record in records if record.topic == SHOTS])
        publish_at(settings, joined, elsewhere, **{"rampwatch-forwarded": "3:7"})
        await_handled(settings, running)
        outcomes = running.outcomes()
        assert list(last_incidents(settings)) == [pair_id("misrouted", PLATE)]
        again = replayed(settings, tmp_path)
        assert again.differences == []
        assert again.partitions == published(settings) == {(pair_id("misrouted", PLATE), elsewhere)}
    assert outcomes[READS] == outcomes[HITS] == Counter(used=1)


def test_a_read_forwarded_long_after_its_deadline_is_joined(broker: Broker, prefix: str, tmp_path: Path) -> None:
    """A replay runs faster than time: seconds after a record its watermark can be days later."""
    *earlier, first = pair("late", EVENING_MS, PLATE)
    later = structs.replace(pair("later", EVENING_MS + 26 * HOUR_MS, PLATE)[2], topic=READS)
    with topics_of(broker.address, prefix) as settings, worker(settings, tmp_path) as running:
        home = partition_of(plate_key(PLATE), settings.partitions)
        publish(settings, [*earlier, later])
        await_handled(settings, running)
        eventually(
            [running],
            lambda: watermark_ms(settings, home) > EVENING_MS + 25 * HOUR_MS,
            "the watermark did not pass the deadline of the first read",
        )
        assert last_incidents(settings) == {}
        publish_at(settings, [first], (home + 1) % settings.partitions)
        await_handled(settings, running)
        await_handled(settings, running)  # the forwarded copy as well
        (incident,) = last_incidents(settings).values()
        outcomes = running.outcomes()
        dead = dead_letters(settings)
    assert [sighting["read_id"] for sighting in incident["sightings"]] == ["R-late"]
    assert (outcomes[READS], dead) == (Counter(forwarded=1, used=2), [])


def test_stamps_later_than_the_brokers_time_swallow_no_honest_read(broker: Broker, prefix: str, tmp_path: Path) -> None:
    far_ms = 9_000_000_000_000
    strays = pair("stray", far_ms, PLATE)
    refused = [structs.replace(record, value=b"{}") for record in strays]
    with topics_of(broker.address, prefix) as settings, worker(settings, tmp_path) as running:
        home = partition_of(plate_key(PLATE), settings.partitions)
        publish(settings, [*strays, *refused])
        await_handled(settings, running)
        time.sleep(2.5)  # the ends of the topics are queried every second
        assert watermark_ms(settings, home) < EVENING_MS
        publish(settings, pair("honest", EVENING_MS, PLATE))
        await_handled(settings, running)
        assert pair_id("honest", PLATE) in last_incidents(settings)
        assert running.outcomes()[READS] == Counter(used=2, dead=1)


def watermark_ms(settings: Settings, number: int) -> int:
    """The watermark that the group has committed for a partition of the joined topics."""
    tps = [TopicPartition(settings.prefix + topic, number) for topic in (HITS, READS)]
    commits = asyncio.run(committed(settings, tps))
    return max((commit.watermark_ms for commit in commits.values()), default=NEVER)
