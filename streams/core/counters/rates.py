"""Two Poisson counts with exposures: the ratio of their rates, its exact interval, and a p-value.

Given the sum n = a + b, the first count is binomial with probability p = ρ·tₐ / (ρ·tₐ + t_b), where
ρ is the ratio of the rates (Przyborowski and Wilenski 1940). The interval is that of Clopper and
Pearson for p, converted to ratios. The p-value is the one-sided mid-p for an increase:
P(X > a) + P(X = a) / 2 under equal rates.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from msgspec import Struct

_ALPHA: Final = 0.05
"""Of the interval, which contains the true ratio in at least 95 of 100 cases."""


class Comparison(Struct, frozen=True, gc=False):
    """How one rate compares with another. A number that is undefined is None."""

    rate_ratio: float | None
    low: float | None
    high: float | None
    p_value: float | None


@lru_cache(maxsize=65_536)
def compare(count: int, base: int, exposure: float, base_exposure: float) -> Comparison:
    """Compare ``count`` events in ``exposure`` with ``base`` events in ``base_exposure``.

    Both exposures have the same unit, such as days. Ratio and interval are None if ``base`` or an
    exposure is 0. The p-value is None if both counts are 0 or an exposure is.
    """
    if exposure <= 0 or base_exposure <= 0 or count + base == 0:
        return Comparison(None, None, None, None)
    p_value = _mid_p(count, count + base, exposure / (exposure + base_exposure))
    if base == 0:
        return Comparison(None, None, None, p_value)
    low, high = _interval(count, base, exposure / base_exposure)
    return Comparison(count / exposure / (base / base_exposure), low, high, p_value)


def _interval(count: int, base: int, exposure_ratio: float) -> tuple[float, float]:
    from scipy.special import betaincinv  # takes most of a second to import

    low = float(betaincinv(count, base + 1, _ALPHA / 2)) if count else 0.0
    high = float(betaincinv(count + 1, base, 1 - _ALPHA / 2))
    return low / (1 - low) / exposure_ratio, high / (1 - high) / exposure_ratio


def _mid_p(count: int, total: int, share: float) -> float:
    from scipy.special import betainc

    # P(X >= k) of a binomial is the regularised incomplete beta function I(share; k, total - k + 1)
    at_least = float(betainc(count, total - count + 1, share)) if count else 1.0
    more = float(betainc(count + 1, total - count, share)) if count < total else 0.0
    return (at_least + more) / 2
