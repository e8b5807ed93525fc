"""The counts of one kind in one zone: a number for each local day, and last week's times."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Final

from streams.core.counters.calendar import Window
from streams.core.counters.events import ByStatus, Recent, Tally

HOUR_MS: Final = 3_600_000
_RECENT_MS: Final = 7 * 24 * HOUR_MS
_STATUSES: Final = ("unreviewed", "confirmed", "dismissed")


class ZoneCounts:
    """Counts of one kind in one zone. Memory grows with days, and with events of the last week."""

    def __init__(self) -> None:
        self.days: dict[int, int] = {}
        """The count of each local day; days without any are absent."""
        self._by_status: dict[int, list[int]] = {}
        self._recent: list[int] = []

    def add(self, tally: Tally, day: int, sign: int, since_ms: int) -> None:
        """Count a tally on its local day, or remove it (``sign`` -1).

        Times before ``since_ms`` are not retained.
        """
        if tally.status in _STATUSES:
            by_status = self._by_status.setdefault(day, [0, 0, 0])
            by_status[_STATUSES.index(tally.status)] += sign
            if not any(by_status):
                del self._by_status[day]
        if not tally.counts:
            return
        self.days[day] = self.days.get(day, 0) + sign
        if not self.days[day]:
            del self.days[day]
        if tally.at_ms < since_ms:
            return
        if sign > 0:
            insort(self._recent, tally.at_ms)
        else:
            del self._recent[bisect_left(self._recent, tally.at_ms)]

    def count(self, window: Window) -> int:
        """Return the count of these local days."""
        days = self.days
        return sum([days.get(day, 0) for day in window]) if days else 0

    def by_status(self, window: Window) -> ByStatus:
        """Return the number of shots of these local days by review status."""
        sums = [0, 0, 0]
        for day in window if self._by_status else ():
            for n, count in enumerate(self._by_status.get(day, ())):
                sums[n] += count
        return ByStatus(*sums)

    @property
    def has_recent(self) -> bool:
        """Whether any recent time is retained."""
        return bool(self._recent)

    def drop_before(self, since_ms: int) -> None:
        """Drop recent times before ``since_ms``."""
        del self._recent[: bisect_left(self._recent, since_ms)]

    def recent(self, now_ms: int) -> Recent:
        """Return the counts of the last hour, day and week, up to but not including ``now_ms``."""
        end = len(self._recent)
        spans = (HOUR_MS, 24 * HOUR_MS, _RECENT_MS)
        return Recent(*(end - bisect_left(self._recent, now_ms - span) for span in spans))


def recent_since(now_ms: int) -> int:
    """Return where the recent times begin."""
    return now_ms - _RECENT_MS
