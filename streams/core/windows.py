"""Windows of event time and the watermark that ends them.

Two rules live here. What is inside a window is decided by the times that events carry, never by when they arrive.
What may be forgotten is decided by the watermark, which is made of stamps and passed in as an argument: no clock is
read, and one event from the future ages nobody out.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Hashable, Iterator
from heapq import heappop, heappush
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

NEVER: Final = -(2**62)
"""Before every stamp: the watermark of an input of which nothing is known."""


class Expiry(Generic[V]):
    """Things that are due at a time; `due` hands out, once, those whose time the watermark has passed."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, V]] = []
        self._added = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, due_ms: int, item: V) -> None:
        """Remember that ``item`` is due at ``due_ms``."""
        heappush(self._heap, (due_ms, self._added, item))
        self._added += 1

    def due(self, watermark_ms: int) -> Iterator[V]:
        """Hand out what is due before ``watermark_ms``, earliest first; equal times are not passed yet."""
        while self._heap and self._heap[0][0] < watermark_ms:
            yield heappop(self._heap)[2]


class IntervalBuffer(Generic[K, V]):
    """Facts by key and event time, to be asked what lies in an interval, and released by a watermark."""

    def __init__(self) -> None:
        self._rows: dict[K, list[tuple[int, int, V]]] = {}
        self._expiry: Expiry[K] = Expiry()
        self._added = 0

    def __len__(self) -> int:
        return len(self._expiry)

    def add(self, key: K, at_ms: int, fact: V) -> None:
        """Keep ``fact``, which happened at ``at_ms``, under ``key``."""
        insort(self._rows.setdefault(key, []), (at_ms, self._added, fact))
        self._added += 1
        self._expiry.add(at_ms, key)

    def between(self, key: K, from_ms: int, to_ms: int) -> Iterator[V]:
        """Hand out the facts of ``key`` from ``from_ms`` to ``to_ms``, both included, in the order of their times."""
        rows = self._rows.get(key)
        if rows:
            low = bisect_left(rows, from_ms, key=_time)
            for row in rows[low : bisect_right(rows, to_ms, low, key=_time)]:
                yield row[2]

    def __iter__(self) -> Iterator[K]:
        """Hand out the keys under which something is kept."""
        return iter(self._rows)

    def __contains__(self, key: K) -> bool:
        return key in self._rows

    def release(self, before_ms: int) -> list[tuple[K, V]]:
        """Let go of the facts that happened before ``before_ms`` and return them, earliest first."""
        gone = []
        for key in self._expiry.due(before_ms):
            rows = self._rows[key]
            gone.append((key, rows.pop(0)[2]))
            if not rows:
                del self._rows[key]
        return gone


def _time(row: tuple[int, int, object]) -> int:
    return row[0]


class Watermark:
    """The greatest stamp up to which every input of a partition has been read.

    An input that was read to its end counts as the greatest stamp seen on any input before that end was asked for, less
    the slack: a record has its stamp before it can be read, and brokers' clocks differ.
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

    def read_to_end(self, source: Hashable, greatest_ms_when_asked: int) -> None:
        """Note that ``source`` had nothing more to read when the greatest stamp seen anywhere was the one given."""
        if greatest_ms_when_asked > NEVER:
            self._reach(source, greatest_ms_when_asked - self._slack_ms)

    def _reach(self, source: Hashable, stamp_ms: int) -> None:
        if stamp_ms > self._reached[source]:
            self._reached[source] = stamp_ms
            self.value_ms = max(self.value_ms, min(self._reached.values()))
