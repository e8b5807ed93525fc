"""The expected count of a zone's day, and how much of a day's count is taken towards an alarm.

The expected count µ of a day is estimated from at most ``baseline_days`` that end ``guard_days``
before it, so that a rise is not learnt as normal while it lasts. Zones with few events borrow
strength from the city: with n events in the zone and N in the city in D days, and Z zones,
µ = (n + 1) / (D + D·Z / max(N, 1)), as if the zone had had one more event, at the pace of the
city's average zone. For the city itself, µ = N / D.

Gunfire comes in extreme nights: New Year's Eve has a hundred times the usual count. One night is
not a rise, so a day counts at most µ + 3·√µ towards an alarm, but one event always counts as one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.core.counters.rules import CounterRules

Matrix = NDArray[Any]
"""Local days are the first dimension. Zones are the last, with the city as the last column."""


def expected(counts: Matrix, zones: int, rules: CounterRules) -> Matrix:
    """Return the expected count of each day; 0 where there is no day before the guard gap.

    ``zones``: the number of zones of the site, even if only some of them are columns.
    """
    sums = np.zeros((len(counts) + 1, *counts.shape[1:]))
    np.cumsum(counts, axis=0, out=sums[1:])
    day = np.arange(len(counts))
    end = np.maximum(day - rules.guard_days, 0)
    begin = np.maximum(end - rules.baseline_days, 0)
    mean: Matrix = sums[end] - sums[begin]
    length = np.maximum(end - begin, 1).astype(float).reshape(-1, *[1] * (counts.ndim - 1))
    city = mean[..., -1:]
    mean[..., :-1] = (mean[..., :-1] + 1) / (length * (1 + max(zones, 1) / np.maximum(city, 1)))
    mean[..., -1:] = city / length
    mean[end == begin] = 0
    return mean


def bounded(counts: Matrix, mean: Matrix) -> Matrix:
    """Return how much of each day's count is taken towards an alarm."""
    taken: Matrix = np.minimum(counts, np.maximum(mean + 3 * np.sqrt(mean), 1))
    return taken
