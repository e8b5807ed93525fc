"""Of several tallies of one thing, the one that counts; and which of them lie after now and wait.

Per kind and id the highest revision counts, among equal ones the greatest canonical JSON: the same in any order.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from streams.core.counters.events import Kind, Tally, canonical_tally

Identity = tuple[Kind, str]


class CurrentTallies:
    """The tally that counts, of each thing."""

    def __init__(self) -> None:
        self._facts: dict[Identity, Tally] = {}
        self._waiting: list[tuple[int, Identity]] = []

    def __len__(self) -> int:
        return len(self._facts)

    def __iter__(self) -> Iterator[Tally]:
        return iter(self._facts.values())

    def replace(self, tally: Tally) -> tuple[bool, Tally | None]:
        """Take in a tally; return whether it counts now, and which one counted until then."""
        identity = (tally.kind, tally.event_id)
        before = self._facts.get(identity)
        if before is not None and not _outranks(tally, before):
            return False, before
        self._facts[identity] = tally
        return True, before

    def wait(self, tally: Tally) -> None:
        """Keep in mind a tally whose time has not come."""
        heapq.heappush(self._waiting, (tally.at_ms, (tally.kind, tally.event_id)))

    def due(self, now_ms: int) -> Iterator[Tally]:
        """Hand out, once each, the tallies that waited, lie before ``now_ms`` and still count."""
        seen = set()
        while self._waiting and self._waiting[0][0] < now_ms:
            at_ms, identity = heapq.heappop(self._waiting)
            fact = self._facts[identity]
            if fact.at_ms == at_ms and identity not in seen:
                seen.add(identity)
                yield fact


def _outranks(one: Tally, other: Tally) -> bool:
    if one.revision != other.revision:
        return one.revision > other.revision
    return one != other and canonical_tally(one) > canonical_tally(other)
