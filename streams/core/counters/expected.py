"""What a zone's next day is expected to count, and how much of a day counts towards an alarm.

The expected count µ of a day is learnt from at most ``baseline_days`` that ended ``guard_days`` before it, so that a
rise does not become the usual while it lasts. Where a zone has few events it leans on the city: with n events of the
zone and N of the city in D days, and Z zones, µ = (n + 1) / (D + D·Z / max(N, 1)), as if the zone had had one more
event, at the pace of the city's average zone. The city itself is expected to count N / D.

Gunfire comes in nights: on New Year's Eve a hundred times the usual. One night is no rise, so a day counts at most
µ + 3·√µ towards an alarm, and one event always as one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.core.counters.rules import CounterRules

Matrix = NDArray[Any]
"""Local days in the first dimension; zones in the last, the whole city behind them."""


def expected(counts: Matrix, zones: int, rules: CounterRules) -> Matrix:
    """Return what was expected of each day; 0 where no day is known from before the guard gap.

    ``zones``: how many zones the site has, also if only some of them are among the columns.
    """
    sums = np.zeros((len(counts) + 1, *counts.shape[1:]))
    np.cumsum(counts, axis=0, out=sums[1:])
    day = np.arange(len(counts))
    end = np.maximum(day - rules.guard_days, 0)
    begin = np.maximum(end - rules.baseline_days, 0)
    found: Matrix = sums[end] - sums[begin]
    length = np.maximum(end - begin, 1).astype(float).reshape(-1, *[1] * (counts.ndim - 1))
    city = found[..., -1:]
    found[..., :-1] = (found[..., :-1] + 1) / (length * (1 + max(zones, 1) / np.maximum(city, 1)))
    found[..., -1:] = city / length
    found[end == begin] = 0
    return found


def bounded(counts: Matrix, mean: Matrix) -> Matrix:
    """Return how much of each day's count is taken towards an alarm."""
    found: Matrix = np.minimum(counts, np.maximum(mean + 3 * np.sqrt(mean), 1))
    return found
