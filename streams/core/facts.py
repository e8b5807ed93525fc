"""Facts: which of an identity's records counts, and the outcome of each record.

The fact among the records stamped in a span is the one with the greatest revision; between equal
revisions, `tie_rank` decides (JOIN.md, The fact). It depends on which records there are, never on
their order. A record's outcome (used, duplicate, superseded, conflict) does
depend on the records before it in its topic.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Generic, TypeVar

from streams.core.events import Event, Outcome, TieRank, canonical, tie_rank
from streams.core.windows import NEVER

E = TypeVar("E", bound=Event)


class Version(Generic[E]):
    """One content of an identity, and all stamps it came with."""

    __slots__ = ("_tie_rank", "event", "revision", "stamps_ms")

    def __init__(self, event: E, revision: int, stamp_ms: int) -> None:
        self.event = event
        self.revision = revision
        self.stamps_ms = [stamp_ms]
        self._tie_rank: TieRank | None = None

    def add_stamp(self, stamp_ms: int) -> None:
        """Add a stamp; stamps are kept sorted and without duplicates."""
        at = bisect_left(self.stamps_ms, stamp_ms)
        if at == len(self.stamps_ms) or self.stamps_ms[at] != stamp_ms:
            self.stamps_ms.insert(at, stamp_ms)

    def in_span(self, since_ms: int, until_ms: int) -> bool:
        """Return whether it has a stamp from ``since_ms`` to ``until_ms``, both included."""
        at = bisect_left(self.stamps_ms, since_ms)
        return at < len(self.stamps_ms) and self.stamps_ms[at] <= until_ms

    @property
    def rank(self) -> tuple[int, TieRank]:
        """Revision and tie rank, computed when needed: the fact has the greatest rank."""
        if self._tie_rank is None:
            self._tie_rank = tie_rank(self.event)
        return self.revision, self._tie_rank

    def stamp_ms(self, since_ms: int = NEVER) -> int:
        """Return the smallest stamp of this content that is not before ``since_ms``."""
        return self.stamps_ms[bisect_left(self.stamps_ms, since_ms)]


class Versions(Generic[E]):
    """All contents of one identity."""

    __slots__ = ("_versions", "first_ms")

    def __init__(self) -> None:
        self._versions: list[Version[E]] = []
        self.first_ms = -NEVER
        """The smallest stamp of all records."""

    def __iter__(self) -> Iterator[Version[E]]:
        return iter(self._versions)

    def add(self, event: E, stamp_ms: int, revision: int = 0) -> Outcome:
        """Add a record and return its outcome, given the records added before it.

        ``revision`` applies to events that have no revision of their own.
        """
        revision = getattr(event, "revision", revision)
        self.first_ms = min(self.first_ms, stamp_ms)
        for version in self._versions:
            if version.event == event and version.revision == revision and version.rank[1][2] == canonical(event):
                version.add_stamp(stamp_ms)
                return "duplicate"
        greatest = max((version.revision for version in self._versions), default=-1)
        self._versions.append(Version(event, revision, stamp_ms))
        if greatest > revision:
            return "superseded"
        return "conflict" if greatest == revision else "used"

    def fact(self, until_ms: int, since_ms: int = NEVER) -> Version[E] | None:
        """Return the fact of the records stamped ``since_ms`` to ``until_ms``, both included."""
        in_span = [version for version in self._versions if version.in_span(since_ms, until_ms)]
        if len(in_span) > 1:
            return max(in_span, key=lambda version: version.rank)
        return in_span[0] if in_span else None

    @property
    def last_ms(self) -> int:
        """The greatest stamp of all records."""
        return max(version.stamps_ms[-1] for version in self._versions)

    def forget(self, watermark_ms: int, keep_ms: int) -> bool:
        """Drop stamps over ``keep_ms`` before the watermark; return whether that is all of them.

        While the identity's last stamp is recent enough, every content keeps at least one stamp, so
        that outcomes stay the same.
        """
        if self.last_ms + keep_ms < watermark_ms:
            return True
        for version in self._versions:
            recent = bisect_left(version.stamps_ms, watermark_ms - keep_ms)
            version.stamps_ms = version.stamps_ms[recent:] or version.stamps_ms[-1:]
        return False
