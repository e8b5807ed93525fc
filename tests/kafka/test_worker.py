"""Real workers on a real Kafka: they say what the in-process replay says, lose nothing, and stop when asked."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer

from streams.core.events import (
    ACTIONS,
    DEAD_LETTERS,
    EVENT_TYPES,
    HITS,
    INPUTS,
    READS,
    SHOTS,
)
from streams.core.incidents import incident_id
from streams.core.plates import plate_key
from streams.local_broker.broker import LocalBroker
from streams.replay.player import Playable
from streams.resources.sites import load_site
from streams.settings import Settings
from streams.simulate.city import City, simulate
from streams.simulate.plan import CityPlan
from tests.kafka.conftest import GivenBroker
from tests.kafka.driving import (
    STAMP_HEADER,
    STOP_S_MAX,
    RawRow,
    await_handled,
    dead_letters,
    eventually,
    headers_of,
    last_incidents,
    members_of,
    publish,
    publish_raw,
    read_topic,
    refusals,
    replayed,
    sums,
    topics_of,
    worker,
)
from tests.paths import ROOT

Broker = LocalBroker | GivenBroker

EXAMPLES = ROOT / "schemas" / "examples"
BAD: list[dict[str, Any]] = [
    entry for entry in json.loads((EXAMPLES / "bad.json").read_text("utf-8")) if entry["topic"] in EVENT_TYPES
]
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
EVENING_MS = 1_780_700_400_000
"""5 June 2026, 19:00 in Hartford."""
RAMP = "I-84-E-48-off"


def playable(topic: str, stamp_ms: int, key: str, **value: object) -> Playable:
    return Playable(topic, stamp_ms, key, json.dumps(value).encode())


def pair(name: str, at_ms: int, plate: str) -> list[Playable]:
    """A shot, a stolen car and its read at a ramp near by: they make one incident."""
    shot = {"kind": "multiple_gunshots", "occurred_at_ms": at_ms, "lat": 41.7712, "lon": -72.6931}
    seen = {"ramp_id": RAMP, "camera_id": "C1", "confidence": 0.97, "captured_at_ms": at_ms + 4 * MINUTE_MS}
    key = plate_key(plate)
    return [
        playable(HITS, at_ms - HOUR_MS, key, hit_id=f"H-{name}", plate=plate, reported_at_ms=at_ms - HOUR_MS),
        playable(SHOTS, at_ms + 10_000, f"S-{name}", alert_id=f"S-{name}", **shot),
        playable(READS, at_ms + 4 * MINUTE_MS, key, read_id=f"R-{name}", plate=plate, **seen),
    ]


def pair_id(name: str, plate: str) -> str:
    return incident_id(f"S-{name}", f"H-{name}", plate_key(plate))


def city(begin_ms: int, seed: int = 5) -> City:
    """A lively evening in Hartford, with reads that come twice, late, misread and unsure."""
    plan = CityPlan(
        begin_ms=begin_ms,
        duration_ms=6 * HOUR_MS,
        seed=seed,
        shots_per_day=120,
        linked_share=0.6,
        stolen_cars=30,
        background_reads_per_minute=8,
        late_share=0.05,
        duplicate_share=0.1,
        misread_share=0.1,
    )
    return simulate(load_site("hartford"), plan)


def world(begin_ms: int) -> list[Playable]:
    """A small world: the city's records, what dispatchers did with its incidents, and records nobody can use."""
    made = city(begin_ms)
    records = [Playable(r.topic, r.stamp_ms, r.key, msgspec.json.encode(r.value)) for r in made.records]
    keys = {r.value["hit_id"]: r.key for r in made.records if r.topic == HITS}
    for n, drive in enumerate(made.truth):
        incident = incident_id(drive.alert_id, drive.hit_id, keys.get(drive.hit_id, ""))
        at_ms = begin_ms + n * 7 * MINUTE_MS
        action = {"action_id": f"A{n % 9}", "incident_id": incident, "kind": "acknowledge", "by": "console 1"}
        records += [playable(ACTIONS, at_ms + 1_000, incident, **action, at_ms=at_ms)] * (1 + n % 2)
    records += unusable(begin_ms)
    return sorted(records, key=lambda record: record.stamp_ms)


def unusable(begin_ms: int) -> list[Playable]:
    at_ms = begin_ms + HOUR_MS
    seen = {"ramp_id": RAMP, "camera_id": "C1", "confidence": 0.97}
    far = {"kind": "single_gunshot", "occurred_at_ms": at_ms + 48 * HOUR_MS, "lat": 41.77, "lon": -72.69}
    old_ms = at_ms - 48 * HOUR_MS
    return [
        Playable(READS, at_ms, "", b"no JSON"),
        Playable(SHOTS, at_ms, "", b"\xff"),
        Playable(ACTIONS, at_ms, "", b"[]"),
        playable(HITS, at_ms, "", hit_id="H", plate="UNKNOWN", reported_at_ms=at_ms),
        playable(SHOTS, at_ms, "early", alert_id="early", **far),
        playable(READS, at_ms, "51M1", read_id="late", plate="SIM1", captured_at_ms=old_ms, **seen),
        playable(READS, at_ms, "51M1", read_id="lost", plate="SIM1", captured_at_ms=at_ms, **seen | {"ramp_id": "?"}),
    ]


def test_a_worker_says_what_the_replay_says_and_every_record_ends_as_one_outcome(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    with topics_of(broker.address, prefix) as settings, worker(settings, tmp_path) as running:
        sent = publish(settings, world(EVENING_MS))
        await_handled(settings, running)
        outcomes = running.outcomes()
        assert running.stop()[0] == 0
        expected = replayed(settings, tmp_path)
    assert expected.differences == []
    assert expected.incidents > 10
    assert sums(outcomes) == sent
    assert refusals(outcomes) == refusals(expected.outcomes)


def test_without_a_prefix_the_brokers_stamps_count_whatever_a_header_claims_and_no_log_names_a_plate(
    own_broker: LocalBroker, tmp_path: Path
) -> None:
    begin_ms = round(time.time() * 1000) - 6 * HOUR_MS
    records = world(begin_ms)
    with topics_of(own_broker.address, "") as settings, worker(settings, tmp_path) as running:
        publish(settings, records)
        await_handled(settings, running)
        expected = replayed(settings, tmp_path)
        stamps = [row.timestamp for topic in INPUTS for row in read_topic(settings, topic)]
        assert min(stamps) > begin_ms + 5 * HOUR_MS
        assert expected.differences == []
        assert expected.incidents > 10
        own_broker.kill()
        eventually([running], lambda: "ERROR" in running.said(), "nothing was said about the broker's death")
        plates = {json.loads(r.value)["plate"] for r in records if r.topic == HITS} - {"UNKNOWN"}
        assert_says_none_of(running.said(), plates)


def assert_says_none_of(text: str, plates: Iterable[str]) -> None:
    """Neither as written nor as a key, in capitals or not."""
    said = text.upper()
    assert "WORKER UP" in said
    assert [plate for plate in plates if plate.upper() in said or plate_key(plate) in said] == []


def test_every_bad_example_becomes_a_dead_letter_with_its_reason_and_the_worker_goes_on(
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
        assert sums(running.outcomes()) == sent + Counter(INPUTS)
        keys = [row.key.decode() for row in read_topic(settings, DEAD_LETTERS)]
        assert len(set(keys)) == len(keys)


def test_a_claimed_stamp_that_is_no_time_is_not_believed_and_stops_nobody(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    claims = [None, b"", b"-", b"--5", b"soon", b"9" * 30, b"9" * 5_000]
    now_ms = round(time.time() * 1000)
    values = {record.topic: record.value for record in pair("now", now_ms, "SIM 101")}
    rows: list[RawRow] = [
        (topic, values.get(topic, b"{}"), [(STAMP_HEADER, claim)]) for topic in INPUTS for claim in claims
    ]
    with topics_of(broker.address, prefix) as settings, worker(settings, tmp_path) as running:
        publish_raw(settings, rows)
        await_handled(settings, running)
        # all count with the broker's stamps: the first of each is used, the others are its duplicates
        assert running.outcomes()[SHOTS] == {"used": 1, "duplicate": len(claims) - 1}


def test_what_only_its_own_compression_made_fit_is_kept_in_part_and_nothing_else_is(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    """A repeat farther back than gzip looks: a fifth by Zstandard, whole by the compression of the dead letters."""
    huge = 5 * random.Random(1).randbytes(600_000)
    small = [b"no JSON %d" % number for number in range(20)]
    with topics_of(broker.address, prefix) as settings, worker(settings, tmp_path) as running:
        asyncio.run(publish_packed(settings, [*small[:10], huge, *small[10:]]))
        await_handled(settings, running)
        rows = read_topic(settings, DEAD_LETTERS)
        outcomes = running.outcomes()[READS]
    kept = [(row.value, headers_of(row).get("rampwatch-truncated")) for row in rows]
    (part, told), *whole = sorted(kept, key=lambda row: -len(row[0]))
    assert sorted(whole) == sorted((value, None) for value in small)
    assert huge.startswith(part)
    assert len(huge) / 4 <= len(part) < len(huge)
    assert told == f"the first {len(part)} bytes of it, the topic takes no more"
    assert (outcomes["dead"], outcomes.total()) == (21, 21)


async def publish_packed(settings: Settings, values: list[bytes]) -> None:
    """Publish reads in one batch, compressed by Zstandard."""
    async with AIOKafkaProducer(
        bootstrap_servers=settings.broker,
        compression_type="zstd",
        max_request_size=2**23,
        max_batch_size=2**23,
        linger_ms=200,
    ) as producer:
        sent = [await producer.send(settings.prefix + READS, value, partition=0) for value in values]
        await asyncio.gather(*sent)


def test_a_record_as_large_as_its_topic_takes_becomes_a_dead_letter(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    large: list[RawRow] = [(topic, b"x" * (1_048_588 - 200), []) for topic in (READS, SHOTS)]
    with topics_of(broker.address, prefix) as settings, worker(settings, tmp_path) as running:
        publish_raw(settings, [*large])
        publish(settings, pair("good", EVENING_MS, "SIM 101"))
        await_handled(settings, running)
        letters = dead_letters(settings)
        assert [(topic, reason, len(value)) for topic, reason, _, value in letters] == [
            (topic, "not_json", len(value or b"")) for topic, value, _ in sorted(large, key=lambda row: row[0])
        ]
        assert len(last_incidents(settings)) == 1


def test_a_restarted_worker_goes_on_where_the_last_one_stopped(broker: Broker, prefix: str, tmp_path: Path) -> None:
    later_ms = EVENING_MS + 3 * HOUR_MS
    with topics_of(broker.address, prefix) as settings:
        with worker(settings, tmp_path) as first:
            publish(settings, pair("first", EVENING_MS, "SIM 101") + unusable(EVENING_MS))
            await_handled(settings, first)
            before = read_topic(settings, DEAD_LETTERS)
            code, took_s = first.stop()
        assert code == 0, first.said()
        assert took_s < STOP_S_MAX
        assert len(before) == len(unusable(EVENING_MS))
        with worker(settings, tmp_path) as second:
            sent = publish(settings, pair("second", later_ms, "SIM 202") + unusable(later_ms))
            await_handled(settings, second)
            after = read_topic(settings, DEAD_LETTERS)
            assert sums(second.outcomes()) == sent
            assert second.stop()[0] == 0
        assert len({row.key for row in after}) == len(after) == len(before) + len(unusable(later_ms))
        statuses = {key: incident["status"] for key, incident in last_incidents(settings).items()}
        assert statuses == {pair_id("first", "SIM 101"): "open", pair_id("second", "SIM 202"): "open"}


def test_records_sent_while_no_worker_runs_are_joined_by_the_next(broker: Broker, prefix: str, tmp_path: Path) -> None:
    with topics_of(broker.address, prefix) as settings:
        publish(settings, pair("away", EVENING_MS, "SIM 101"))
        with worker(settings, tmp_path) as running:
            await_handled(settings, running)
            assert list(last_incidents(settings)) == [pair_id("away", "SIM 101")]


def test_two_workers_share_the_partitions_and_say_what_one_would(broker: Broker, prefix: str, tmp_path: Path) -> None:
    with (
        topics_of(broker.address, prefix) as settings,
        worker(settings, tmp_path, name="one") as one,
        worker(settings, tmp_path, name="two") as two,
    ):
        eventually([one, two], lambda: members_of(settings) == 2, "the group did not settle with two workers")
        sent = publish(settings, world(EVENING_MS))
        await_handled(settings, one, two)
        shares = [sums(each.outcomes()) for each in (one, two)]
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
    assert_says_none_of(running.said() + metrics, [plate])
