"""The tally in force of each event, and the tallies that wait because their time is still ahead.

Per kind and event id the highest revision is in force, and between equal revisions the tally of the
content that the join takes as the fact (`tally_tie_rank`). So the result does not depend on the
order in which tallies arrive.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from streams.core.counters.events import Kind, Tally, tally_tie_rank

Identity = tuple[Kind, str]


class CurrentTallies:
    """The tally in force of each event."""

    def __init__(self) -> None:
        self._in_force: dict[Identity, Tally] = {}
        self._waiting: list[tuple[int, Identity]] = []

    def __len__(self) -> int:
        return len(self._in_force)

    def __iter__(self) -> Iterator[Tally]:
        return iter(self._in_force.values())

    def replace(self, tally: Tally) -> tuple[bool, Tally | None]:
        """Apply a tally; return whether it is in force now, and which one was in force before."""
        identity = (tally.kind, tally.event_id)
        before = self._in_force.get(identity)
        if before is not None and not _outranks(tally, before):
            return False, before
        self._in_force[identity] = tally
        return True, before

    def wait(self, tally: Tally) -> None:
        """Queue a tally whose time is still ahead."""
        heapq.heappush(self._waiting, (tally.at_ms, (tally.kind, tally.event_id)))

    def due(self, now_ms: int) -> Iterator[Tally]:
        """Yield, once each, the queued tallies before ``now_ms`` that are still in force."""
        seen = set()
        while self._waiting and self._waiting[0][0] < now_ms:
            at_ms, identity = heapq.heappop(self._waiting)
            tally = self._in_force[identity]
            if tally.at_ms == at_ms and identity not in seen:
                seen.add(identity)
                yield tally


def _outranks(one: Tally, other: Tally) -> bool:
    if one.revision != other.revision:
        return one.revision > other.revision
    return one != other and tally_tie_rank(one) > tally_tie_rank(other)
