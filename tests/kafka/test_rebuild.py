"""A worker that takes over continues exactly: no revision is repeated, none is missing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from streams.core.topics import HITS, INCIDENTS, READS, SHOTS
from tests.drivers.brokers import Broker
from tests.drivers.replayed import replayed
from tests.drivers.topics import last_incidents, publish, read_topic, topics_of
from tests.drivers.waiting import eventually
from tests.drivers.workers import Worker, await_handled, worker
from tests.lanes import LANE
from tests.worlds.evening import evening
from tests.worlds.pairs import EVENING_MS, MINUTE_MS, pair, pair_id, playable

HOUR_MS = 60 * MINUTE_MS


def published(settings: Any) -> list[tuple[str, int]]:
    """Incident and number of each published revision, in the order of the partition."""
    rows = read_topic(settings, INCIDENTS)
    return [(row.key.decode(), msgspec.json.decode(row.value)["revision"]) for row in rows]


def assert_revisions_count_up(settings: Any) -> None:
    """No revision is repeated, none goes backwards, none is left out."""
    last: dict[str, int] = {}
    for incident, revision in published(settings):
        assert revision == last.get(incident, 0) + 1, f"{incident}: revision {revision} after {last.get(incident)}"
        last[incident] = revision


@pytest.mark.parametrize("killed_at", LANE.kill_points)
def test_an_evening_with_a_killed_worker_ends_as_if_no_worker_had_died(
    broker: Broker, prefix: str, tmp_path: Path, killed_at: float
) -> None:
    records = evening(EVENING_MS)
    middle = round(len(records) * killed_at)
    with topics_of(broker.address, prefix) as settings:
        with worker(settings, tmp_path, name="first") as first:
            publish(settings, records[:middle])
            eventually([first], lambda: len(last_incidents(settings)) > 0, "no incident was published")
            first.kill()
        publish(settings, records[middle : middle + 500])
        with worker(settings, tmp_path, name="second") as second:
            publish(settings, records[middle + 500 :])
            await_handled(settings, second)
            assert second.stop()[0] == 0
        expected = replayed(settings, tmp_path)
        assert expected.differences == []
        assert expected.incidents > 10
        assert_revisions_count_up(settings)


def test_incidents_published_before_a_restart_are_neither_repeated_nor_retracted(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    with topics_of(broker.address, prefix) as settings:
        with worker(settings, tmp_path) as first:
            publish(settings, pair("early", EVENING_MS, "SIM 101"))
            await_handled(settings, first)
            first.stop()
        before = published(settings)
        assert before == [(pair_id("early", "SIM 101"), 1)]
        with worker(settings, tmp_path) as second:
            publish(settings, pair("late", EVENING_MS + HOUR_MS, "SIM 202"))
            await_handled(settings, second)
            second.stop()
        assert sorted(published(settings)) == sorted([*before, (pair_id("late", "SIM 202"), 1)])


def test_a_read_before_a_restart_and_a_hit_and_a_shot_after_it_make_an_incident(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    by_topic = {record.topic: record for record in pair("apart", EVENING_MS, "SIM 303")}
    with topics_of(broker.address, prefix) as settings:
        for topic, end in ((READS, Worker.kill), (SHOTS, Worker.stop), (HITS, Worker.stop)):
            with worker(settings, tmp_path) as running:
                publish(settings, [by_topic[topic]])
                await_handled(settings, running)
                end(running)
        assert list(last_incidents(settings)) == [pair_id("apart", "SIM 303")]


def test_a_revision_of_a_shot_after_a_restart_revises_the_earlier_incident(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    records = pair("moved", EVENING_MS, "SIM 404")
    shot = json.loads(next(record.value for record in records if record.topic == SHOTS))
    dismissed = playable(SHOTS, EVENING_MS + 20 * MINUTE_MS, "S-moved", **shot | {"revision": 1, "status": "dismissed"})
    with topics_of(broker.address, prefix) as settings:
        with worker(settings, tmp_path) as first:
            publish(settings, records)
            await_handled(settings, first)
            first.stop()
        with worker(settings, tmp_path) as second:
            publish(settings, [dismissed])
            await_handled(settings, second)
            second.stop()
        (incident,) = last_incidents(settings).values()
        assert (incident["revision"], incident["status"]) == (2, "retracted")
        assert incident["sightings"] == []


def incident_ids(settings: Any) -> list[str]:
    return [incident for incident, _ in published(settings)]


@pytest.mark.parametrize("republish", [False, True])
def test_under_other_rules_an_incident_stands_until_its_facts_change_unless_republishing_is_on(
    broker: Broker, prefix: str, tmp_path: Path, republish: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    identifier = pair_id("ruled", "SIM 505")
    records = pair("ruled", EVENING_MS, "SIM 505")
    shot = json.loads(next(record.value for record in records if record.topic == SHOTS))
    confirmed = shot | {"revision": 1, "status": "confirmed"}
    with topics_of(broker.address, prefix) as settings:
        with worker(settings, tmp_path) as first:
            publish(settings, records)
            await_handled(settings, first)
            first.stop()
        # under these rules no car could have reached that ramp in time
        config = tmp_path / "config.toml"
        config.write_text(f"republish = {str(republish).lower()}\n[join]\nmax_speed_mps = 1\nreach_slack_m = 0\n")
        with worker(settings, tmp_path, "--config", str(config)) as second:
            publish(settings, pair("other", EVENING_MS + HOUR_MS, "SIM 606")[:1])
            await_handled(settings, second)
            assert (incident_ids(settings).count(identifier) > 1) is republish
            publish(settings, [playable(SHOTS, EVENING_MS + 20 * MINUTE_MS, "S-ruled", **confirmed)])
            await_handled(settings, second)
            second.stop()
        (incident,) = last_incidents(settings).values()
        assert (incident["shot"]["status"], incident["status"]) == ("confirmed", "retracted")
        assert incident["revision"] == (3 if republish else 2)


def test_an_unreadable_row_of_ours_withholds_its_incident_and_stops_nothing_else(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    records = pair("spoilt", EVENING_MS, "SIM 707")
    shot = json.loads(next(record.value for record in records if record.topic == SHOTS))
    dismissed = playable(
        SHOTS, EVENING_MS + 20 * MINUTE_MS, "S-spoilt", **shot | {"revision": 1, "status": "dismissed"}
    )
    with topics_of(broker.address, prefix) as settings:
        with worker(settings, tmp_path) as first:
            publish(settings, records)
            await_handled(settings, first)
            first.stop()
        (row,) = read_topic(settings, INCIDENTS)
        publish_row(settings, row, b'{"of": "a later version"}')
        with worker(settings, tmp_path, name="second") as second:
            publish(settings, [dismissed, *pair("sound", EVENING_MS + HOUR_MS, "SIM 808")])
            await_handled(settings, second)
            pages = second.metrics()
            assert second.stop()[0] == 0
        assert 'rampwatch_unreadable_outputs_total{topic="linked-incidents"} 1.0' in pages
        location = f"{prefix}{INCIDENTS}-{row.partition} offset {row.offset + 2}"  # after a transaction marker
        assert f"{location}: published by another version of rampwatch" in second.log_text()
        rows = read_topic(settings, INCIDENTS)
        assert [each.key for each in rows if each.key == row.key] == [row.key, row.key], "nothing after the two"
        assert [each.key.decode() for each in rows if each.key != row.key] == [pair_id("sound", "SIM 808")]


def publish_row(settings: Any, like: Any, value: bytes) -> None:
    """Publish a value with the key, the headers and the partition of another row."""

    async def send() -> None:
        async with AIOKafkaProducer(bootstrap_servers=settings.broker) as producer:
            await producer.send_and_wait(like.topic, value, like.key, like.partition, headers=list(like.headers))

    asyncio.run(send())
