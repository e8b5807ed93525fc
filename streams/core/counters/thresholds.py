"""The alarm threshold: where chance alone raises as many alarms a year as the operator accepts.

Daily counts are not Poisson: shots come in bursts, zones share bad nights, and the expected count
of a zone is itself only an estimate. So the threshold is measured on the days seen: they are drawn
again and again, whole days with all their zones, into years in which by construction nothing
changes. The threshold is the one that raises the accepted number of alarms in those years. It is
measured after 56 days of data, and again after 112, 224, and so on. Each threshold holds for later
days only, so no alarm depends on days after it. The sums start at 0 where a new one takes effect.

The draws are not random numbers: day t of year j is day
``A·((40503·j·t² + 10007·j·t + 30011·j) mod 65537) // 65537`` of the A days seen. Quadratic
sequences modulo a prime scatter as chance does, and are the same in every language.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from streams.core.counters.cusum import contributions
from streams.core.counters.expected import bounded, expected
from streams.core.counters.rules import CounterRules

Matrix = NDArray[Any]

FIRST_DAYS: Final = 56
"""Days of data before the first day that can alarm."""
QUIET_DAYS: Final = 7
"""Completed days without a crossing after which an alarm ends."""

_PRIME: Final = 65_537
_MEASURED_DAYS_MAX: Final = 728
"""Days of a drawn year on which alarms are counted, after its history. More change little."""
_DRAWN_DAYS: Final = 60_000
"""Drawn if one alarm a year is accepted. Up to half are not history: 80 years, so 80 alarms."""
_DRAWN_COUNTS_MAX: Final = 6_000_000
"""Days times zones drawn at once; bounds memory."""
_THRESHOLD_MAX: Final = 80.0
_EVENTS_MIN: Final = 3
"""Fewer events are not a rise, however rare they are."""
_FIRST_GUESS: Final = 7.0
_SLOPE: Final = 0.7
"""The logarithm of the number of alarms falls by about this much where the threshold rises by 1."""
_TOLERANCE: Final = 0.02
_TRIES_MAX: Final = 20


class Threshold(Struct, frozen=True):
    """A threshold that holds from day ``from_day`` of the data on.

    ``years``: how many were drawn. ``alarms``: how many each column raised in them.
    """

    from_day: int
    value: float
    years: float
    alarms: dict[int, int]

    def years_between(self, column: int) -> float | None:
        """Return the mean time between a zone's chance alarms; None: it raised none."""
        raised = self.alarms.get(column, 0)
        return self.years / raised if raised else None


def measured_at(days: int) -> Iterator[int]:
    """Yield after how many days of data the threshold is measured, out of ``days``."""
    at = FIRST_DAYS
    while at < days:
        yield at
        at *= 2


def measure(seen: Matrix, zones: int, rules: CounterRules) -> Threshold:
    """Return the threshold measured on the days seen: whole numbers, days × zones and the city."""
    days = len(seen)
    columns = np.append(np.flatnonzero(seen[:, :-1].any(axis=0)), seen.shape[1] - 1)
    adds = _drawn(np.ascontiguousarray(seen[:, columns]), zones, rules)
    years = adds.shape[0] * adds.shape[1] / 365.25
    lowest = _EVENTS_MIN * math.log(rules.rise)
    value = _solve(adds, rules.false_alarms_per_year * years, lowest)
    raised = alarms_raised(adds, value)
    return Threshold(days, value, years, {int(c): int(n) for c, n in zip(columns, raised, strict=True) if n})


def _drawn(seen: Matrix, zones: int, rules: CounterRules) -> Matrix:
    """What days add to the sums in years where nothing changes: days × years × zones.

    The days that serve as history are left out.
    """
    days = len(seen)
    length = min(2 * days, days + _MEASURED_DAYS_MAX)
    drawn_days = _DRAWN_DAYS * min(4.0, max(0.25, 1 / rules.false_alarms_per_year))
    years = max(8, int(min(drawn_days, _DRAWN_COUNTS_MAX / seen.shape[1]) // length))
    drawn = seen[_draws(days, length, years)]
    mean = expected(drawn, zones, rules)[days:]
    return contributions(bounded(drawn[days:], mean), mean, rules.rise)


def _draws(days: int, length: int, years: int) -> Matrix:
    t = np.arange(length, dtype=np.int64)[:, None]
    j = np.arange(1, years + 1, dtype=np.int64)
    scattered = (40_503 * j % _PRIME * t % _PRIME * t + 10_007 * j % _PRIME * t + 30_011 * j) % _PRIME
    draws: Matrix = scattered * days // _PRIME
    return draws


def alarms_raised(adds: Matrix, threshold: Matrix | float, restarts: frozenset[int] = frozenset()) -> Matrix:
    """Return how many alarms each zone raises.

    A crossing within a week of the last one is the same alarm. ``adds``: days × anything × zones.
    ``threshold``: one value, or for each day one that fits the shape of a day's sums.
    ``restarts``: days on which the sums start at 0.
    """
    each_day = np.ndim(threshold) > 0
    total = np.zeros(adds.shape[1:])
    last = np.full(adds.shape[1:], -1 - QUIET_DAYS)
    raised = np.zeros(adds.shape[-1], dtype=np.int64)
    for day, add in enumerate(adds):
        if day in restarts:
            total[:] = 0
        total += add
        np.maximum(total, 0, out=total)
        crossed = total >= (threshold[day] if each_day else threshold)  # type: ignore[index]
        if crossed.any():
            new = crossed & (day - last > QUIET_DAYS)
            raised += new.sum(axis=tuple(range(new.ndim - 1)))
            last[crossed] = day
            total[crossed] = 0
    return raised


def _solve(adds: Matrix, accepted: float, lowest: float) -> float:
    """Return the threshold, at least ``lowest``, that raises about the accepted number of alarms.

    The logarithm of the number is almost linear in the threshold, so a few tries suffice.
    """
    low, high = lowest, _THRESHOLD_MAX
    at = max(lowest, _FIRST_GUESS)
    for _ in range(_TRIES_MAX):
        raised = int(alarms_raised(adds, at).sum())
        if abs(raised - accepted) <= 0.5:
            break
        low, high = (at, high) if raised > accepted else (low, at)
        if high - low < _TOLERANCE:
            break
        guess = at + math.log((raised + 0.5) / (accepted + 0.5)) / _SLOPE
        at = guess if low < guess < high else (low + high) / 2
    return round(at, 3)
