"""EARS C1, C2 and C3 (Hutwagner et al. 2003): a day's count against the days before it.

C1 compares a day with the mean and standard deviation of the ``baseline`` days just before it. C2
leaves two days between, so that the rise itself does not become part of the baseline. Both alarm
above 3 standard deviations. C3 adds up the last three days of C2, each less 1 and at least 0, and
alarms above 2. If all days of a baseline have the same count, its deviation is 0 and any higher
count is infinitely many deviations away. That is an alarm, unless a least deviation is set.

They are there for comparison with the alarms: their rate of false alarms is not controlled.
"""

from __future__ import annotations

from datetime import date
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from streams.core.counters.engine import CounterEngine
from streams.core.counters.events import KINDS, Kind, LocalDate

Counts = NDArray[Any]
"""Days are the first dimension; there may be others."""

C1_ALARM: Final = 3.0
C2_ALARM: Final = 3.0
C3_ALARM: Final = 2.0
C2_GAP: Final = 2
"""Days between a day and its baseline."""


def c1(counts: Counts, baseline: int = 28, least_deviation: float = 1.0) -> Counts:
    """Return C1 of each day; NaN without a whole baseline, or where the day and it do not vary."""
    return _deviations(counts, baseline, 0, least_deviation)


def c2(counts: Counts, baseline: int = 28, least_deviation: float = 1.0) -> Counts:
    """Return C2 of each day; NaN without a whole baseline, or where the day and it do not vary."""
    return _deviations(counts, baseline, C2_GAP, least_deviation)


def c3(counts: Counts, baseline: int = 28, least_deviation: float = 1.0) -> Counts:
    """Return C3 of each day; NaN where any of its three days of C2 is NaN."""
    above: Counts = np.maximum(c2(counts, baseline, least_deviation) - 1, 0)
    statistic: Counts = np.full_like(above, np.nan)
    statistic[2:] = above[2:] + above[1:-1] + above[:-2]
    return statistic


def _deviations(counts: Counts, baseline: int, gap: int, least: float) -> Counts:
    statistic = np.full(counts.shape, np.nan)
    days = len(counts) - baseline - gap
    if days <= 0:
        return statistic
    windows = np.lib.stride_tricks.sliding_window_view(counts, baseline, axis=0)[:days]
    deviation = np.maximum(windows.std(axis=-1, ddof=1), least)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic[baseline + gap :] = (counts[baseline + gap :] - windows.mean(axis=-1)) / deviation
    return statistic


# ---------------------------------------------------------------------- the days on which C2 alarms

BASELINE_DAYS: Final = 28
LEAST_DEVIATION: Final = 1.0


class C2Alarm(Struct, frozen=True):
    """A completed local day of a zone whose count is over 3 deviations above its baseline."""

    kind: Kind
    zone_id: str
    day: LocalDate
    count: int
    statistic: float


def c2_alarms(engine: CounterEngine) -> list[C2Alarm]:
    """Return every day on which EARS C2 alarms: by kind, by zone with the city last, and by day."""
    alarms: list[C2Alarm] = []
    for kind in KINDS:
        days = engine.day_counts(kind)
        if days is None:
            continue
        statistic = c2(days.counts, BASELINE_DAYS, LEAST_DEVIATION)
        for column, day in np.argwhere(np.nan_to_num(statistic).T > C2_ALARM):
            local_date = date.fromordinal(days.first_day + int(day)).isoformat()
            value = round(float(statistic[day, column]), 3)
            alarms.append(C2Alarm(kind, engine.zone_ids[column], local_date, int(days.counts[day, column]), value))
    return alarms
