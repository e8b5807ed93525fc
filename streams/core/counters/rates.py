"""Two Poisson counts with their exposures: the ratio of their rates, its exact interval, and a p-value.

Given their sum n = a + b, the first count is binomial with probability p = ρ·tₐ / (ρ·tₐ + t_b), where ρ is the ratio of
the rates (Przyborowski and Wilenski 1940). The interval is that of Clopper and Pearson for p, turned into ratios; the
p-value is the one-sided mid-p for an increase: P(X > a) + P(X = a) / 2 where the rates are equal.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from msgspec import Struct

_DOUBT: Final = 0.05
"""The interval holds the true ratio in at least 95 of 100 cases."""


class Comparison(Struct, frozen=True, gc=False):
    """How one rate compares with another; None where that says nothing."""

    rate_ratio: float | None
    low: float | None
    high: float | None
    p_value: float | None


@lru_cache(maxsize=65_536)
def compare(count: int, base: int, exposure: float, base_exposure: float) -> Comparison:
    """Compare ``count`` events in ``exposure`` with ``base`` events in ``base_exposure``, of one unit, such as days.

    Ratio and interval are None where ``base`` or an exposure is 0, the p-value where nothing was counted at all or an
    exposure is 0.
    """
    if exposure <= 0 or base_exposure <= 0 or count + base == 0:
        return Comparison(None, None, None, None)
    p_value = _mid_p(count, count + base, exposure / (exposure + base_exposure))
    if base == 0:
        return Comparison(None, None, None, p_value)
    low, high = _interval(count, base, exposure / base_exposure)
    return Comparison(count / exposure / (base / base_exposure), low, high, p_value)


def _interval(count: int, base: int, times: float) -> tuple[float, float]:
    from scipy.special import betaincinv  # takes most of a second to import: only where numbers are wanted

    low = float(betaincinv(count, base + 1, _DOUBT / 2)) if count else 0.0
    high = float(betaincinv(count + 1, base, 1 - _DOUBT / 2))
    return low / (1 - low) / times, high / (1 - high) / times


def _mid_p(count: int, both: int, share: float) -> float:
    from scipy.special import betainc

    # P(X >= k) of a binomial is the regularised incomplete beta function I(share; k, both - k + 1)
    at_least = float(betainc(count, both - count + 1, share)) if count else 1.0
    more = float(betainc(count + 1, both - count, share)) if count < both else 0.0
    return (at_least + more) / 2
