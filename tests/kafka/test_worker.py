"""Real workers on a real Kafka: they publish what the replay does and lose nothing."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from streams.core.plates import plate_key
from streams.core.topics import ACTIONS, DEAD_LETTERS, EVENT_TYPES, HITS, INPUTS, READS, SHOTS
from streams.local_broker.broker import LocalBroker
from streams.replay.player import Playable
from streams.settings import Settings
from tests.drivers.brokers import Broker
from tests.drivers.command import STOP_S_MAX
from tests.drivers.replayed import rejected, replayed, totals
from tests.drivers.topics import (
    STAMP_HEADER,
    RawRecord,
    dead_letters,
    headers_of,
    last_incidents,
    publish,
    publish_raw,
    read_topic,
    topics_of,
)
from tests.drivers.waiting import eventually
from tests.drivers.workers import await_handled, members_of, worker
from tests.paths import ROOT
from tests.worlds.evening import evening, unusable
from tests.worlds.pairs import EVENING_MS, HOUR_MS, RAMP, pair, pair_id, playable

EXAMPLES = ROOT / "schemas" / "examples"
BAD: list[dict[str, Any]] = [
    entry for entry in json.loads((EXAMPLES / "bad.json").read_text("utf-8")) if entry["topic"] in EVENT_TYPES
]


def test_a_worker_publishes_what_the_replay_does_and_every_record_has_one_outcome(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    with topics_of(broker.address, prefix) as settings, worker(settings, tmp_path) as running:
        sent = publish(settings, evening(EVENING_MS))
        await_handled(settings, running)
        outcomes = running.outcomes()
        assert running.stop()[0] == 0
        expected = replayed(settings, tmp_path)
    assert expected.differences == []
    assert expected.incidents > 10
    assert totals(outcomes) == sent
    assert rejected(outcomes) == rejected(expected.outcomes)


def test_without_a_prefix_the_brokers_stamps_count_and_no_log_names_a_plate_when_the_broker_dies(
    own_broker: LocalBroker, tmp_path: Path
) -> None:
    begin_ms = round(time.time() * 1000) - 6 * HOUR_MS
    records = evening(begin_ms)
    with topics_of(own_broker.address, "") as settings, worker(settings, tmp_path) as running:
        publish(settings, records)
        await_handled(settings, running)
        expected = replayed(settings, tmp_path)
        stamps = [row.timestamp for topic in INPUTS for row in read_topic(settings, topic)]
        assert min(stamps) > begin_ms + 5 * HOUR_MS
        assert expected.differences == []
        assert expected.incidents > 10
        own_broker.kill()
        eventually([running], lambda: "ERROR" in running.log_text(), "the broker's death was not logged")
        plates = {json.loads(r.value)["plate"] for r in records if r.topic == HITS} - {"UNKNOWN"}
        assert_names_none_of(running.log_text(), plates)


def assert_names_none_of(text: str, plates: Iterable[str]) -> None:
    """Neither as written nor as a plate key, in any case."""
    upper = text.upper()
    assert "WORKER UP" in upper
    assert [plate for plate in plates if plate.upper() in upper or plate_key(plate) in upper] == []


def test_every_bad_example_becomes_a_dead_letter_with_its_reason_and_the_worker_continues(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    bad = [(entry, (EXAMPLES / entry["topic"] / "bad" / entry["file"]).read_bytes()) for entry in BAD]
    at_ms = 1_780_013_100_000
    records = [Playable(entry["topic"], entry.get("stamp_ms", at_ms), "", value) for entry, value in bad]
    expected = [(entry["topic"], entry["reason"], entry["field"], value) for entry, value in bad]
    stamp = [(STAMP_HEADER, b"%d" % at_ms)]
    with topics_of(broker.address, prefix) as settings, worker(settings, tmp_path) as running:
        sent = publish(settings, sorted(records, key=lambda record: record.stamp_ms))
        publish_raw(settings, [(topic, None, [*stamp]) for topic in INPUTS])
        sent += publish(settings, pair("good", 1_780_100_000_000, "SIM 101"))
        await_handled(settings, running)
        assert dead_letters(settings) == sorted(expected + [(topic, "not_json", "", b"") for topic in INPUTS])
        assert [incident["status"] for incident in last_incidents(settings).values()] == ["open"]
        assert totals(running.outcomes()) == sent + Counter(INPUTS)
        keys = [row.key.decode() for row in read_topic(settings, DEAD_LETTERS)]
        assert len(set(keys)) == len(keys)


def test_an_invalid_stamp_header_is_ignored(broker: Broker, prefix: str, tmp_path: Path) -> None:
    claims = [None, b"", b"-", b"--5", b"soon", b"9" * 30, b"9" * 5_000]
    now_ms = round(time.time() * 1000)
    values = {record.topic: record.value for record in pair("now", now_ms, "SIM 101")}
    rows: list[RawRecord] = [
        (topic, values.get(topic, b"{}"), [(STAMP_HEADER, claim)]) for topic in INPUTS for claim in claims
    ]
    with topics_of(broker.address, prefix) as settings, worker(settings, tmp_path) as running:
        publish_raw(settings, rows)
        await_handled(settings, running)
        # the broker's stamps count: the first of each is used, the others are its duplicates
        assert running.outcomes()[SHOTS] == {"used": 1, "duplicate": len(claims) - 1}


def test_only_a_record_that_does_not_fit_without_its_compression_is_truncated(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    """It repeats itself too far apart for gzip: Zstandard packs it to a fifth."""
    huge = 5 * random.Random(1).randbytes(600_000)
    small = [b"no JSON %d" % number for number in range(20)]
    with topics_of(broker.address, prefix) as settings, worker(settings, tmp_path) as running:
        asyncio.run(publish_compressed(settings, [*small[:10], huge, *small[10:]]))
        await_handled(settings, running)
        rows = read_topic(settings, DEAD_LETTERS)
        outcomes = running.outcomes()[READS]
    kept = [(row.value, headers_of(row).get("rampwatch-truncated")) for row in rows]
    (part, note), *whole = sorted(kept, key=lambda row: -len(row[0]))
    assert sorted(whole) == sorted((value, None) for value in small)
    assert huge.startswith(part)
    assert len(huge) / 4 <= len(part) < len(huge)
    assert note == f"the first {len(part)} bytes; the topic takes no more"
    assert (outcomes["dead"], outcomes.total()) == (21, 21)


async def publish_compressed(settings: Settings, values: list[bytes]) -> None:
    """Publish reads in one batch, compressed with Zstandard."""
    async with AIOKafkaProducer(
        bootstrap_servers=settings.broker,
        compression_type="zstd",
        max_request_size=2**23,
        max_batch_size=2**23,
        linger_ms=200,
    ) as producer:
        sent = [await producer.send(settings.prefix + READS, value, partition=0) for value in values]
        await asyncio.gather(*sent)


def test_a_record_of_the_largest_size_becomes_a_dead_letter(broker: Broker, prefix: str, tmp_path: Path) -> None:
    large: list[RawRecord] = [(topic, b"x" * (1_048_588 - 200), []) for topic in (READS, SHOTS)]
    with topics_of(broker.address, prefix) as settings, worker(settings, tmp_path) as running:
        publish_raw(settings, [*large])
        publish(settings, pair("good", EVENING_MS, "SIM 101"))
        await_handled(settings, running)
        letters = dead_letters(settings)
        assert [(topic, reason, len(value)) for topic, reason, _, value in letters] == [
            (topic, "limit", len(value or b"")) for topic, value, _ in sorted(large, key=lambda row: row[0])
        ]
        assert len(last_incidents(settings)) == 1


def test_a_restarted_worker_resumes_where_the_last_one_stopped(broker: Broker, prefix: str, tmp_path: Path) -> None:
    later_ms = EVENING_MS + 3 * HOUR_MS
    with topics_of(broker.address, prefix) as settings:
        with worker(settings, tmp_path) as first:
            publish(settings, pair("first", EVENING_MS, "SIM 101") + unusable(EVENING_MS))
            await_handled(settings, first)
            before = read_topic(settings, DEAD_LETTERS)
            code, took_s = first.stop()
        assert code == 0, first.log_text()
        assert took_s < STOP_S_MAX
        assert len(before) == len(unusable(EVENING_MS))
        with worker(settings, tmp_path) as second:
            sent = publish(settings, pair("second", later_ms, "SIM 202") + unusable(later_ms))
            await_handled(settings, second)
            after = read_topic(settings, DEAD_LETTERS)
            assert totals(second.outcomes()) == sent
            assert second.stop()[0] == 0
        assert len({row.key for row in after}) == len(after) == len(before) + len(unusable(later_ms))
        statuses = {key: incident["status"] for key, incident in last_incidents(settings).items()}
        assert statuses == {pair_id("first", "SIM 101"): "open", pair_id("second", "SIM 202"): "open"}


def test_records_published_while_no_worker_runs_are_joined_by_the_next(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    with topics_of(broker.address, prefix) as settings:
        publish(settings, pair("away", EVENING_MS, "SIM 101"))
        with worker(settings, tmp_path) as running:
            await_handled(settings, running)
            assert list(last_incidents(settings)) == [pair_id("away", "SIM 101")]


def test_two_workers_share_the_partitions_and_publish_what_one_would(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    with (
        topics_of(broker.address, prefix) as settings,
        worker(settings, tmp_path, name="one") as one,
        worker(settings, tmp_path, name="two") as two,
    ):
        eventually([one, two], lambda: members_of(settings) == 2, "the group does not have two workers")
        sent = publish(settings, evening(EVENING_MS))
        await_handled(settings, one, two)
        shares = [totals(each.outcomes()) for each in (one, two)]
        assert [each.stop()[0] for each in (one, two)] == [0, 0]
        expected = replayed(settings, tmp_path)
    assert expected.differences == []
    assert expected.incidents > 10
    assert shares[0] + shares[1] == sent
    for share in shares:
        assert share[READS] > 0
        assert share[HITS] > 0


def test_no_log_line_and_no_metric_names_a_plate(broker: Broker, prefix: str, tmp_path: Path) -> None:
    plate = "SIMZQ88"
    at_ms = EVENING_MS
    seen = {"ramp_id": RAMP, "camera_id": "C1", "confidence": 0.97, "captured_at_ms": at_ms}
    key = plate_key(plate)
    bad = [
        Playable(READS, at_ms, key, f'{{"plate": "{plate}"'.encode()),
        Playable(HITS, at_ms, key, f'["{plate}"]'.encode()),
        Playable(SHOTS, at_ms, plate, f'{{"alert_id": 7, "note": "{plate}"}}'.encode()),
        Playable(ACTIONS, at_ms, plate, f'"{plate}"'.encode()),
        playable(READS, at_ms, key, read_id="long", plate=f"{plate}12345", **seen),
        playable(READS, at_ms, key, read_id="lost", plate=plate, **seen | {"ramp_id": plate}),
        playable(READS, at_ms, key, read_id=plate, plate=plate, **seen | {"captured_at_ms": at_ms + HOUR_MS}),
        playable(HITS, at_ms, key, hit_id="H2", plate=plate, reported_at_ms=at_ms + HOUR_MS),
    ]
    with topics_of(broker.address, prefix) as settings, worker(settings, tmp_path) as running:
        publish(settings, pair("good", at_ms - HOUR_MS, plate) + bad)
        await_handled(settings, running)
        assert len(dead_letters(settings)) == len(bad)
        assert [incident["vehicle"]["plate"] for incident in last_incidents(settings).values()] == [plate]
        metrics = running.metrics()
        assert running.stop()[0] == 0
    assert_names_none_of(running.log_text() + metrics, [plate])
