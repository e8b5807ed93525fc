"""The alarms' statistic: a Poisson CUSUM of likelihood ratios, one a zone, over local days.

Every day adds the logarithm of how much better "the rate has risen ``rise`` times" explains its count x than the
expected count µ does: ``x·ln(rise) − (rise − 1)·µ``. The sum does not go below 0, so that it remembers a rise and not
the quiet before it; where it reaches the threshold it alarms and begins again at 0 (Lucas 1985; `surveillance` 1.20,
``glrpois`` with a known change).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[Any]


def contributions(counts: Matrix, expected: Matrix, rise: float) -> Matrix:
    """Return what each count adds to the sum."""
    found: Matrix = counts * math.log(rise) - (rise - 1) * expected
    return found


def step(total: Matrix, contribution: Matrix) -> Matrix:
    """Return the sums after a day, before an alarm sets any of them back to 0."""
    found: Matrix = np.maximum(total + contribution, 0)
    return found


def run(adds: Matrix, threshold: float) -> tuple[Matrix, Matrix]:
    """Return the statistic of each day, before it is set back, and whether it alarmed; days come first."""
    statistic = np.zeros(adds.shape)
    total = np.zeros(adds.shape[1:])
    for day, contribution in enumerate(adds):
        statistic[day] = total = step(total, contribution)
        total = np.where(total >= threshold, 0, total)
    return statistic, statistic >= threshold
