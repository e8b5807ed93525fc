"""The alarms of one kind, computed from its completed local days.

Alarms are computed again from all days whenever a day is completed or an earlier one is corrected,
so they depend on the contents of the days and on nothing else. A threshold holds from the first day
after those it was measured on (`thresholds`).

The data begin on the first day with an event anywhere in the city. But a mistyped year or an old
entry is not a beginning: a threshold measured on the empty days after it would be meaningless.
Where at least 56 days without an event (`FIRST_DAYS`) follow fewer than 1 % as many events as come
after them, the data begin after those days. The rule is applied to one gap after the other. Events
before the beginning are not used for alarms; counters count them all the same.
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

_ISOLATED_SHARE: Final = 0.01
"""Events before a gap are isolated if they are a smaller share than this of those after it."""


class Episode(Struct, frozen=True):
    """An alarm of one zone. Days are numbered from the first day of the data.

    The run is the days from ``run_begin`` to ``first_crossing``, over which the sum grew from 0 to
    the threshold; ``count`` and ``expected`` are totals over it. ``last_crossing`` is the last day
    on which the sum reached the threshold.
    """

    column: int
    run_begin: int
    first_crossing: int
    last_crossing: int
    up: bool
    statistic: float
    threshold: Threshold
    count: int
    expected: float


def data_begin(events: Mapping[int, int]) -> int | None:
    """Return the day on which the data begin.

    ``events``: the number of events by day, without the days that have none.
    """
    days = sorted(events)
    begin = days[0] if days else None
    before, after = 0, sum(events.values())
    for day, following in pairwise(days):
        before, after = before + events[day], after - events[day]
        if following - day > FIRST_DAYS and before < _ISOLATED_SHARE * after:
            begin, before = following, 0
    return begin


class Alarms:
    """Computes alarms, and caches the thresholds that it has measured."""

    def __init__(self, rules: CounterRules, zones: int) -> None:
        self._rules = rules
        self._zones = zones
        self._measured: dict[tuple[int, bytes], Threshold] = {}

    def thresholds(self, counts: Matrix) -> list[Threshold]:
        """Return the thresholds that apply to these days; none if there are too few days."""
        measured = {}
        for days in measured_at(len(counts)):
            key = (days, counts[:days].tobytes())
            measured[key] = self._measured.get(key) or measure(counts[:days], self._zones, self._rules)
        self._measured = measured
        return list(measured.values())

    def episodes(self, counts: Matrix) -> list[Episode]:
        """Return all alarms of these days, by zone and then by day.

        ``counts``: whole numbers, days × zones, with the city as the last column.
        """
        if len(counts) <= FIRST_DAYS:
            return []
        mean = expected(counts, self._zones, self._rules)
        adds = contributions(bounded(counts, mean), mean, self._rules.rise)
        crossings = _crossings(adds, self.thresholds(counts))
        return _episodes(crossings, counts, mean)


class _Crossing(Struct, frozen=True):
    column: int
    day: int
    run_begin: int
    """The first day after the sum was last 0."""
    statistic: float
    threshold: Threshold


def _crossings(adds: Matrix, thresholds: list[Threshold]) -> list[_Crossing]:
    crossings = []
    ends = [*(threshold.from_day for threshold in thresholds[1:]), len(adds)]
    for threshold, end in zip(thresholds, ends, strict=True):
        total = np.zeros(adds.shape[1])
        run_begin = np.full(adds.shape[1], threshold.from_day)
        for day in range(threshold.from_day, end):
            run_begin[total == 0] = day
            total += adds[day]
            np.maximum(total, 0, out=total)
            for column in np.flatnonzero(total >= threshold.value):
                crossings.append(_Crossing(int(column), day, int(run_begin[column]), float(total[column]), threshold))
                total[column] = 0
    return sorted(crossings, key=lambda crossing: (crossing.column, crossing.day))


def _episodes(crossings: list[_Crossing], counts: Matrix, mean: Matrix) -> list[Episode]:
    """Join a zone's crossings that are at most a week apart; the first one defines the episode."""
    groups: list[list[_Crossing]] = []
    for crossing in crossings:
        last = groups[-1][-1] if groups else None
        if last and last.column == crossing.column and crossing.day - last.day <= QUIET_DAYS:
            groups[-1].append(crossing)
        else:
            groups.append([crossing])
    return [_episode(group[0], group[-1].day, counts, mean) for group in groups]


def _episode(first: _Crossing, last_crossing: int, counts: Matrix, mean: Matrix) -> Episode:
    run = slice(first.run_begin, first.day + 1)
    return Episode(
        column=first.column,
        run_begin=first.run_begin,
        first_crossing=first.day,
        last_crossing=last_crossing,
        up=len(counts) - 1 - last_crossing < QUIET_DAYS,
        statistic=round(first.statistic, 3),
        threshold=first.threshold,
        count=int(counts[run, first.column].sum()),
        expected=round(float(mean[run, first.column].sum()), 3),
    )
