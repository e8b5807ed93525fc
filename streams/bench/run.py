"""One run of the bench: everything in turn, round after round, so that a noisy machine is noisy to all alike."""

from __future__ import annotations

import asyncio
import functools
import os
import secrets
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import msgspec

from streams.bench.engine import bytes_per_read, engine_rounds
from streams.bench.latency import latencies
from streams.bench.processes import BenchError
from streams.bench.throughput import rates
from streams.bench.traffic import day, fill
from streams.core.errors import RampwatchError
from streams.core.rules import JoinRules
from streams.core.site import Site
from streams.kafka import topics
from streams.local_broker.broker import BrokerUnavailable, LocalBroker
from streams.settings import Settings
from streams.simulate.scenarios import Scenario, days, local_midnight

Say = Callable[[str], None]

_SESSION_MS: Final = 6_000
"""The least that brokers take as they come: so soon a killed worker's partitions go to its successor."""


class BenchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How much of everything to measure."""

    rounds: int = 5
    reads: int = 600_000
    stock_reads: int = 20_000
    """For the stock agent, which is tens of times slower."""
    latency_s: float = 20.0
    kept_reads: int = 1_000_000
    """In memory, to see what one takes."""
    broker: bool = True


QUICK: Final = BenchPlan(rounds=1, reads=40_000, stock_reads=3_000, latency_s=3.0, kept_reads=50_000)
"""Everything once and little of it: whether it works, not how fast it is."""


BASELINES: Final = {
    "worker_of_bare": ("worker_per_s", "bare_per_s"),
    "worker_of_stock_faust": ("worker_per_s", "stock_faust_per_s"),
    "rebuild_of_bare": ("rebuild_per_s", "bare_per_s"),
    "shot_to_incident_of_round_trip": ("shot_to_incident_p99_ms", "round_trip_p99_ms"),
}
"""Names of ratios: of which figure, to which."""


class Figures(msgspec.Struct, kw_only=True):
    """Medians over the rounds; None where nothing could be measured, and then ``notes`` says why."""

    bare_per_s: float | None = None
    """Plate reads a second through a bare aiokafka loop that fetches, decodes and validates."""
    stock_faust_per_s: float | None = None
    """The same through a stock Faust agent with a Record and no state."""
    worker_per_s: float | None = None
    """The same through a worker: the full join, metrics served and asked for."""
    rebuild_per_s: float | None = None
    """Records a second that a worker takes back in after it was killed, until all partitions are ready."""
    round_trip_p99_ms: float | None = None
    """From a plain producer to a plain consumer, while 5 000 reads a second flow."""
    shot_to_incident_p99_ms: float | None = None
    """From the send of a shot to the receipt of its incident (``read_committed``), under the same load."""
    bytes_per_read: float
    """Growth of the process over reads with random ids of 16 characters."""
    engine_per_s: float
    """Events a second through the engine alone, decoded before, of a simulated day."""
    engine_worst_per_s: float
    """The same where every plate is listed and a shot falls every second."""
    engine_worst_incidents_per_s: float
    """Revisions of incidents that came of it."""
    spread: dict[str, tuple[float, float]]
    """The least and the greatest of the rounds."""
    ratios: dict[str, float]
    """How many times its yardstick a figure is, compared within each round: the median."""
    notes: list[str]


def bench(site: Site, settings: Settings, plan: BenchPlan, say: Say) -> Figures:
    """Measure everything and return the figures; without Kafka, of the engine alone."""
    say("making a day of traffic")
    scenario = days(site, 7, 1, local_midnight(site, "2026-06-05"))
    measured: dict[str, list[float]] = {}
    notes: list[str] = []
    try:
        if plan.broker:
            with _kafka(settings, say) as ours:
                _all_in_turn(site, ours, scenario, plan, measured, say)
        else:
            raise BrokerUnavailable("not asked for")
    except BrokerUnavailable as error:
        notes.append(f"no Kafka ({error}): the engine alone was measured")
        _engine_rounds(scenario, plan, measured, say)
    say(f"memory of {plan.kept_reads:,} reads")
    measured["bytes_per_read"] = [bytes_per_read(site, JoinRules(), plan.kept_reads)]
    return _figures(measured, notes)


def _figures(measured: Mapping[str, list[float]], notes: list[str]) -> Figures:
    medians = {name: statistics.median(values) for name, values in measured.items()}
    spread = {name: (min(values), max(values)) for name, values in measured.items()}
    ratios = {
        name: statistics.median(one / other for one, other in zip(measured[of], measured[to], strict=True))
        for name, (of, to) in BASELINES.items()
        if of in measured and to in measured
    }
    return msgspec.convert({**medians, "spread": spread, "ratios": ratios, "notes": notes}, Figures)


def _all_in_turn(
    site: Site, settings: Settings, scenario: Scenario, plan: BenchPlan, measured: dict[str, list[float]], say: Say
) -> None:
    say(f"filling the topics with {plan.reads:,} reads")
    with _topics(settings, "day") as of_day:
        filled = asyncio.run(fill(of_day.broker, of_day.prefix, day(site, plan.reads, round(time.time() * 1000))))
        engine = engine_rounds(scenario)
        for number in range(plan.rounds):
            say_round = functools.partial(_say_of_round, say, number, plan.rounds)
            of_round = msgspec.structs.replace(of_day, group=f"round-{number}")
            _note(measured, rates(of_round, filled, plan.stock_reads, say_round))
            say_round("from shot to incident, under load")
            with _topics(settings, f"latency-{number}") as of_latency:
                _note(measured, latencies(of_latency, site, plan.latency_s))
            say_round("the engine alone")
            _note(measured, next(engine))


def _engine_rounds(scenario: Scenario, plan: BenchPlan, measured: dict[str, list[float]], say: Say) -> None:
    engine = engine_rounds(scenario)
    for number in range(plan.rounds):
        _say_of_round(say, number, plan.rounds, "the engine alone")
        _note(measured, next(engine))


def _say_of_round(say: Say, number: int, rounds: int, what: str) -> None:
    say(f"round {number + 1} of {rounds}: {what}")


def _note(measured: dict[str, list[float]], round_: msgspec.Struct) -> None:
    for name, value in msgspec.structs.asdict(round_).items():
        if value is not None:
            measured.setdefault(name, []).append(value)


@contextmanager
def _kafka(settings: Settings, say: Say) -> Iterator[Settings]:
    """Settings for a broker that answers: the one that is set, or one started for the bench."""
    if settings.security_protocol != "PLAINTEXT":
        raise BenchError("the bench measures a broker that asks for nothing; unset RAMPWATCH_SECURITY_PROTOCOL")
    if settings.security_protocol != Settings().security_protocol:
        raise RampwatchError(
            f"RAMPWATCH_SECURITY_PROTOCOL={settings.security_protocol}: the yardsticks speak PLAINTEXT only; unset it, "
            "and name a broker that takes it or none, so that one is started"
        )
    if "RAMPWATCH_BROKER" in os.environ or settings.broker != Settings().broker:
        yield settings
        return
    with LocalBroker.start(say=say) as broker:
        yield msgspec.structs.replace(settings, broker=broker.address)


@contextmanager
def _topics(settings: Settings, name: str) -> Iterator[Settings]:
    """Topics of the bench's own, gone again afterwards."""
    prefix = f"bench-{secrets.token_hex(4)}-{name}-"
    ours = msgspec.structs.replace(settings, prefix=prefix, session_timeout_ms=_SESSION_MS)
    asyncio.run(topics.create(ours))
    try:
        yield ours
    finally:
        asyncio.run(topics.delete(ours))
