"""How often alarms are false: shuffles the days of real data and counts the alarms.

Whole days are shuffled, with all their zones. Nothing changes over shuffled days, so every alarm is
false. The number of alarms is compared with the accepted one.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from streams.console.screen import Report
from streams.core.counters.alarms import Alarms
from streams.core.counters.rules import CounterRules
from streams.core.counters.thresholds import FIRST_DAYS

_DAYS_A_YEAR = 365.25


class FalseAlarms(Struct, frozen=True):
    """The false alarms a year, those accepted, and the range of those accepted by chance."""

    shuffles: int
    years: float
    alarms: int
    per_year: float
    accepted_per_year: float
    low_per_year: float
    high_per_year: float

    @property
    def as_accepted(self) -> bool:
        """Whether the rate is within the 95 % Poisson interval of the accepted one."""
        return self.low_per_year <= self.per_year <= self.high_per_year


def false_alarms(
    counts: NDArray[Any], zones: int, rules: CounterRules, shuffles: int, seed: int, report: Report
) -> FalseAlarms:
    """Shuffle the days of ``counts``, days × zones with the city last, and count the alarms."""
    from scipy.stats import poisson

    raised = 0
    jobs = [(counts, zones, rules, seed, n) for n in range(shuffles)]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for n, alarms in enumerate(pool.map(_alarms, jobs, chunksize=4)):
            raised += alarms
            report(f"shuffled {n + 1:,} of {shuffles:,} times", (n + 1) / shuffles)
    years = shuffles * (len(counts) - FIRST_DAYS) / _DAYS_A_YEAR
    low, high = poisson.interval(0.95, rules.false_alarms_per_year * years)
    return FalseAlarms(
        shuffles=shuffles,
        years=years,
        alarms=raised,
        per_year=raised / years,
        accepted_per_year=rules.false_alarms_per_year,
        low_per_year=float(low) / years,
        high_per_year=float(high) / years,
    )


def _alarms(job: tuple[NDArray[Any], int, CounterRules, int, int]) -> int:
    counts, zones, rules, seed, n = job
    order = np.random.default_rng([seed, n]).permutation(len(counts))
    return len(Alarms(rules, zones).episodes(counts[order]))
