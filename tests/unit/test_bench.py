from __future__ import annotations

from streams.bench.engine import bytes_per_read, engine_rounds
from streams.core.rules import JoinRules
from streams.scenes import days, local_midnight
from streams.sites import load_site

SITE = load_site("hartford")


def test_a_kept_read_of_a_plate_that_nobody_lists_takes_less_than_a_hundred_bytes():
    assert 10 < bytes_per_read(SITE, JoinRules(), 300_000) < 100


def test_the_engine_is_measured_and_the_worst_case_makes_incidents():
    figures = next(engine_rounds(days(SITE, 7, 1, local_midnight(SITE, "2026-06-05"))))
    assert figures.engine_per_s > figures.engine_worst_per_s > 0
    assert figures.engine_worst_incidents_per_s > 0
