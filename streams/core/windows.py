"""Windows of event time, and the watermark that releases them.

What is in a window is decided by the times in events, never by when they arrive. What may be
released is decided by the watermark, which is made of stamps and passed in as an argument. No clock
is read, and an event from the future does not age out the others.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Hashable, Iterator
from heapq import heappop, heappush
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

NEVER: Final = -(2**62)
"""Before every stamp: the watermark of an input that has not been read yet."""


class Expiry(Generic[V]):
    """Items with a due time; `due` yields each once, when the watermark has passed its time."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, V]] = []
        self._added = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, due_ms: int, item: V) -> None:
        """Add an item that is due at ``due_ms``."""
        heappush(self._heap, (due_ms, self._added, item))
        self._added += 1

    def due(self, watermark_ms: int) -> Iterator[V]:
        """Yield and remove the items due before ``watermark_ms``, earliest first.

        A time equal to the watermark has not passed.
        """
        while self._heap and self._heap[0][0] < watermark_ms:
            yield heappop(self._heap)[2]


class IntervalBuffer(Generic[K, V]):
    """Facts by key and event time: queried by interval, released by the watermark."""

    def __init__(self) -> None:
        self._rows: dict[K, list[tuple[int, int, V]]] = {}
        self._expiry: Expiry[K] = Expiry()
        self._added = 0

    def __len__(self) -> int:
        return len(self._expiry)

    def add(self, key: K, at_ms: int, fact: V) -> None:
        """Add a fact that happened at ``at_ms``."""
        insort(self._rows.setdefault(key, []), (at_ms, self._added, fact))
        self._added += 1
        self._expiry.add(at_ms, key)

    def count(self, key: K) -> int:
        """Return how many facts a key has."""
        return len(self._rows.get(key, ()))

    def between(self, key: K, from_ms: int, to_ms: int) -> Iterator[V]:
        """Yield the facts of ``key`` in an interval, both ends included, in order of time."""
        rows = self._rows.get(key)
        if rows:
            low = bisect_left(rows, from_ms, key=_time)
            for row in rows[low : bisect_right(rows, to_ms, low, key=_time)]:
                yield row[2]

    def __iter__(self) -> Iterator[K]:
        """Yield the keys that have facts."""
        return iter(self._rows)

    def __contains__(self, key: K) -> bool:
        return key in self._rows

    def release(self, before_ms: int) -> list[tuple[K, V]]:
        """Remove and return the facts that happened before ``before_ms``, by key."""
        released: list[tuple[K, V]] = []
        for key in dict.fromkeys(self._expiry.due(before_ms)):
            rows = self._rows[key]
            due = bisect_left(rows, before_ms, key=_time)
            released += [(key, row[2]) for row in rows[:due]]
            del rows[:due]
            if not rows:
                del self._rows[key]
        return released


def _time(row: tuple[int, int, object]) -> int:
    return row[0]


class Watermark:
    """The greatest stamp up to which every input of a partition has been read.

    An input that was read to its end counts as read up to the greatest stamp that had been seen on
    any input before that end was queried, less the slack. A record has its stamp before it can be
    read, and brokers' clocks differ.
    """

    def __init__(self, inputs: frozenset[Hashable], slack_ms: int) -> None:
        self._reached: dict[Hashable, int] = dict.fromkeys(inputs, NEVER)
        self._slack_ms = slack_ms
        self.greatest_ms = NEVER
        """The greatest stamp seen on any input."""
        self.value_ms = NEVER

    def seen(self, source: Hashable, stamp_ms: int) -> None:
        """Note that ``source`` has been read up to a record with this stamp."""
        self.greatest_ms = max(self.greatest_ms, stamp_ms)
        self._reach(source, stamp_ms)

    def read_to_end(self, source: Hashable, greatest_ms_at_query: int) -> None:
        """Note that ``source`` was read to its end.

        ``greatest_ms_at_query``: `greatest_ms` as noted before that end was queried.
        """
        if greatest_ms_at_query > NEVER:
            self._reach(source, greatest_ms_at_query - self._slack_ms)

    def _reach(self, source: Hashable, stamp_ms: int) -> None:
        if stamp_ms > self._reached[source]:
            self._reached[source] = stamp_ms
            self.value_ms = max(self.value_ms, min(self._reached.values()))
