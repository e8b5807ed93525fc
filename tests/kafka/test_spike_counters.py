"""The live counters: they equal the replay's under any leader, and alarms are withdrawn."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from streams.core.topics import ALERTS, COUNTERS, SHOTS, TALLIES
from streams.replay.archive import read_archive
from streams.replay.player import Playable
from streams.replay.run import CounterOptions, replay
from streams.resources.sites import load_site
from streams.settings import Settings
from tests.drivers.brokers import Broker
from tests.drivers.replayed import replayed
from tests.drivers.topics import last_values, publish, read_topic, topics_of
from tests.drivers.waiting import eventually
from tests.drivers.workers import Worker, await_handled, worker
from tests.worlds.evening import evening
from tests.worlds.pairs import EVENING_MS, HOUR_MS, MINUTE_MS, playable

DAY_MS = 86_400_000
QUIET_DAYS, BUSY_DAYS = 100, 10
NOON_MS = EVENING_MS - 7 * 60 * MINUTE_MS
LEAVES_AFTER_MS = 15_000
"""How soon a shot leaves the last hour: time enough for the counters to show it there first."""


def substance(counter: dict[str, Any]) -> Any:
    """A counter without its rates, which depend on the time of day."""
    spans = {name: {k: v for k, v in span.items() if k in COUNTS} for name, span in counter["periods"].items()}
    return spans, counter["recent"], counter["by_status"], counter["alarm"]


def substances(counters: dict[str, Any]) -> dict[str, Any]:
    return {key: substance(counter) for key, counter in counters.items()}


COUNTS = ("from_ms", "to_ms", "count", "comparison_count", "difference", "percent")


def by_replay(settings: Settings, folder: Path, as_of_ms: int) -> dict[str, Any]:
    """The replay's counters on the records in the topics, which `replayed` has read back."""
    records, site = read_archive(folder / "in", settings.partitions), load_site(settings.site)
    options = CounterOptions(settings.counters, as_of_ms)
    replay(records, site, settings.join, folder / "counted", settings.partitions, lambda _: None, options)
    lines = map(msgspec.json.decode, (folder / "counted" / f"{COUNTERS}.jsonl").read_bytes().splitlines())
    return {line["key"]: substance(line["value"]) for line in lines}


def await_values(worker: Worker, settings: Settings, topic: str, is_true: Callable[[dict[str, Any]], bool]) -> None:
    eventually([worker], lambda: is_true(last_values(settings, topic)), f"{topic} does not reach the expected values")


def test_counters_through_kafka_are_those_of_the_replay_after_a_leader_change(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    records = evening(EVENING_MS)
    middle = len(records) // 2
    with topics_of(broker.address, prefix) as settings:
        with worker(settings, tmp_path, name="first") as first:
            publish(settings, records[:middle])
            await_values(first, settings, COUNTERS, lambda values: len(values) > 0)
            first.kill()
        with worker(settings, tmp_path, name="second") as second:
            publish(settings, records[middle:])
            await_handled(settings, second)
            assert replayed(settings, tmp_path).differences == []
            latest_ms = max(counter["as_of_ms"] for counter in last_values(settings, COUNTERS).values())
            await_values(
                second,
                settings,
                COUNTERS,
                lambda values: substances(values) == by_replay(settings, tmp_path, as_of(values)),
            )
            shown = second.metrics()
            counters = last_values(settings, COUNTERS)
        tallies = [row.value for row in read_topic(settings, TALLIES)]
    assert as_of(counters) >= latest_ms
    count = counters["linked_incidents/city"]["periods"]["last_28d_vs_prior_28d"]["count"]
    assert count > 10
    sample = 'rampwatch_spike_city_events{kind="linked_incidents",period="last_28d_vs_prior_28d"}'
    assert f"{sample} {count}.0" in shown
    assert not [value for value in tallies if b"plate" in value]


def as_of(counters: dict[str, Any]) -> int:
    return max(counter["as_of_ms"] for counter in counters.values())


def shots(day: int, count: int, **more: Any) -> list[Playable]:
    """Some shots on a day, minutes apart, at one position."""
    begin_ms = NOON_MS + day * DAY_MS
    return [
        playable(
            SHOTS,
            begin_ms + n * MINUTE_MS + more.get("revision", 0) * 1000,
            f"S-{day}-{n}",
            **{
                "alert_id": f"S-{day}-{n}",
                "kind": "multiple_gunshots",
                "occurred_at_ms": begin_ms + n * MINUTE_MS,
                "lat": 41.7712,
                "lon": -72.6931,
                **more,
            },
        )
        for n in range(count)
    ]


def test_an_alarm_survives_its_worker_and_is_withdrawn_when_its_shots_are_dismissed(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    quiet = [shot for day in range(QUIET_DAYS) for shot in shots(day, 1)]
    busy = range(QUIET_DAYS, QUIET_DAYS + BUSY_DAYS)
    with topics_of(broker.address, prefix) as settings:
        with worker(settings, tmp_path, name="first") as first:
            publish(settings, [*quiet, *(shot for day in busy for shot in shots(day, 6))])
            publish(settings, shots(QUIET_DAYS + BUSY_DAYS, 1))  # the last busy day is over
            await_values(first, settings, ALERTS, bool)
            raised = last_values(settings, ALERTS)
            first.kill()
        assert {alert["status"] for alert in raised.values()} == {"raised"}
        assert any(alert["zone_id"] == "city" for alert in raised.values())
        with worker(settings, tmp_path, name="second") as second:
            dismissed = [shot for day in busy for shot in shots(day, 6, revision=1, status="dismissed")]
            publish(settings, dismissed)
            await_handled(settings, second)
            await_values(
                second, settings, ALERTS, lambda values: {one["status"] for one in values.values()} == {"withdrawn"}
            )
            # an alert may be withdrawn before the last dismissals are counted
            await_values(second, settings, COUNTERS, lambda values: dismissed_in(values) == 6 * BUSY_DAYS)
            counters = last_values(settings, COUNTERS)
        rows = [msgspec.json.decode(row.value) for row in read_topic(settings, ALERTS)]
    assert counters["shots/city"]["alarm"] is None
    last: dict[str, int] = {}
    for alert in rows:
        assert alert["revision"] == last.get(alert["spike_id"], 0) + 1, "a revision was repeated or left out"
        last[alert["spike_id"]] = alert["revision"]


def dismissed_in(counters: dict[str, Any]) -> int:
    count: int = counters["shots/city"]["by_status"]["dismissed"]
    return count


def test_counters_follow_the_clock_without_input(broker: Broker, tmp_path: Path) -> None:
    """Without a prefix the machine's clock counts: a shot leaves the last hour."""
    now_ms = round(time.time() * 1000)
    with topics_of(broker.address, "") as settings, worker(settings, tmp_path) as running:
        shot = {
            "kind": "single_gunshot",
            "occurred_at_ms": now_ms - HOUR_MS + LEAVES_AFTER_MS,
            "lat": 41.77,
            "lon": -72.69,
        }
        publish(settings, [playable(SHOTS, now_ms, f"S-{now_ms}", alert_id=f"S-{now_ms}", **shot)])
        city = "shots/city"
        await_values(running, settings, COUNTERS, lambda values: city in values and values[city]["recent"]["h1"] > 0)
        await_values(running, settings, COUNTERS, lambda values: values[city]["recent"]["h1"] == 0)
        assert last_values(settings, COUNTERS)[city]["recent"]["h24"] > 0
