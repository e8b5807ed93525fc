"""The bench measures what it says, on a real Kafka: a short run of all of it."""

from __future__ import annotations

import subprocess

import msgspec
import pytest

from streams.bench.run import BASELINES, Figures
from streams.local_broker.broker import LocalBroker
from tests.kafka.conftest import GivenBroker
from tests.kafka.driving import COMMAND, environment, topic_names

PER_S = ("bare_per_s", "stock_faust_per_s", "worker_per_s", "rebuild_per_s")
P99_MS = ("round_trip_p99_ms", "shot_to_incident_p99_ms")


@pytest.mark.slow
def test_a_quick_bench_measures_everything_and_leaves_nothing_behind(broker: LocalBroker | GivenBroker) -> None:
    before = set(topic_names(broker.address))
    ended = subprocess.run(
        [*COMMAND, "bench", "--quick", "--json"],
        env=environment(RAMPWATCH_BROKER=broker.address),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert {"round 1 of 1: a worker", "round 1 of 1: its rebuild after a kill"} <= set(ended.stderr.splitlines())
    told = msgspec.json.decode(ended.stdout)
    assert {*PER_S, *P99_MS, "bytes_per_read"} <= told.keys()
    figures = msgspec.convert(told, Figures)
    assert figures.notes == []
    for name in PER_S:
        # a record an hour would be wrong, and so would be more than memory itself can move
        assert 100 < told[name] < 10_000_000, name
        assert told["spread"][name] == [told[name], told[name]]
    assert figures.worker_per_s is not None
    assert figures.stock_faust_per_s is not None
    assert figures.worker_per_s > figures.stock_faust_per_s
    assert figures.ratios["worker_of_bare"] == pytest.approx(told["worker_per_s"] / told["bare_per_s"])
    assert figures.ratios.keys() == BASELINES.keys()
    for name in P99_MS:
        assert 0.1 < told[name] < 30_000, name
    assert 10 < figures.bytes_per_read < 200
    assert not {name for name in set(topic_names(broker.address)) - before if name.startswith("bench-")}
