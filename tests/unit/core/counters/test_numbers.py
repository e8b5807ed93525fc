"""The counters' arithmetic, checked against R (surveillance, poisson.test) and scipy."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from datetime import UTC, date, datetime

import numpy as np
import pytest

from streams.core.counters import cusum, ears
from streams.core.counters.calendar import LocalDays, periods
from streams.core.counters.rates import compare
from tests.paths import SHARED

REFERENCE = SHARED / "reference" / "spikes"
TO_1E9 = {"rel": 1e-9, "abs": 1e-9}


def table(name: str) -> list[dict[str, str]]:
    if not (REFERENCE / name).exists():
        pytest.skip(f"the reference values are not beside the checkout: {REFERENCE / name}")
    with (REFERENCE / name).open() as lines:
        return list(csv.DictReader(lines))


def counts_of(series: str) -> np.ndarray:
    return np.array([int(row["count"]) for row in table(f"input_sim730_{series}.csv")])


# --- two counts


def number(row: dict[str, str], name: str) -> float:
    return float(row[name].replace("NA", "nan").replace("NaN", "nan").replace("Inf", "inf"))


def test_comparing_two_counts_agrees_with_r_and_scipy():
    rows = table("poisson_two_sample_R.csv"), table("poisson_two_sample_py.csv")
    compared = 0
    for in_r, in_python in zip(*rows, strict=True):
        a, b, t_a, t_b = (float(in_r[name]) for name in ("a", "b", "t_a", "t_b"))
        found = compare(int(a), int(b), t_a, t_b)
        if a + b == 0:
            assert found.p_value is None
            continue
        assert found.p_value == pytest.approx(number(in_python, "p_greater_midp"), **TO_1E9)
        if b == 0:
            assert (found.rate_ratio, found.low, found.high) == (None, None, None)
            continue
        compared += 1
        assert found.rate_ratio == pytest.approx(number(in_r, "R_rate_ratio"), **TO_1E9)
        for low, high in ((in_r, "R_ci95"), (in_python, "rr_ci95")):
            exact = "" if high == "R_ci95" else "_exact"
            assert found.low == pytest.approx(number(low, f"{high}_low{exact}"), **TO_1E9)
            assert found.high == pytest.approx(number(low, f"{high}_high{exact}"), **TO_1E9)
    assert compared > 25


def test_the_articles_counts_give_the_articles_rate_ratio():
    found = compare(180, 117, 156.0, 156.0)
    assert found.rate_ratio is not None
    assert [f"{x:.2f}" for x in (found.rate_ratio, found.low, found.high)] == ["1.54", "1.21", "1.96"]
    assert f"{compare(180, 117, 60.0, 59.0).rate_ratio:.2f}" == "1.51"


@pytest.mark.parametrize("exposures", [(0.0, 1.0), (1.0, 0.0)])
def test_without_exposure_there_is_no_comparison(exposures):
    found = compare(3, 4, *exposures)
    assert (found.rate_ratio, found.low, found.high, found.p_value) == (None, None, None, None)


# --- EARS


@pytest.mark.parametrize("method", ["C1", "C2", "C3"])
@pytest.mark.parametrize("series", ["city", "zone"])
def test_ears_matches_the_textbook_definition(method, series):
    counts = counts_of(series)
    of = {"C1": (ears.c1, ears.C1_ALARM), "C2": (ears.c2, ears.C2_ALARM), "C3": (ears.c3, ears.C3_ALARM)}
    function, alarm = of[method]
    rows = [row for row in table("ears.csv") if (row["series"], row["method"]) == (series, method)]
    found = {}
    for row in rows:
        setting = int(row["baseline"]), float(row["minSigma"])
        if setting not in found:
            found[setting] = function(counts, *setting)
        statistic = found[setting][int(row["t"]) - 1]
        assert statistic == pytest.approx(number(row, "stat_textbook"), nan_ok=True, **TO_1E9)
        assert statistic > alarm if row["alarm_textbook"] == "1" else not statistic > alarm
    assert len(found) == 6
    infinite = sum(row["stat_textbook"] == "Inf" for row in rows)
    assert infinite == {"C1": 36, "C2": 27, "C3": 14}[method] * (series == "zone")


def test_ears_alarms_on_any_increase_over_a_baseline_without_variation():
    alike = np.array([1.0] * 9 + [2.0, 1.0, 0.0])
    assert list(ears.c1(alike, 7, 0.0)[7:10]) == pytest.approx([np.nan, np.nan, np.inf], nan_ok=True)
    assert list(ears.c2(alike, 7, 0.0)[9:]) == pytest.approx([np.inf, np.nan, -np.inf], nan_ok=True)
    assert list(ears.c3(np.array([0.0] * 8 + [1.0] * 4), 7, 0.0)[11:]) == [np.inf]
    assert ears.c1(alike, 7)[9] == 1.0


def test_ears_has_no_value_on_the_first_days():
    assert np.isnan(ears.c2(np.ones(30))).all()
    assert list(np.isnan(ears.c2(np.ones(31)))) == [True] * 30 + [False]
    assert np.isnan(ears.c3(np.ones(3))).all()


# --- CUSUM


@pytest.mark.parametrize(("config", "series", "rise"), [("LR_kappa2_c5", "city", 2.0), ("LR_kappa3_c5", "zone", 3.0)])
def test_the_cusum_matches_the_r_package_surveillance(config, series, rise):
    rows = [row for row in table("poisson_cusum_glr.csv") if (row["series"], row["config"]) == (series, config)]
    counts = np.array([float(row["count"]) for row in rows])
    mean = np.array([float(row["mu0"]) for row in rows])
    statistic, alarms = cusum.run(cusum.contributions(counts, mean, rise), 5.0)
    assert len(rows) == 730
    assert statistic == pytest.approx([float(row["stat"]) for row in rows], **TO_1E9)
    assert list(alarms.astype(int)) == [int(row["alarm"]) for row in rows]
    assert alarms.any()


# --- the calendar


WINDOWS = {
    "cur28": ("last_28d_vs_prior_28d", 0),
    "prev28": ("last_28d_vs_prior_28d", 1),
    "ytd": ("ytd_vs_last_year", 0),
    "lytd_same_date": ("ytd_vs_last_year", 1),
    "same28_last_year": ("last_28d_vs_last_year", 1),
}


def instant(text: str) -> int:
    return round(datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp() * 1000)


def test_comparison_windows_match_the_reference_calendar():
    rows = [row for row in table("calendar_windows.csv") if row["window"] in WINDOWS]
    assert len(rows) == 14 * 4 * len(WINDOWS)
    for row in rows:
        days = LocalDays(row["tz"])
        name, which = WINDOWS[row["window"]]
        window = periods(date.fromisoformat(row["as_of_local_date_inclusive"]).toordinal())[name][which]
        assert date.fromordinal(window.first).isoformat() == row["start_local_date"]
        assert date.fromordinal(window.end).isoformat() == row["end_local_date_exclusive"]
        assert len(window) == int(row["n_local_days"])
        begin_ms, end_ms = days.begin_ms(window.first), days.begin_ms(window.end)
        assert (begin_ms, end_ms) == (instant(row["start_utc"]), instant(row["end_utc"]))
        assert (end_ms - begin_ms) / 3_600_000 == float(row["hours"])


def every_hour(zone: str) -> Iterator[tuple[int, int | None, LocalDays]]:
    days = LocalDays(zone)
    for at_ms in range(1_704_067_200_000, 1_704_067_200_000 + 366 * 86_400_000, 1_800_000):
        yield at_ms, days.day_of(at_ms), days


@pytest.mark.parametrize("zone", ["America/New_York", "America/Havana", "Asia/Beirut", "Australia/Lord_Howe"])
def test_a_time_belongs_to_the_day_that_began_most_recently(zone):
    for at_ms, day, days in every_hour(zone):
        assert day is not None
        assert days.begin_ms(day) <= at_ms < days.begin_ms(day + 1)


@pytest.mark.parametrize("at_ms", [-1, -(2**53), 2**53, 253_370_764_800_000])
def test_a_time_outside_the_calendar_has_no_day(at_ms):
    assert LocalDays("America/New_York").day_of(at_ms) is None


def test_cusum_contributions_use_the_natural_logarithm():
    assert cusum.contributions(np.array([1.0]), np.array([0.0]), math.e) == pytest.approx([1.0])
