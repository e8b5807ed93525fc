"""How the hours of the local day differ: in traffic, and in shootings."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from streams.core.site import Site
from streams.simulate.plan import CityPlan

_HOUR_MS: Final = 3_600_000

# How much happens in each hour of the local day, from midnight on.
TRAFFIC: Final = (12, 8, 6, 6, 10, 25, 55, 85, 90, 70, 62, 65, 70, 70, 75, 85, 95, 98, 80, 60, 48, 40, 30, 20)
SHOOTING: Final = (90, 75, 60, 42, 28, 18, 10, 8, 8, 10, 12, 14, 18, 20, 24, 28, 34, 42, 52, 64, 80, 96, 100, 98)
JOYRIDING: Final = (95, 90, 80, 65, 50, 40, 35, 35, 40, 45, 50, 50, 55, 55, 60, 65, 70, 75, 80, 85, 90, 95, 100, 100)
"""Those who stole a car drive it at the hours of shootings more than others do, and by day as well."""


def moments(site: Site, plan: CityPlan, count: int, rhythm: Sequence[int], rng: random.Random) -> list[int]:
    """Return ``count`` moments within the plan's time, in order, as the hours of the local day have it."""
    return moments_between(site, plan.begin_ms, plan.end_ms, count, rhythm, rng)


def moments_between(
    site: Site, from_ms: int, to_ms: int, count: int, rhythm: Sequence[int], rng: random.Random
) -> list[int]:
    """Return ``count`` moments from ``from_ms`` to before ``to_ms``, in order; none where that is no time at all."""
    if from_ms >= to_ms:
        return []
    zone = ZoneInfo(site.time_zone)
    begins = range(from_ms, to_ms, _HOUR_MS)
    spans = [min(_HOUR_MS, to_ms - begin_ms) for begin_ms in begins]
    hours = [datetime.fromtimestamp(begin_ms / 1000, zone).hour for begin_ms in begins]
    weights = [rhythm[hour] * span_ms for hour, span_ms in zip(hours, spans, strict=True)]
    slots = rng.choices(range(len(begins)), weights, k=count)
    return sorted(begins[slot] + int(spans[slot] * rng.random()) for slot in slots)
