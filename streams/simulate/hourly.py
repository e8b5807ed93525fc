"""Hourly profiles of traffic, shootings and joyriding, and random times drawn from them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from streams.core.site import Site
from streams.simulate.plan import CityPlan

_HOUR_MS: Final = 3_600_000

# Relative activity in each hour of the local day, starting at midnight.
TRAFFIC: Final = (12, 8, 6, 6, 10, 25, 55, 85, 90, 70, 62, 65, 70, 70, 75, 85, 95, 98, 80, 60, 48, 40, 30, 20)
SHOOTING: Final = (90, 75, 60, 42, 28, 18, 10, 8, 8, 10, 12, 14, 18, 20, 24, 28, 34, 42, 52, 64, 80, 96, 100, 98)
JOYRIDING: Final = (95, 90, 80, 65, 50, 40, 35, 35, 40, 45, 50, 50, 55, 55, 60, 65, 70, 75, 80, 85, 90, 95, 100, 100)
"""Car thieves drive more than others at the hours of shootings, and by day as well."""


def random_times(
    site: Site, plan: CityPlan, count: int, hourly_weights: Sequence[int], rng: random.Random
) -> list[int]:
    """Return ``count`` sorted times within the plan; the weights are per hour of the local day."""
    return random_times_between(site, plan.begin_ms, plan.end_ms, count, hourly_weights, rng)


def random_times_between(
    site: Site, from_ms: int, to_ms: int, count: int, hourly_weights: Sequence[int], rng: random.Random
) -> list[int]:
    """Return ``count`` times from ``from_ms`` up to but excluding ``to_ms``, sorted.

    Returns none if the interval is empty.
    """
    if from_ms >= to_ms:
        return []
    zone = ZoneInfo(site.time_zone)
    begins = range(from_ms, to_ms, _HOUR_MS)
    spans = [min(_HOUR_MS, to_ms - begin_ms) for begin_ms in begins]
    hours = [datetime.fromtimestamp(begin_ms / 1000, zone).hour for begin_ms in begins]
    weights = [hourly_weights[hour] * span_ms for hour, span_ms in zip(hours, spans, strict=True)]
    slots = rng.choices(range(len(begins)), weights, k=count)
    return sorted(begins[slot] + int(spans[slot] * rng.random()) for slot in slots)
