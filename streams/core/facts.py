"""What is the fact: of several records of one identity, which one counts, and how each is counted.

The fact among the records stamped in some span is the one with the greatest revision, among equal revisions the one
whose canonical JSON is greatest (JOIN.md). It depends on which records there are, never on the order they came in. What
a record counts as (used, duplicate, superseded, conflict) does depend on what lay before it in its topic.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Generic, TypeVar

from streams.core.events import Event, Outcome, canonical
from streams.core.windows import NEVER

E = TypeVar("E", bound=Event)


class Version(Generic[E]):
    """One content of an identity, and every stamp it came with."""

    __slots__ = ("_canonical", "event", "revision", "stamps_ms")

    def __init__(self, event: E, revision: int, stamp_ms: int) -> None:
        self.event = event
        self.revision = revision
        self.stamps_ms = [stamp_ms]
        self._canonical: bytes | None = None

    def note(self, stamp_ms: int) -> None:
        """Add a stamp; they are kept sorted, each once."""
        at = bisect_left(self.stamps_ms, stamp_ms)
        if at == len(self.stamps_ms) or self.stamps_ms[at] != stamp_ms:
            self.stamps_ms.insert(at, stamp_ms)

    def in_span(self, since_ms: int, until_ms: int) -> bool:
        """Whether this content came with a stamp from ``since_ms`` to ``until_ms``."""
        at = bisect_left(self.stamps_ms, since_ms)
        return at < len(self.stamps_ms) and self.stamps_ms[at] <= until_ms

    @property
    def rank(self) -> tuple[int, bytes]:
        """What the fact is the greatest of; only worked out where there is a choice."""
        if self._canonical is None:
            self._canonical = canonical(self.event)
        return self.revision, self._canonical

    def stamp_ms(self, since_ms: int = NEVER) -> int:
        """Return the smallest stamp of this content from ``since_ms`` on."""
        return self.stamps_ms[bisect_left(self.stamps_ms, since_ms)]


class Versions(Generic[E]):
    """All contents that one identity came with."""

    __slots__ = ("_versions", "first_ms")

    def __init__(self) -> None:
        self._versions: list[Version[E]] = []
        self.first_ms = -NEVER
        """The smallest stamp of all."""

    def __iter__(self) -> Iterator[Version[E]]:
        return iter(self._versions)

    def add(self, event: E, stamp_ms: int, revision: int = 0) -> Outcome:
        """Keep a record's content and stamp; return what it counts as after those added before it.

        ``revision`` is that of events that have none of their own.
        """
        revision = getattr(event, "revision", revision)
        self.first_ms = min(self.first_ms, stamp_ms)
        for version in self._versions:
            if version.event == event and version.revision == revision and version.rank[1] == canonical(event):
                version.note(stamp_ms)
                return "duplicate"
        greatest = max((version.revision for version in self._versions), default=-1)
        self._versions.append(Version(event, revision, stamp_ms))
        if greatest > revision:
            return "superseded"
        return "conflict" if greatest == revision else "used"

    def fact(self, until_ms: int, since_ms: int = NEVER) -> Version[E] | None:
        """Return the fact among the records stamped from ``since_ms`` to ``until_ms``, both included."""
        known = [version for version in self._versions if version.in_span(since_ms, until_ms)]
        if len(known) > 1:
            return max(known, key=lambda version: version.rank)
        return known[0] if known else None

    @property
    def last_ms(self) -> int:
        """The greatest stamp of all."""
        return max(version.stamps_ms[-1] for version in self._versions)

    def forget(self, watermark_ms: int, keep_ms: int) -> bool:
        """Let go of stamps older than ``keep_ms``; return whether that is all of them.

        An identity is forgotten as one: while its last stamp is young enough, so is what its records count as.
        """
        if self.last_ms + keep_ms < watermark_ms:
            return True
        for version in self._versions:
            # a content never loses its last stamp, so that a repeat still counts as a duplicate
            young = bisect_left(version.stamps_ms, watermark_ms - keep_ms)
            version.stamps_ms = version.stamps_ms[young:] or version.stamps_ms[-1:]
        return False
