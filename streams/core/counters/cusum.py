"""The alarm statistic: a Poisson CUSUM of likelihood ratios over local days, one for each zone.

Each day adds the logarithm of how much better "the rate has risen ``rise`` times" explains its
count x than the expected count µ does: ``x·ln(rise) − (rise − 1)·µ``. The sum does not fall below
0, so it remembers a rise but not the quiet days before it. It alarms where it reaches the
threshold, and starts again at 0 (Lucas 1985; `surveillance` 1.20, ``glrpois`` with a known change).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[Any]


def contributions(counts: Matrix, expected: Matrix, rise: float) -> Matrix:
    """Return what each count adds to the sum."""
    added: Matrix = counts * math.log(rise) - (rise - 1) * expected
    return added


def step(total: Matrix, contribution: Matrix) -> Matrix:
    """Return the sums after a day, before an alarm resets any of them to 0."""
    sums: Matrix = np.maximum(total + contribution, 0)
    return sums


def run(adds: Matrix, threshold: float) -> tuple[Matrix, Matrix]:
    """Return each day's statistic, before any reset, and whether it alarmed. Days come first."""
    statistic = np.zeros(adds.shape)
    total = np.zeros(adds.shape[1:])
    for day, contribution in enumerate(adds):
        statistic[day] = total = step(total, contribution)
        total = np.where(total >= threshold, 0, total)
    return statistic, statistic >= threshold
