"""The counts of one kind in one zone: a number a local day, and the times of the last week."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Final

from streams.core.counters.calendar import Window
from streams.core.counters.events import ByStatus, Recent, Tally

HOUR_MS: Final = 3_600_000
_RECENT_MS: Final = 7 * 24 * HOUR_MS
_STATUSES: Final = ("unreviewed", "confirmed", "dismissed")


class ZoneCounts:
    """Counts of one kind in one zone; what it holds grows with days, not with events, but for the last week."""

    def __init__(self) -> None:
        self.days: dict[int, int] = {}
        """How many count, by local day; a day without any is absent."""
        self._reviewed: dict[int, list[int]] = {}
        self._recent: list[int] = []

    def add(self, tally: Tally, day: int, sign: int, since_ms: int) -> None:
        """Count a tally on its local day, or take it out again (``sign`` -1); ``since_ms``: what is recent."""
        if tally.status in _STATUSES:
            reviewed = self._reviewed.setdefault(day, [0, 0, 0])
            reviewed[_STATUSES.index(tally.status)] += sign
            if not any(reviewed):
                del self._reviewed[day]
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
        """Return how many count in these local days."""
        days = self.days
        return sum([days.get(day, 0) for day in window]) if days else 0

    def by_status(self, window: Window) -> ByStatus:
        """Return how many shots there were in these local days, by their review."""
        sums = [0, 0, 0]
        for day in window if self._reviewed else ():
            for n, many in enumerate(self._reviewed.get(day, ())):
                sums[n] += many
        return ByStatus(*sums)

    @property
    def has_recent(self) -> bool:
        """Whether anything is kept as recent."""
        return bool(self._recent)

    def forget(self, since_ms: int) -> None:
        """Let go of times before ``since_ms``."""
        del self._recent[: bisect_left(self._recent, since_ms)]

    def recent(self, now_ms: int) -> Recent:
        """Return how many there were in the last hour, day and week, up to but not including ``now_ms``."""
        end = len(self._recent)
        spans = (HOUR_MS, 24 * HOUR_MS, _RECENT_MS)
        return Recent(*(end - bisect_left(self._recent, now_ms - span) for span in spans))


def recent_since(now_ms: int) -> int:
    """Return from when on events are recent."""
    return now_ms - _RECENT_MS
