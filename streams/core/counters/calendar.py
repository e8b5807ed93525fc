"""Local days: which one a time lies in, when each begins, and the periods that are compared.

A day is identified by its number, `datetime.date.toordinal`. It begins at the first instant at
which clocks show its date, so days of 23 and 25 hours need no special treatment.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from streams.core.counters.events import PeriodName

FIRST_MS: Final = 0
LAST_MS: Final = 253_370_764_800_000
"""1970 to 9998 (UTC): the calendar holds no other times, so they are on no local day."""

_WINDOW_DAYS: Final = 28


class LocalDays:
    """The local days of one time zone."""

    def __init__(self, time_zone: str) -> None:
        self._zone = ZoneInfo(time_zone)
        self.begin_ms = lru_cache(maxsize=65_536)(self._begin_ms)

    def day_of(self, at_ms: int) -> int | None:
        """Return the number of the local day of a time; None outside 1970 to 9998."""
        if not FIRST_MS <= at_ms < LAST_MS:
            return None
        return datetime.fromtimestamp(at_ms // 1000, self._zone).toordinal()

    def _begin_ms(self, day: int) -> int:
        """Return when a local day begins."""
        midnight = datetime.combine(date.fromordinal(day), datetime.min.time(), self._zone)
        return round(midnight.timestamp() * 1000)


@dataclass(frozen=True)
class Window:
    """Local days from ``first`` up to, but not including, ``end``."""

    first: int
    end: int

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.end))

    def __len__(self) -> int:
        return self.end - self.first


ComparedWindows = dict[PeriodName, tuple[Window, Window]]
"""By name, the local days of each period and of the period that it is compared with."""


def periods(today: int) -> ComparedWindows:
    """Return the periods that end with ``today``, each with its comparison."""
    end, last_28 = today + 1, Window(today + 1 - _WINDOW_DAYS, today + 1)
    this_date = date.fromordinal(today)
    year_ago = _same_date_last_year(this_date).toordinal()
    this_year = Window(date(this_date.year, 1, 1).toordinal(), end)
    last_year = Window(date(this_date.year - 1, 1, 1).toordinal(), year_ago + 1)
    return {
        "last_28d_vs_prior_28d": (last_28, Window(last_28.first - _WINDOW_DAYS, last_28.first)),
        "ytd_vs_last_year": (this_year, last_year),
        "last_28d_vs_last_year": (last_28, Window(year_ago + 1 - _WINDOW_DAYS, year_ago + 1)),
    }


def _same_date_last_year(day: date) -> date:
    """The same date one year earlier; for 29 February, 28 February."""
    if (day.month, day.day) == (2, 29):
        day -= timedelta(days=1)
    return day.replace(year=day.year - 1)
