"""The quantiles match the real records, and samples follow the quantiles."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from deploy.make_observed import followers, quantiles, theft_windows_min
from streams.simulate.observed import FOLLOWING_M, FOLLOWING_S, FOLLOWING_SHARE, THEFT_WINDOW_MIN, sample_quantiles
from tests.paths import SHARED

SHARED_DATA = SHARED / "data"


def data_folder(name: str) -> Path:
    if not (SHARED_DATA / name).exists():
        pytest.skip(f"the records are not beside the checkout: {SHARED_DATA / name}")
    return SHARED_DATA


def test_theft_windows_match_the_real_records():
    assert quantiles(theft_windows_min(data_folder("vehicle-thefts/nyc-2014-2017.csv.gz")), 40, 38) == THEFT_WINDOW_MIN


def test_gaps_between_following_shots_match_the_real_records():
    share, seconds, metres = followers(data_folder("kansas-city/activations.csv"))
    assert share == pytest.approx(FOLLOWING_SHARE, abs=0.005)
    assert quantiles(seconds, 20, 20) == FOLLOWING_S
    assert quantiles(metres, 20, 20) == FOLLOWING_M


def test_samples_have_the_quantiles_they_are_drawn_from():
    rng = random.Random(1)
    values = sorted(sample_quantiles((0, 10, 100), rng) for _ in range(10_000))
    assert values[0] >= 0
    assert values[-1] <= 100
    assert values[5_000] == pytest.approx(10, abs=0.5)
    assert values[7_500] == pytest.approx(55, abs=3)


def test_samples_beyond_the_last_quantile_equal_the_last_quantile():
    rng = random.Random(1)
    values = [sample_quantiles((0, 10), rng, 0.5) for _ in range(10_000)]
    assert sum(value == 10 for value in values) / len(values) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("table", [THEFT_WINDOW_MIN, FOLLOWING_S, FOLLOWING_M])
def test_quantiles_never_decrease(table):
    assert list(table) == sorted(table)
