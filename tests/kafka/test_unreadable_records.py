"""What cannot be read from a topic costs one record or one batch, never a worker."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import cramjam
import pytest
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import PartitionRecords

from streams.core.plates import plate_key
from streams.core.topics import ACTIONS, BROADCAST, INCIDENTS, INPUTS, TALLIES
from streams.kafka.partitioner import partition_of
from streams.replay.player import Playable
from streams.settings import Settings
from streams.worker.aiokafka_patch import tolerate_unreadable_records
from streams.worker.batch_reader import HEADERS_MAX, RECORDS_MAX
from streams.worker.decompress import EXPANDED_BYTES_MAX
from tests.drivers.batches import GZIP, ZSTD, batch, record, send, varint
from tests.drivers.brokers import Broker
from tests.drivers.topics import STAMP_HEADER, dead_letters, publish, read_topic, topics_of
from tests.drivers.waiting import eventually
from tests.drivers.workers import Worker, await_handled, worker
from tests.worlds.pairs import EVENING_MS, HOUR_MS, pair, pair_id, playable

BAD_NAME = (b"caf\xe9 \xff", b"text")
TOO_MANY = [(b"", None)] * (HEADERS_MAX + 1)
"""Kafka takes them; rampwatch does not read a record with so many."""
PLATE = "SIM 101"
"""Of all pairs here, so that their records are in one partition."""
BOMB_BYTES = 600 * 2**20
GROWTH_BYTES_MAX = 5 * EXPANDED_BYTES_MAX
"""Two threads may each take twice the bound for the batch being unpacked; the rest is for the dead
letters and the records of the pairs."""
LATER_MS = EVENING_MS + HOUR_MS


@pytest.fixture(autouse=True)
def tolerant() -> Iterator[None]:
    """This process reads the topics back."""
    stock = fetcher.MemoryRecords, PartitionRecords._unpack_records
    tolerate_unreadable_records()
    yield
    fetcher.MemoryRecords, PartitionRecords._unpack_records = stock


def put(settings: Settings, topic: str, raw: bytes) -> None:
    """Send a batch as it is, where the records of the pairs are."""
    has_one = topic in BROADCAST or topic == TALLIES
    partition = 0 if has_one else partition_of(plate_key(PLATE), settings.partitions)
    send(settings.broker, settings.prefix + topic, partition, raw)


def put_with_bad_names(settings: Settings, records: Sequence[Playable], codec: int = 0) -> Counter[str]:
    """Send records with a header name that is not UTF-8, those of a topic in one batch."""
    for topic in INPUTS:
        rows = [
            record(delta, one.value, [BAD_NAME, (STAMP_HEADER.encode(), b"%d" % one.stamp_ms)], one.key.encode())
            for delta, one in enumerate(one for one in records if one.topic == topic)
        ]
        packed = bytes(cramjam.zstd.compress(b"".join(rows))) if codec else None
        if rows:
            put(settings, topic, batch(rows, codec=codec, packed=packed))
    return Counter(one.topic for one in records)


def incidents(settings: Settings) -> set[str]:
    """The ids of the open incidents, leaving out foreign records."""
    rows = [row.value for row in read_topic(settings, INCIDENTS) if row.key is not None and row.key != b"foreign"]
    last = {one["incident_id"]: one["status"] for one in map(json.loads, rows)}
    return {incident for incident, status in last.items() if status == "open"}


def consumed(running: Worker) -> Counter[str]:
    return Counter({topic: outcomes.total() for topic, outcomes in running.outcomes().items() if outcomes})


def test_a_header_name_that_is_not_utf_8_costs_nothing_live_or_in_a_rebuild(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    action = {"action_id": "A", "incident_id": pair_id("one", PLATE), "kind": "acknowledge", "by": "desk 3"}
    acknowledged = playable(ACTIONS, LATER_MS, action["incident_id"], **action, at_ms=LATER_MS)
    foreign = batch([record(0, b"{}", [BAD_NAME], b"foreign"), record(1, b"{}", TOO_MANY, b"foreign")])
    with topics_of(broker.address, prefix) as settings:
        with worker(settings, tmp_path, name="first") as first:
            sent = put_with_bad_names(settings, [*pair("one", EVENING_MS, PLATE), acknowledged])
            for topic in (INCIDENTS, TALLIES):
                put(settings, topic, foreign)
            await_handled(settings, first)
            assert consumed(first) == sent
            assert incidents(settings) == {pair_id("one", PLATE)}
            assert first.stop()[0] == 0
        with worker(settings, tmp_path, name="second") as second:
            sent = put_with_bad_names(settings, pair("two", LATER_MS, PLATE), ZSTD)
            await_handled(settings, second)
            eventually([second], lambda: "counter leader" in second.log_text(), "no counters")
            assert consumed(second) == sent
            assert incidents(settings) >= {pair_id("one", PLATE), pair_id("two", PLATE)}
            assert dead_letters(settings) == []
            assert second.log_text().count("not a linked incident") == 2
            assert second.log_text().count("not a valid record") == 4
            assert second.stop()[0] == 0


def test_an_unreadable_record_becomes_a_dead_letter_and_those_around_it_are_joined(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    bad = [record(1, b"bad", TOO_MANY, b"key") for _ in INPUTS]
    honest = {one.topic: one for one in pair("one", EVENING_MS, PLATE)}
    later = {one.topic: one for one in pair("two", LATER_MS, PLATE)}
    with topics_of(broker.address, prefix) as settings:
        with worker(settings, tmp_path, name="first") as first:
            for topic, raw in zip(INPUTS, bad, strict=True):
                around = [record(2 * n, one[topic].value, stamp_of(one[topic]), one[topic].key.encode())
                          for n, one in enumerate((honest, later)) if topic in one]  # fmt: skip
                put(settings, topic, batch([around[0], raw, around[1]] if around else [raw]))
            await_handled(settings, first)
            assert consumed(first) == {topic: 1 if topic == ACTIONS else 3 for topic in INPUTS}
            assert incidents(settings) >= {pair_id("one", PLATE), pair_id("two", PLATE)}
            assert dead_letters(settings) == sorted(
                (topic, "unreadable", "", raw) for topic, raw in zip(INPUTS, bad, strict=True)
            )
            assert first.stop()[0] == 0
        with worker(settings, tmp_path, name="second") as second:
            sent = publish(settings, pair("three", LATER_MS + HOUR_MS, PLATE))
            await_handled(settings, second)
            assert consumed(second) == sent
            assert len(dead_letters(settings)) == len(INPUTS)
            assert pair_id("three", PLATE) in incidents(settings)


def stamp_of(one: Playable) -> list[tuple[bytes, bytes | None]]:
    return [(STAMP_HEADER.encode(), b"%d" % one.stamp_ms)]


def test_offsets_that_are_not_the_records_own_lead_a_worker_nowhere(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    """Kafka counts the records of an uncompressed batch, but does not compare what each says."""
    with topics_of(broker.address, prefix) as settings, worker(settings, tmp_path) as running:
        for one in pair("one", EVENING_MS, PLATE):
            rows = [record(0, b"x"), record(2**31 - 1, one.value, stamp_of(one), one.key.encode()), record(0, b"y")]
            put(settings, one.topic, batch(rows))
        sent = publish(settings, pair("two", LATER_MS, PLATE))
        await_handled(settings, running)
        assert consumed(running) == {topic: count + 3 for topic, count in sent.items()}
        assert incidents(settings) >= {pair_id("one", PLATE), pair_id("two", PLATE)}


def bomb(codec: int) -> bytes:
    """A record of zeros, compressed: some 600 kB become 600 MB."""
    rest = b"\x00" + varint(0) * 2 + varint(1) + b"k" + varint(BOMB_BYTES)
    pieces = [varint(len(rest) + BOMB_BYTES + 1) + rest, *[bytes(2**20)] * (BOMB_BYTES // 2**20), varint(0)]
    if codec == GZIP:
        packer = zlib.compressobj(9, wbits=31)
        return b"".join(map(packer.compress, pieces)) + packer.flush()
    zstd = cramjam.zstd.Compressor()
    for piece in pieces:
        zstd.compress(piece)
    return bytes(zstd.finish())


def rss_max_bytes(running: Worker) -> int:
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def test_batches_that_expand_without_bound_cost_themselves_and_little_memory(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    small = [record(n, b"", key=b"k") for n in range(RECORDS_MAX + 1)]
    bombs = [batch([b""], codec=codec, packed=bomb(codec)) for codec in (GZIP, ZSTD)]
    bombs.append(batch(small, codec=ZSTD, packed=bytes(cramjam.zstd.compress(b"".join(small)))))
    with topics_of(broker.address, prefix) as settings:
        with worker(settings, tmp_path, name="first") as first:
            before_bytes = rss_max_bytes(first)
            for topic in (*INPUTS, INCIDENTS, TALLIES):
                for raw in bombs:
                    put(settings, topic, raw)
            sent = publish(settings, pair("one", EVENING_MS, PLATE))
            await_handled(settings, first)
            assert consumed(first) == Counter(dict.fromkeys(INPUTS, 2 + len(small))) + sent
            assert Counter((topic, reason) for topic, reason, _, _ in dead_letters(settings)) == Counter(
                dict.fromkeys([(topic, "unreadable") for topic in INPUTS], len(bombs))
            )
            grown_bytes = rss_max_bytes(first) - before_bytes
            assert first.stop()[0] == 0
        with worker(settings, tmp_path, name="second") as second:
            sent = publish(settings, pair("two", LATER_MS, PLATE))
            await_handled(settings, second)
            assert consumed(second) == sent
            assert incidents(settings) >= {pair_id("one", PLATE), pair_id("two", PLATE)}
            assert rss_max_bytes(second) - before_bytes < GROWTH_BYTES_MAX
    assert grown_bytes < GROWTH_BYTES_MAX
