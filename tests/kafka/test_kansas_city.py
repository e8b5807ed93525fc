"""Six years of real gunshots with simulated cars, through Kafka and through the replay."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from streams.core.topics import INPUTS, SHOTS
from streams.importers.kansas_city import load_activations
from streams.replay.player import Playable
from streams.resources.sites import load_site
from streams.simulate.city import simulate
from streams.simulate.plan import CityPlan
from tests.drivers.brokers import Broker
from tests.drivers.replayed import rejected, replayed, totals
from tests.drivers.topics import publish, topics_of
from tests.drivers.workers import await_handled, worker
from tests.lanes import LANE
from tests.paths import SHARED

ACTIVATIONS = SHARED / "data" / "kansas-city" / "activations.csv"
ROWS = 9_649
HOUR_MS = 3_600_000


def records() -> list[Playable]:
    """Every activation and the stolen cars, with little other traffic."""
    activations = load_activations(ACTIVATIONS)
    assert activations.rows == ROWS == activations.imported + len(activations.invalid_rows)
    times = [msgspec.convert(alert["occurred_at_ms"], int) for alert in activations.alerts]
    begin_ms, end_ms = min(times), max(times) + HOUR_MS
    plan = CityPlan(
        begin_ms=begin_ms,
        duration_ms=end_ms - begin_ms,
        stolen_cars=LANE.thefts,
        background_reads_per_minute=0.005,
        ordinary_cars=5_000,
    )
    city = simulate(load_site("kansas-city"), plan, activations.alerts)
    made = [Playable(r.topic, r.stamp_ms, r.key, msgspec.json.encode(r.value)) for r in city.records]
    assert Counter(record.topic for record in made)[SHOTS] == activations.imported
    return made


@pytest.mark.slow
def test_all_activations_of_kansas_city_give_the_same_incidents_through_kafka_and_through_the_replay(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    if not ACTIVATIONS.exists():
        pytest.skip(f"the activations are not beside the checkout: {ACTIVATIONS}")
    made = records()
    with topics_of(broker.address, prefix, "kansas-city") as settings, worker(settings, tmp_path) as running:
        began_s = time.monotonic()
        sent = publish(settings, made)
        await_handled(settings, running)
        handled_s = time.monotonic() - began_s
        outcomes = running.outcomes()
        code, stop_s = running.stop()
        assert code == 0
        began_s = time.monotonic()
        expected = replayed(settings, tmp_path)
        replayed_s = time.monotonic() - began_s
    print(  # noqa: T201 - figures for the log
        f"\n{sent.total():,} records ({', '.join(f'{sent[topic]:,} {topic}' for topic in INPUTS)}), "
        f"{expected.incidents:,} incidents; through Kafka {handled_s:.1f} s, worker stopped in {stop_s:.1f} s, "
        f"read back, replayed and compared in {replayed_s:.1f} s"
    )
    assert expected.differences == []
    assert expected.incidents > LANE.thefts
    assert totals(outcomes) == sent
    assert rejected(outcomes) == rejected(expected.outcomes)
    assert sent[SHOTS] == ROWS
