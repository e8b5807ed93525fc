"""Logistic regression with sign constraints on the coefficients, by Newton's method."""

from __future__ import annotations

import math
from collections.abc import Sequence

Row = Sequence[float]

_MAX_STEPS = 25
_TOLERANCE = 1e-9
_RIDGE = 1.0
"""Weight of the ridge penalty, which acts like as many pseudo-observations of unit size.

The first coefficient, the intercept, is not penalised.
"""


def regress(rows: Sequence[Row], labels: Sequence[bool], free: int = 1) -> list[float]:
    """Return the coefficients that fit the labels best.

    The log-odds of a row are the sum of coefficient × value. The first ``free`` coefficients may
    have any sign. The others are at least 0: a term whose coefficient would be negative is removed,
    and the rest is fitted again.
    """
    kept = list(range(len(rows[0])))
    while True:
        fitted = _newton([[row[n] for n in kept] for row in rows], labels)
        negative = {n for n, value in zip(kept, fitted, strict=True) if n >= free and value < 0}
        if not negative:
            by_column = dict(zip(kept, fitted, strict=True))
            return [by_column.get(n, 0.0) for n in range(len(rows[0]))]
        kept = [n for n in kept if n not in negative]


def _newton(rows: Sequence[Row], labels: Sequence[bool]) -> list[float]:
    width = len(rows[0])
    coefficients = [0.0] * width
    for _ in range(_MAX_STEPS):
        gradient = [-_RIDGE * value if n else 0.0 for n, value in enumerate(coefficients)]
        curvature = [[_RIDGE * (n == m and n > 0) for m in range(width)] for n in range(width)]
        for row, label in zip(rows, labels, strict=True):
            chance = probability(sum(map(float.__mul__, coefficients, row)))
            weight = chance * (1 - chance)
            for n, value in enumerate(row):
                gradient[n] += (label - chance) * value
                line, weighted = curvature[n], weight * value
                for m, other in enumerate(row):
                    line[m] += weighted * other
        step = solve(curvature, gradient)
        coefficients = [value + change for value, change in zip(coefficients, step, strict=True)]
        if max(map(abs, step)) < _TOLERANCE:
            break
    return coefficients


def probability(log_odds: float) -> float:
    """Return the probability for these log-odds."""
    return 1 / (1 + math.exp(-max(-700.0, min(700.0, log_odds))))


def solve(matrix: Sequence[Row], right: Row) -> list[float]:
    """Return x with matrix · x = right, by Gauss-Jordan elimination, for an invertible matrix."""
    lines = [[*line, value] for line, value in zip(matrix, right, strict=True)]
    size = len(lines)
    for n in range(size):
        pivot = max(range(n, size), key=lambda m: abs(lines[m][n]))
        lines[n], lines[pivot] = lines[pivot], lines[n]
        for m in range(size):
            if m != n:
                factor = lines[m][n] / lines[n][n]
                lines[m] = [one - factor * other for one, other in zip(lines[m], lines[n], strict=True)]
    return [lines[n][size] / lines[n][n] for n in range(size)]
