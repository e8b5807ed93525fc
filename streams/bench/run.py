"""One benchmark run: all measurements in turn, in rounds, so that noise affects all alike."""

from __future__ import annotations

import asyncio
import functools
import os
import secrets
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import msgspec

from streams.bench.engine import bytes_per_read, engine_rounds
from streams.bench.latency import latencies
from streams.bench.processes import BenchError
from streams.bench.throughput import rates
from streams.bench.traffic import day, fill
from streams.console.screen import Report
from streams.core.rules import JoinRules
from streams.core.site import Site
from streams.kafka import topics
from streams.local_broker.broker import BrokerUnavailable, LocalBroker
from streams.settings import Settings
from streams.simulate.scenarios import Scenario, days, local_midnight

_STEPS_A_ROUND: Final = 6
_SESSION_MS: Final = 6_000
"""The shortest session timeout that brokers accept by default.

A killed worker's partitions are reassigned after this time.
"""


class BenchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How much to measure."""

    rounds: int = 5
    reads: int = 600_000
    stock_reads: int = 20_000
    """Reads for the stock Faust agent, which is tens of times slower."""
    latency_s: float = 20.0
    kept_reads: int = 1_000_000
    """Reads retained in memory, to measure the bytes per read."""
    broker: bool = True


QUICK: Final = BenchPlan(rounds=1, reads=40_000, stock_reads=3_000, latency_s=3.0, kept_reads=50_000)
"""One short round of everything, to see whether it works rather than how fast it is."""

BASELINES: Final = {
    "worker_of_bare": ("worker_per_s", "bare_per_s"),
    "worker_of_stock_faust": ("worker_per_s", "stock_faust_per_s"),
    "rebuild_of_bare": ("rebuild_per_s", "bare_per_s"),
    "shot_to_incident_of_round_trip": ("shot_to_incident_p99_ms", "round_trip_p99_ms"),
}
"""Name of each ratio to the figure measured and the baseline that divides it."""


class Figures(msgspec.Struct, kw_only=True):
    """Medians over the rounds; None if not measured, with the reason in ``notes``."""

    bare_per_s: float | None = None
    """Plate reads per second through a bare aiokafka loop that fetches, decodes and validates."""
    stock_faust_per_s: float | None = None
    """The same through a stock Faust agent with a Record and no state."""
    worker_per_s: float | None = None
    """The same through a worker: the full join, with metrics served and scraped."""
    rebuild_per_s: float | None = None
    """Records per second read back after a kill, until all partitions are ready."""
    round_trip_p99_ms: float | None = None
    """From a plain producer to a plain consumer, under a load of 5 000 reads per second."""
    shot_to_incident_p99_ms: float | None = None
    """From sending a shot to receiving its incident (``read_committed``), under the same load."""
    bytes_per_read: float
    """Memory growth of a process per retained read, with random ids of 16 characters."""
    engine_per_s: float
    """Events per second through the engine alone, for a simulated day decoded beforehand."""
    engine_worst_per_s: float
    """The same with every plate listed and one shot per second."""
    engine_worst_incidents_per_s: float
    """Incident revisions per second in that worst case."""
    spread: dict[str, tuple[float, float]]
    """Minimum and maximum over the rounds."""
    ratios: dict[str, float]
    """Ratio of a figure to its baseline, taken within each round: the median."""
    notes: list[str]


def bench(site: Site, settings: Settings, plan: BenchPlan, report: Report) -> Figures:
    """Measure everything and return the figures; without Kafka, measure the engine alone."""
    steps = _Steps(report, 3 + _STEPS_A_ROUND * plan.rounds)
    steps.begin("simulating a day of traffic")
    scenario = days(site, 7, 1, local_midnight(site, "2026-06-05"))
    measured: dict[str, list[float]] = {}
    notes: list[str] = []
    try:
        if plan.broker:
            with _kafka(settings, steps) as bench_settings:
                _all_rounds(site, bench_settings, scenario, plan, measured, steps)
        else:
            raise BrokerUnavailable("turned off by --no-broker")
    except BrokerUnavailable as error:
        notes.append(f"measured the engine alone, without Kafka: {error}")
        steps.total = 2 + plan.rounds
        _engine_rounds(scenario, plan, measured, steps)
    steps.begin(f"memory of {plan.kept_reads:,} reads")
    measured["bytes_per_read"] = [bytes_per_read(site, JoinRules(), plan.kept_reads)]
    return _figures(measured, notes)


class _Steps:
    """Counts the steps of a run and reports them, with the share of all that is done."""

    def __init__(self, report: Report, total: int) -> None:
        self.total = total
        self._report = report
        self._begun = 0

    def begin(self, step: str) -> None:
        """Report the next step."""
        self._begun += 1
        self.note(step)

    def note(self, line: str) -> None:
        """Report something that is part of the present step."""
        self._report(line, max(0, self._begun - 1) / self.total)


def _figures(measured: Mapping[str, list[float]], notes: list[str]) -> Figures:
    medians = {name: statistics.median(values) for name, values in measured.items()}
    spread = {name: (min(values), max(values)) for name, values in measured.items()}
    ratios = {
        name: statistics.median(value / base for value, base in zip(measured[figure], measured[baseline], strict=True))
        for name, (figure, baseline) in BASELINES.items()
        if figure in measured and baseline in measured
    }
    return msgspec.convert({**medians, "spread": spread, "ratios": ratios, "notes": notes}, Figures)


def _all_rounds(
    site: Site,
    settings: Settings,
    scenario: Scenario,
    plan: BenchPlan,
    measured: dict[str, list[float]],
    steps: _Steps,
) -> None:
    steps.begin(f"filling the topics with {plan.reads:,} reads")
    with _topics(settings, "day") as day_settings:
        rows = day(site, plan.reads, round(time.time() * 1000))
        filled = asyncio.run(fill(day_settings.broker, day_settings.prefix, rows))
        engine = engine_rounds(scenario)
        for number in range(plan.rounds):
            begin_step = functools.partial(_begin_step, steps, number, plan.rounds)
            round_settings = msgspec.structs.replace(day_settings, group=f"round-{number}")
            _add(measured, rates(round_settings, filled, plan.stock_reads, begin_step))
            begin_step("from shot to incident, under load")
            with _topics(settings, f"latency-{number}") as latency_settings:
                _add(measured, latencies(latency_settings, site, plan.latency_s))
            begin_step("the engine alone")
            _add(measured, next(engine))


def _engine_rounds(scenario: Scenario, plan: BenchPlan, measured: dict[str, list[float]], steps: _Steps) -> None:
    engine = engine_rounds(scenario)
    for number in range(plan.rounds):
        _begin_step(steps, number, plan.rounds, "the engine alone")
        _add(measured, next(engine))


def _begin_step(steps: _Steps, number: int, rounds: int, step: str) -> None:
    steps.begin(f"round {number + 1} of {rounds}: {step}")


def _add(measured: dict[str, list[float]], results: msgspec.Struct) -> None:
    """Add the results of one round to the measured values."""
    for name, value in msgspec.structs.asdict(results).items():
        if value is not None:
            measured.setdefault(name, []).append(value)


@contextmanager
def _kafka(settings: Settings, steps: _Steps) -> Iterator[Settings]:
    """Return settings for a broker: the configured one, or one started for the benchmark."""
    if settings.security_protocol != "PLAINTEXT":
        raise BenchError(
            f"RAMPWATCH_SECURITY_PROTOCOL={settings.security_protocol}: expected PLAINTEXT, since the baselines "
            "connect without security; unset it, and set RAMPWATCH_BROKER to a plaintext listener or unset it too"
        )
    if "RAMPWATCH_BROKER" in os.environ or settings.broker != Settings().broker:
        yield settings
        return
    with LocalBroker.start(report=steps.note) as broker:
        yield msgspec.structs.replace(settings, broker=broker.address)


@contextmanager
def _topics(settings: Settings, name: str) -> Iterator[Settings]:
    """Create topics with a prefix of their own, and delete them afterwards."""
    prefix = f"bench-{secrets.token_hex(4)}-{name}-"
    bench_settings = msgspec.structs.replace(settings, prefix=prefix, session_timeout_ms=_SESSION_MS)
    asyncio.run(topics.create(bench_settings))
    try:
        yield bench_settings
    finally:
        asyncio.run(topics.delete(bench_settings))
