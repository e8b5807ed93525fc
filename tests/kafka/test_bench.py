"""The bench measures what it claims to, on a real Kafka: a short run of all of it."""

from __future__ import annotations

import msgspec
import pytest

from streams.bench.run import BASELINES, Figures
from tests.drivers.brokers import Broker, topic_names
from tests.drivers.command import rampwatch

PER_S = ("bare_per_s", "stock_faust_per_s", "worker_per_s", "rebuild_per_s")
P99_MS = ("round_trip_p99_ms", "shot_to_incident_p99_ms")


@pytest.mark.slow
def test_a_quick_bench_measures_everything_and_leaves_nothing_behind(broker: Broker) -> None:
    before = set(topic_names(broker.address))
    ended = rampwatch("bench", "--quick", "--json", timeout_s=200, RAMPWATCH_BROKER=broker.address)
    assert ended.returncode == 0, ended.stderr
    assert {"round 1 of 1: a worker", "round 1 of 1: its rebuild after a kill"} <= set(ended.stderr.splitlines())
    printed = msgspec.json.decode(ended.stdout)
    assert {*PER_S, *P99_MS, "bytes_per_read"} <= printed.keys()
    figures = msgspec.convert(printed, Figures)
    assert figures.notes == []
    for name in PER_S:
        # a record an hour would be wrong, and so would more than memory can move
        assert 100 < printed[name] < 10_000_000, name
        assert printed["spread"][name] == [printed[name], printed[name]]
    assert figures.worker_per_s is not None
    assert figures.stock_faust_per_s is not None
    assert figures.worker_per_s > figures.stock_faust_per_s
    assert figures.ratios["worker_of_bare"] == pytest.approx(printed["worker_per_s"] / printed["bare_per_s"])
    assert figures.ratios.keys() == BASELINES.keys()
    for name in P99_MS:
        assert 0.1 < printed[name] < 30_000, name
    assert 10 < figures.bytes_per_read < 200
    assert not {name for name in set(topic_names(broker.address)) - before if name.startswith("bench-")}
