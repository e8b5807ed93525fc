"""The days on which EARS C2 would have alarmed, beside the alarms; see `streams.core.counters.ears`."""

from __future__ import annotations

from datetime import date
from typing import Final

import numpy as np
from msgspec import Struct

from streams.core.counters.ears import C2_ALARM, c2
from streams.core.counters.fold import SpikeFold
from streams.core.counters.wire import KINDS, Kind, LocalDate

BASELINE_DAYS: Final = 28
LEAST_DEVIATION: Final = 1.0


class C2Alarm(Struct, frozen=True):
    """A completed local day of a zone that counted more than 3 deviations above its 28 days."""

    kind: Kind
    zone_id: str
    day: LocalDate
    count: int
    statistic: float


def c2_alarms(fold: SpikeFold) -> list[C2Alarm]:
    """Return every day that EARS C2 alarms on: by kind and zone, the city last, then by day."""
    found: list[C2Alarm] = []
    for kind in KINDS:
        days = fold.day_counts(kind)
        if days is None:
            continue
        statistic = c2(days.counts, BASELINE_DAYS, LEAST_DEVIATION)
        for column, day in np.argwhere(np.nan_to_num(statistic).T > C2_ALARM):
            when = date.fromordinal(days.first_day + int(day)).isoformat()
            value = round(float(statistic[day, column]), 3)
            found.append(C2Alarm(kind, fold.zone_ids[column], when, int(days.counts[day, column]), value))
    return found
