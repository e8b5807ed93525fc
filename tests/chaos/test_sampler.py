"""Growth is judged at equal moments, by a line through the samples, and never by a single peak."""

from __future__ import annotations

import os
import random

import pytest

from tests.chaos.sampler import EVERY_S, FIRST_S, GROWTH_MAX, Sample, Usage, as_objects, sample_of, table

GAPS = [(300.0 * n + 240, 300.0 * n + 300) for n in range(12)]
HOUR_S = 3_600


def usage(mb_per_hour: float = 0.0, fds_per_hour: float = 0.0, threads_per_hour: float = 0.0) -> Usage:
    """An hour of a worker that uses much more while it works than in the gaps."""
    rng = random.Random(1)
    samples = []
    for n in range(round(HOUR_S / EVERY_S)):
        at_s, hours = n * EVERY_S, n * EVERY_S / HOUR_S
        busy = 0 if any(from_s <= at_s < to_s for from_s, to_s in GAPS) else rng.randrange(60)
        filling_mb = min(40.0, at_s / 10)
        rss_mb = 100 + filling_mb + busy + rng.uniform(-2, 2) + mb_per_hour * hours
        fds = round(20 + busy / 10 + fds_per_hour * hours)
        samples.append(Sample(at_s, rss_mb, fds, round(6 + threads_per_hour * hours)))
    return Usage("worker 1", samples, GAPS)


def test_a_worker_that_fills_its_memory_once_and_works_in_bursts_does_not_grow() -> None:
    assert list(usage().grown()) == []
    assert abs(usage().growth("rss_mb") or 0.0) < 2


@pytest.mark.parametrize(
    ("leak", "name"),
    [({"mb_per_hour": 60.0}, "rss_mb"), ({"fds_per_hour": 15.0}, "fds"), ({"threads_per_hour": 8.0}, "threads")],
)
def test_a_leak_is_growth(leak: dict[str, float], name: str) -> None:
    (sentence,) = usage(**leak).grown()
    assert sentence.startswith(f"worker 1: {name} grew by")


def test_a_short_life_is_not_judged() -> None:
    whole = usage(mb_per_hour=1_000)
    short = Usage("worker 2", [s for s in whole.samples if s.at_s < FIRST_S], GAPS)
    assert list(short.grown()) == []
    assert {short.growth(name) for name in GROWTH_MAX} == {None}
    assert list(Usage("worker 3").grown()) == []


def test_the_table_shows_the_worker_that_lived_longest_and_the_greatest_of_all() -> None:
    lines = list(table([Usage("worker 2"), usage(), Usage("worker 3", [Sample(5.0, 900.0, 30, 9)], GAPS)]))
    assert lines[0].startswith("worker 1")
    assert lines[-2].startswith("growth in the second half: rss_mb ")
    assert lines[-1] == "greatest of 2 workers: rss_mb 900, fds 30, threads 9"
    assert as_objects([usage()])[0]["growth"]["fds"] is not None


def test_a_sample_is_of_the_process() -> None:
    sample = sample_of(os.getpid(), 7.04)
    assert sample.at_s == 7.0
    assert 10 < sample.rss_mb < 10_000
    assert sample.fds > 2
    assert sample.threads >= 1
