"""A pair of a shot and a hit: the reads attached to it, and the incident published last.

A pair notes what one read means to it and keeps no more reads than its incident publishes, so that
a change costs what it touches, however many reads a plate has.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping

from streams.core.events import LinkedIncident, PlateRead, ShotAlert
from streams.core.facts import Versions
from streams.core.incidents import MAX_READS, StampedRead
from streams.core.linking import is_near
from streams.core.rules import JoinRules
from streams.core.site import Ramp

PairKey = tuple[str, str, str]
"""Alert id, hit id, plate key."""
ReadOrder = tuple[int, str]
"""Time of capture and read id."""


class Pair:
    """A shot and a hit that reads link: the reads, and the last published revision."""

    __slots__ = ("_last_ms", "_left_out_from_ms", "finalized", "incident_id", "open", "published", "stands")

    def __init__(self, identifier: str) -> None:
        self.incident_id = identifier
        self.finalized: list[StampedRead] = []
        """Attached for good: in order, at most `MAX_READS`."""
        self.open: list[StampedRead] = []
        """Attached now, but not final: in order, and up to the first one that, with the finalized
        ones, an incident leaves out."""
        self._left_out_from_ms: int | None = None
        """Of the finalized reads."""
        self._last_ms: int | None = None
        """When the first read left out was captured: later reads change nothing."""
        self.published: LinkedIncident | None = None
        self.stands = False
        """Whether it was published under another digest, and stands until its facts change."""

    @property
    def is_full(self) -> bool:
        """Whether more reads are attached than an incident keeps."""
        return len(self.finalized) + len(self.open) > MAX_READS

    def ignores(self, captured_at_ms: int) -> bool:
        """Return whether a read captured at this time comes too late to change the incident."""
        return self._last_ms is not None and captured_at_ms > self._last_ms

    def is_final(self, order: ReadOrder) -> bool:
        """Return whether a read of this order is attached for good."""
        return any(stamped.order == order for stamped in self.finalized)

    def put(self, order: ReadOrder, stamped: StampedRead | None) -> bool:
        """Note what a read is now, None: not attached; return whether anything changed."""
        at = bisect_left(self.open, order, key=_order)
        known = self.open[at] if at < len(self.open) and self.open[at].order == order else None
        if known == stamped or self.is_final(order):
            return False
        self.open[at : at + (known is not None)] = [] if stamped is None else [stamped]
        self._trim()
        return True

    def _trim(self) -> None:
        """Drop what is after the first read left out.

        That may be a finalized one: a read that was forwarded late comes before them.
        """
        _, self._last_ms = self.reads()
        if self.is_full:
            first_out = sorted(self.finalized + self.open, key=_order)[MAX_READS]
            del self.open[bisect_right(self.open, first_out.order, key=_order) :]

    def refill(self, reads: Iterable[tuple[ReadOrder, StampedRead | None]]) -> None:
        """Find out again which reads are attached, from those that are not final, in order of time.

        Stops where no further read can matter.
        """
        self.open = []
        self._trim()
        for order, stamped in reads:
            if self.ignores(order[0]):
                break
            if stamped is not None:
                self.put(order, stamped)

    def finalize(self, captured_before_ms: int) -> None:
        """Attach for good what is attached now of the reads captured before a time."""
        due = bisect_left(self.open, (captured_before_ms, ""), key=_order)
        if due:
            reads = self.finalized + self.open[:due]
            self.finalized, self._left_out_from_ms = self._first(reads)
            self.open = self.open[due:]
            self._trim()

    def restore(self, finalized: Iterable[StampedRead], left_out_from_ms: int | None) -> None:
        """Attach reads for good, as a published incident has them."""
        self.finalized += finalized
        if left_out_from_ms is not None:
            self._left_out_from_ms = left_out_from_ms
        self._trim()

    def reads(self) -> tuple[list[StampedRead], int | None]:
        """Return the reads an incident keeps, and the time of the first one it leaves out."""
        return self._first(self.finalized + self.open)

    def _first(self, attached: list[StampedRead]) -> tuple[list[StampedRead], int | None]:
        attached = sorted(attached, key=_order)
        left_out_from_ms = self._left_out_from_ms
        if len(attached) > MAX_READS:
            first_out_ms = attached[MAX_READS].read.captured_at_ms
            left_out_from_ms = first_out_ms if left_out_from_ms is None else min(first_out_ms, left_out_from_ms)
        return attached[:MAX_READS], left_out_from_ms


class Span:
    """The span of stamps that an incident depends on, from its shot's first stamp."""

    __slots__ = ("first_ms", "freeze_ms", "since_ms")

    def __init__(self, first_ms: int, rules: JoinRules) -> None:
        self.first_ms = first_ms
        self.freeze_ms = first_ms + rules.incident_retention_ms
        self.since_ms = first_ms - rules.hit_ttl_ms - rules.read_retention_ms - rules.max_future_skew_ms


def may_be_near(
    shot: Versions[ShotAlert], read: Versions[PlateRead], ramps: Mapping[str, Ramp], rules: JoinRules
) -> bool:
    """Return whether the read could be evidence, by place and time, for any content of both."""
    return any(
        is_near(alert.event, version.event, ramps[version.event.ramp_id], rules) for version in read for alert in shot
    )


def order_of(read: Versions[PlateRead]) -> ReadOrder:
    """Return the sort key of a read in an incident."""
    event = next(iter(read)).event
    return event.captured_at_ms, event.read_id


def _order(stamped: StampedRead) -> ReadOrder:
    return stamped.order
