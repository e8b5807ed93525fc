"""The alarms' threshold: such that chance alone raises as many alarms a year as the operator accepts.

Counts of days are no Poisson variates: shots come in bursts, zones share bad nights, and what is expected of a zone is
itself only estimated. So the threshold is measured, on the days that were seen: they are drawn again and again, whole
days with all their zones, into years in which by construction nothing changes; the threshold is the one that raises
the accepted number of alarms in those. It is measured when 56 days have been seen, and anew when twice, four times,
eight times as many have; each holds from then on, so that no alarm depends on later days. At each the sums begin at 0.

The draws are no random numbers: day t of year j is day ``A·((40503·j·t² + 10007·j·t + 30011·j) mod 65537) // 65537`` of
the A days seen. Quadratic sequences modulo a prime scatter as chance does, and are the same in every language.
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
"""No alarm before so many days of data."""
QUIET_DAYS: Final = 7
"""An alarm stays up until so many completed days without a crossing."""

_PRIME: Final = 65_537
_AHEAD_DAYS: Final = 728
"""For how long beyond what was seen alarms are measured; nothing changes much after that."""
_DRAWN_DAYS: Final = 60_000
"""Half of them are measured on: some 80 years, and so 80 alarms where one a year is accepted."""
_CELLS_MAX: Final = 6_000_000
"""Days and zones drawn at once: memory."""
_HIGHEST: Final = 80.0
_FEWEST_EVENTS: Final = 3
"""Fewer are no rise, however seldom they are."""
_USUAL: Final = 7.0
_FALL: Final = 0.7
"""By so much the logarithm of the number of alarms falls where the threshold rises by 1, about."""
_NEAR: Final = 0.02
_TRIES: Final = 20


class Threshold(Struct, frozen=True):
    """A threshold, for days from number ``from_day`` of the data on.

    ``years`` were drawn; in them column c raised ``alarms[c]``.
    """

    from_day: int
    value: float
    years: float
    alarms: dict[int, int]

    def years_between(self, column: int) -> float | None:
        """Return how many years lie between two of a zone's chance alarms; None: longer than ``years``."""
        raised = self.alarms.get(column, 0)
        return self.years / raised if raised else None


def measured_at(days: int) -> Iterator[int]:
    """Hand out after how many days of data the threshold is measured, of ``days`` that there are."""
    at = FIRST_DAYS
    while at < days:
        yield at
        at *= 2


def measure(seen: Matrix, zones: int, rules: CounterRules) -> Threshold:
    """Return the threshold from the days seen so far: whole numbers, days × zones with the city last."""
    days = len(seen)
    columns = np.append(np.flatnonzero(seen[:, :-1].any(axis=0)), seen.shape[1] - 1)
    adds = _drawn(np.ascontiguousarray(seen[:, columns]), zones, rules)
    years = adds.shape[0] * adds.shape[1] / 365.25
    lowest = _FEWEST_EVENTS * math.log(rules.rise)
    value = _solved(adds, rules.false_alarms_per_year * years, lowest)
    raised = alarms_raised(adds, value)
    return Threshold(days, value, years, {int(c): int(n) for c, n in zip(columns, raised, strict=True) if n})


def _drawn(seen: Matrix, zones: int, rules: CounterRules) -> Matrix:
    """What the days after those seen would add to the sums in years where nothing changes: days × years × zones."""
    days = len(seen)
    length = min(2 * days, days + _AHEAD_DAYS)
    wanted = _DRAWN_DAYS * min(4.0, max(0.25, 1 / rules.false_alarms_per_year))
    many = max(8, int(min(wanted, _CELLS_MAX / seen.shape[1]) // length))
    drawn = seen[_draws(days, length, many)]
    mean = expected(drawn, zones, rules)[days:]
    return contributions(bounded(drawn[days:], mean), mean, rules.rise)


def _draws(days: int, length: int, many: int) -> Matrix:
    t = np.arange(length, dtype=np.int64)[:, None]
    j = np.arange(1, many + 1, dtype=np.int64)
    scattered = (40_503 * j % _PRIME * t % _PRIME * t + 10_007 * j % _PRIME * t + 30_011 * j) % _PRIME
    found: Matrix = scattered * days // _PRIME
    return found


def alarms_raised(adds: Matrix, threshold: Matrix | float, restarts: frozenset[int] = frozenset()) -> Matrix:
    """Return how many alarms each zone raises: a crossing within a week of the last one belongs to it.

    ``adds``: days × anything × zones; ``threshold``: one, or one a day that fits a day's sums; ``restarts``: days at
    which the sums begin at 0.
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


def _solved(adds: Matrix, wanted: float, lowest: float) -> float:
    """Return the threshold that raises the number of alarms wanted, or nearly; not below ``lowest``.

    The logarithm of the number falls almost straight with the threshold, so a few tries do.
    """
    low, high = lowest, _HIGHEST
    at = max(lowest, _USUAL)
    for _ in range(_TRIES):
        found = int(alarms_raised(adds, at).sum())
        if abs(found - wanted) <= 0.5:
            break
        low, high = (at, high) if found > wanted else (low, at)
        if high - low < _NEAR:
            break
        guess = at + math.log((found + 0.5) / (wanted + 0.5)) / _FALL
        at = guess if low < guess < high else (low + high) / 2
    return round(at, 3)
