"""Facts: which of an identity's records counts, and the outcome of each record.

The fact among the records stamped in a span is the one with the greatest revision; between equal
revisions, `tie_rank` decides (JOIN.md, The fact). It depends on which records there are, never on
their order. A record's outcome (used, duplicate, superseded, conflict) does
depend on the records before it in its topic.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Any, Final, Generic, TypeVar

from streams.core.events import Event, InvalidRecord, Outcome, TieRank, VehicleHit, tie_rank
from streams.core.windows import NEVER

E = TypeVar("E", bound=Event)

CONTENTS_MAX: Final = 64
"""Contents of one shot, read or action (JOIN.md, Limits)."""
HIT_CONTENTS_MAX: Final = 1_000
"""Contents of one hit: a listing that is sent each hour with another time has 900 in 38 days."""
_STAMPS_MAX: Final = 1_000
"""Stamps of one content."""


class Version(Generic[E]):
    """One content of an identity, and all stamps it came with."""

    __slots__ = ("_tie_rank", "event", "revision", "stamps_ms")

    def __init__(self, event: E, revision: int, stamp_ms: int) -> None:
        self.event = event
        self.revision = revision
        self.stamps_ms = [stamp_ms]
        self._tie_rank: TieRank | None = None

    def add_stamp(self, stamp_ms: int) -> None:
        """Add a stamp; stamps are kept sorted, without duplicates, and bounded in number."""
        at = bisect_left(self.stamps_ms, stamp_ms)
        if at == len(self.stamps_ms) or self.stamps_ms[at] != stamp_ms:
            self.stamps_ms.insert(at, stamp_ms)
            if len(self.stamps_ms) > _STAMPS_MAX:
                self._thin()

    def _thin(self) -> None:
        """Keep about half of the stamps, evenly spread, with the first and the last."""
        first_ms, last_ms = self.stamps_ms[0], self.stamps_ms[-1]
        apart_ms = (last_ms - first_ms) // (_STAMPS_MAX // 2)
        kept = [first_ms]
        for stamp_ms in self.stamps_ms[1:-1]:
            if stamp_ms - kept[-1] > apart_ms:
                kept.append(stamp_ms)
        self.stamps_ms = [*kept, last_ms]

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

    __slots__ = ("_ranked", "first_ms")

    def __init__(self) -> None:
        self._ranked: list[Version[E]] = []
        """By rank: the fact of any span is the last one that is in it."""
        self.first_ms = -NEVER
        """The smallest stamp of all records."""

    def __iter__(self) -> Iterator[Version[E]]:
        return iter(self._ranked)

    def __len__(self) -> int:
        return len(self._ranked)

    def add(self, event: E, stamp_ms: int, revision: int = 0) -> Outcome:
        """Add a record and return its outcome, given the records added before it.

        ``revision`` applies to events that have no revision of their own.
        """
        self.first_ms = min(self.first_ms, stamp_ms)
        version = Version(event, getattr(event, "revision", revision), stamp_ms)
        if not self._ranked:
            self._ranked.append(version)
            return "used"
        at = bisect_left(self._ranked, version.rank, key=_rank)
        if at < len(self._ranked) and self._ranked[at].rank == version.rank:
            self._ranked[at].add_stamp(stamp_ms)
            return "duplicate"
        greatest = self._ranked[-1].revision
        self._ranked.insert(at, version)
        if greatest > version.revision:
            return "superseded"
        return "conflict" if greatest == version.revision else "used"

    def knows(self, event: E, revision: int = 0) -> bool:
        """Return whether this content is one of the identity's, so that adding it takes no room."""
        rank = Version(event, getattr(event, "revision", revision), 0).rank
        at = bisect_left(self._ranked, rank, key=_rank)
        return at < len(self._ranked) and self._ranked[at].rank == rank

    def fact(self, until_ms: int, since_ms: int = NEVER) -> Version[E] | None:
        """Return the fact of the records stamped ``since_ms`` to ``until_ms``, both included."""
        for version in reversed(self._ranked):
            if version.in_span(since_ms, until_ms):
                return version
        return None

    @property
    def last_ms(self) -> int:
        """The greatest stamp of all records."""
        return max(version.stamps_ms[-1] for version in self._ranked)

    @property
    def oldest_ms(self) -> int:
        """The smallest stamp that is still remembered."""
        return min(version.stamps_ms[0] for version in self._ranked)

    def forget(self, watermark_ms: int, keep_ms: int) -> bool:
        """Drop stamps and contents over ``keep_ms`` before the watermark.

        Returns whether nothing is left. Without it a listing that stands for years and is sent
        again each day would grow for years.
        """
        since_ms = watermark_ms - keep_ms
        for version in self._ranked:
            version.stamps_ms = version.stamps_ms[bisect_left(version.stamps_ms, since_ms) :]
        self._ranked = [version for version in self._ranked if version.stamps_ms]
        return not self._ranked


def check_contents(versions: Versions[E], event: E, field: str) -> None:
    """Raise `InvalidRecord` (``limit``) if an identity has no room for another content."""
    most = HIT_CONTENTS_MAX if isinstance(event, VehicleHit) else CONTENTS_MAX
    if len(versions) >= most and not versions.knows(event):
        raise InvalidRecord("limit", field, f"{most} different contents of one id; give each event an id of its own")


def _rank(version: Version[Any]) -> tuple[int, TieRank]:
    return version.rank
