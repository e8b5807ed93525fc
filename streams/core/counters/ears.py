"""EARS C1, C2 and C3 (Hutwagner et al. 2003): a day's count against the mean and deviation of the days before it.

C1 compares with the ``baseline`` days just before, C2 leaves two days between, so that the rise itself does not become
the baseline; both alarm above 3 standard deviations. C3 adds up the last three days of C2, each less 1 and at least 0,
and alarms above 2. Where the days before were all alike their deviation is 0, and any count above them infinitely many
deviations away: an alarm, unless a least deviation is set. They stand beside the alarms for comparison: they know
nothing of how often they are wrong.
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
"""Days in the first dimension, and any further ones."""

C1_ALARM: Final = 3.0
C2_ALARM: Final = 3.0
C3_ALARM: Final = 2.0
C2_GAP: Final = 2
"""Days between the day and its baseline."""


def c1(counts: Counts, baseline: int = 28, least_deviation: float = 1.0) -> Counts:
    """Return C1 for each day; NaN where there is no whole baseline yet, or nothing deviates: not the day either."""
    return _deviations(counts, baseline, 0, least_deviation)


def c2(counts: Counts, baseline: int = 28, least_deviation: float = 1.0) -> Counts:
    """Return C2 for each day; NaN where there is no whole baseline yet, or nothing deviates: not the day either."""
    return _deviations(counts, baseline, C2_GAP, least_deviation)


def c3(counts: Counts, baseline: int = 28, least_deviation: float = 1.0) -> Counts:
    """Return C3 for each day; NaN where one of the three days of C2 that it adds up is."""
    above: Counts = np.maximum(c2(counts, baseline, least_deviation) - 1, 0)
    told: Counts = np.full_like(above, np.nan)
    told[2:] = above[2:] + above[1:-1] + above[:-2]
    return told


def _deviations(counts: Counts, baseline: int, gap: int, least: float) -> Counts:
    told = np.full(counts.shape, np.nan)
    days = len(counts) - baseline - gap
    if days <= 0:
        return told
    windows = np.lib.stride_tricks.sliding_window_view(counts, baseline, axis=0)[:days]
    deviation = np.maximum(windows.std(axis=-1, ddof=1), least)
    with np.errstate(divide="ignore", invalid="ignore"):
        told[baseline + gap :] = (counts[baseline + gap :] - windows.mean(axis=-1)) / deviation
    return told


# ---------------------------------------------------------------------- the days on which C2 would have alarmed

BASELINE_DAYS: Final = 28
LEAST_DEVIATION: Final = 1.0


class C2Alarm(Struct, frozen=True):
    """A completed local day of a zone that counted more than 3 deviations above its 28 days."""

    kind: Kind
    zone_id: str
    day: LocalDate
    count: int
    statistic: float


def c2_alarms(engine: CounterEngine) -> list[C2Alarm]:
    """Return every day that EARS C2 alarms on: by kind and zone, the city last, then by day."""
    found: list[C2Alarm] = []
    for kind in KINDS:
        days = engine.day_counts(kind)
        if days is None:
            continue
        statistic = c2(days.counts, BASELINE_DAYS, LEAST_DEVIATION)
        for column, day in np.argwhere(np.nan_to_num(statistic).T > C2_ALARM):
            when = date.fromordinal(days.first_day + int(day)).isoformat()
            value = round(float(statistic[day, column]), 3)
            found.append(C2Alarm(kind, engine.zone_ids[column], when, int(days.counts[day, column]), value))
    return found
