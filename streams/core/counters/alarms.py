"""The alarms of one kind: what its local days, whole and completed, give, from the first one to the last.

They are worked out anew from all days whenever a day is completed or one before is corrected, so they depend on what
the days hold and on nothing else. A threshold holds from the days on that it was measured on (`thresholds`).

The first one is the first with an event, in the whole city. But a mistyped year or an old entry is no beginning: the
days without anything after it would make a threshold of nothing. Where at least 56 days without an event (`FIRST_DAYS`)
follow fewer than 1 % of as many events as come after them, the data begin after those days; and so on, for as many such
gaps as there are. What is before is no data for alarms. It is counted all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from streams.core.counters.cusum import contributions
from streams.core.counters.expected import bounded, expected
from streams.core.counters.rules import CounterRules
from streams.core.counters.thresholds import FIRST_DAYS, QUIET_DAYS, Threshold, measure, measured_at

Matrix = NDArray[Any]

_STRAYS_PER_EVENT: Final = 0.01
"""Fewer events than this share of those after a gap are strays, not a beginning."""


class Episode(Struct, frozen=True):
    """An alarm of one zone: days by number, counted from the first day of the data.

    ``count`` and ``expected`` are of the run of days, ``begun`` to ``first``, that made the sum cross first; ``last``
    is the day it last crossed.
    """

    column: int
    begun: int
    first: int
    last: int
    up: bool
    statistic: float
    threshold: Threshold
    count: int
    expected: float


def data_begin(events: Mapping[int, int]) -> int | None:
    """Return the day that the data begin on; ``events``: how many there were, by day, those without any left out."""
    days = sorted(events)
    begin = days[0] if days else None
    before, after = 0, sum(events.values())
    for day, following in pairwise(days):
        before, after = before + events[day], after - events[day]
        if following - day > FIRST_DAYS and before < _STRAYS_PER_EVENT * after:
            begin, before = following, 0
    return begin


class Alarms:
    """Works out alarms, and keeps the thresholds that it has measured."""

    def __init__(self, rules: CounterRules, zones: int) -> None:
        self._rules = rules
        self._zones = zones
        self._measured: dict[tuple[int, bytes], Threshold] = {}

    def thresholds(self, counts: Matrix) -> list[Threshold]:
        """Return the thresholds that hold for these days; none if there are too few."""
        found = {}
        for days in measured_at(len(counts)):
            key = (days, counts[:days].tobytes())
            found[key] = self._measured.get(key) or measure(counts[:days], self._zones, self._rules)
        self._measured = found
        return list(found.values())

    def episodes(self, counts: Matrix) -> list[Episode]:
        """Return all alarms of these days (whole numbers; days × zones, the city last), by zone and then by day."""
        if len(counts) <= FIRST_DAYS:
            return []
        mean = expected(counts, self._zones, self._rules)
        adds = contributions(bounded(counts, mean), mean, self._rules.rise)
        crossings = _crossings(adds, self.thresholds(counts))
        return _episodes(crossings, counts, mean)


class _Crossing(Struct, frozen=True):
    column: int
    day: int
    begun: int
    """The day after the sum was last 0."""
    statistic: float
    threshold: Threshold


def _crossings(adds: Matrix, thresholds: list[Threshold]) -> list[_Crossing]:
    found = []
    ends = [*(threshold.from_day for threshold in thresholds[1:]), len(adds)]
    for threshold, end in zip(thresholds, ends, strict=True):
        total = np.zeros(adds.shape[1])
        begun = np.full(adds.shape[1], threshold.from_day)
        for day in range(threshold.from_day, end):
            begun[total == 0] = day
            total += adds[day]
            np.maximum(total, 0, out=total)
            for column in np.flatnonzero(total >= threshold.value):
                found.append(_Crossing(int(column), day, int(begun[column]), float(total[column]), threshold))
                total[column] = 0
    return sorted(found, key=lambda crossing: (crossing.column, crossing.day))


def _episodes(crossings: list[_Crossing], counts: Matrix, mean: Matrix) -> list[Episode]:
    """Join the crossings of a zone that have no week between them; the first one tells what there was."""
    runs: list[list[_Crossing]] = []
    for crossing in crossings:
        last = runs[-1][-1] if runs else None
        if last and last.column == crossing.column and crossing.day - last.day <= QUIET_DAYS:
            runs[-1].append(crossing)
        else:
            runs.append([crossing])
    return [_episode(run[0], run[-1].day, counts, mean) for run in runs]


def _episode(first: _Crossing, last: int, counts: Matrix, mean: Matrix) -> Episode:
    days = slice(first.begun, first.day + 1)
    return Episode(
        column=first.column,
        begun=first.begun,
        first=first.day,
        last=last,
        up=len(counts) - 1 - last < QUIET_DAYS,
        statistic=round(first.statistic, 3),
        threshold=first.threshold,
        count=int(counts[days, first.column].sum()),
        expected=round(float(mean[days, first.column].sum()), 3),
    )
