"""A logistic regression whose coefficients may not change sign: Newton's method, written out."""

from __future__ import annotations

import math
from collections.abc import Sequence

Row = Sequence[float]

_STEPS = 25
_ENOUGH = 1e-9
_RIDGE = 1.0
"""How strongly coefficients are drawn to 0, as by that many pseudo-observations of unit size; the first is not."""


def regress(rows: Sequence[Row], verdicts: Sequence[bool], free: int = 1) -> list[float]:
    """Return the coefficients that make the verdicts likeliest; log-odds are the sum of coefficient × value.

    The first ``free`` may have any sign, the others are at least 0: one that would be negative stays out.
    """
    kept = list(range(len(rows[0])))
    while True:
        fitted = _newton([[row[n] for n in kept] for row in rows], verdicts)
        wrong = {n for n, value in zip(kept, fitted, strict=True) if n >= free and value < 0}
        if not wrong:
            by_number = dict(zip(kept, fitted, strict=True))
            return [by_number.get(n, 0.0) for n in range(len(rows[0]))]
        kept = [n for n in kept if n not in wrong]


def _newton(rows: Sequence[Row], verdicts: Sequence[bool]) -> list[float]:
    width = len(rows[0])
    now = [0.0] * width
    for _ in range(_STEPS):
        gradient = [-_RIDGE * value if n else 0.0 for n, value in enumerate(now)]
        curvature = [[_RIDGE * (n == m and n > 0) for m in range(width)] for n in range(width)]
        for row, verdict in zip(rows, verdicts, strict=True):
            chance = probability(sum(map(float.__mul__, now, row)))
            weight = chance * (1 - chance)
            for n, value in enumerate(row):
                gradient[n] += (verdict - chance) * value
                line, weighted = curvature[n], weight * value
                for m, other in enumerate(row):
                    line[m] += weighted * other
        step = solve(curvature, gradient)
        now = [value + by for value, by in zip(now, step, strict=True)]
        if max(map(abs, step)) < _ENOUGH:
            break
    return now


def probability(log_odds: float) -> float:
    """Return the probability with these log-odds."""
    return 1 / (1 + math.exp(-max(-700.0, min(700.0, log_odds))))


def solve(matrix: Sequence[Row], right: Row) -> list[float]:
    """Return x with matrix · x = right, by elimination; the matrix is square and has an inverse."""
    lines = [[*line, value] for line, value in zip(matrix, right, strict=True)]
    size = len(lines)
    for n in range(size):
        pivot = max(range(n, size), key=lambda m: abs(lines[m][n]))
        lines[n], lines[pivot] = lines[pivot], lines[n]
        for m in range(size):
            if m != n:
                by = lines[m][n] / lines[n][n]
                lines[m] = [one - by * other for one, other in zip(lines[m], lines[n], strict=True)]
    return [lines[n][size] / lines[n][n] for n in range(size)]
