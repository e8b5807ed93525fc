"""One assigned partition: its engine, the progress of its inputs, and the writer of its incidents.

Invariants:

* An incident's changes are published before the memory behind them is released, and before the
  watermark or the offsets of the records behind them may be committed.
* Until every input has been read to the end it had at takeover, no published incident changes,
  nothing is released, and the committed watermark stays. New incidents are published at once.
  Offsets are committed: the next owner is fed from the committed watermark on, and publishes what
  this one did not.
* The watermark moves only by records that were read, or by an end that was queried afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from streams.core.codec import ENCODER
from streams.core.engine import Engine
from streams.core.events import LinkedIncident
from streams.core.windows import Watermark
from streams.worker import metrics
from streams.worker.fenced_writer import TRANSACTION_RECORDS_MAX, FencedWriter, OutboundRecord
from streams.worker.pacing import paced

Source = tuple[str, int]
"""A topic, without its prefix, and one of its partitions."""


class Feed:
    """What is still to be fed to a partition that is being rebuilt, and where it resumes then."""

    def __init__(self, since: Mapping[Source, int], until: Mapping[Source, int]) -> None:
        """``since``: the offsets to feed from. ``until``: the positions to resume at."""
        self.next: Final = dict(since)
        self.until: Final = dict(until)
        self.total: Final = self.left

    @property
    def left(self) -> int:
        """How many offsets are left to feed."""
        return sum(max(0, end - self.next[source]) for source, end in self.until.items())


class Partition:
    """A partition of the joined topics, from the start of its rebuild."""

    def __init__(
        self,
        number: int,
        engine: Engine,
        watermark: Watermark,
        writer: FencedWriter,
        incidents: str,
        noted_ends: Mapping[Source, int],
        finalized_through_ms: int,
        feed: Feed,
    ) -> None:
        """Create a partition that does not publish yet.

        ``incidents``: the topic to publish to. ``noted_ends``: the ends of all inputs at takeover.
        ``finalized_through_ms``: the watermark committed by then.
        """
        self.number: Final = number
        self.engine: Final = engine
        self.watermark: Final = watermark
        self.writer: Final = writer
        self.committable_watermark_ms = finalized_through_ms
        """The watermark through which every change is published: what a commit may carry."""
        self.is_live = False
        """Whether the rebuild is complete, so that the partition may publish."""
        self.feed: Final = feed
        self._incidents = incidents
        self._catching_up = dict(noted_ends)

    @property
    def is_catching_up(self) -> bool:
        """Whether some input has not yet been read to its noted end."""
        return bool(self._catching_up)

    def note_position(self, source: Source, position: int) -> None:
        """Note that a partition of a topic has been read up to the record before ``position``."""
        if self._catching_up and position >= self._catching_up.get(source, position + 1):
            del self._catching_up[source]

    def note_caught_up(self, source: Source) -> None:
        """Note that a partition of a topic has been read to its end."""
        self._catching_up.pop(source, None)

    def go_live(self) -> None:
        """End the rebuild: records from the positions to resume at are new."""
        self.is_live = True
        for source, position in self.feed.until.items():
            self.note_position(source, position)

    async def publish(self, mark: Callable[[], None]) -> None:
        """Publish what changed, then release memory; raises `ProducerFencedError`.

        ``mark`` is called now and then while the work goes on.
        """
        changed: list[LinkedIncident] = []
        async for incident in paced(self.engine.changing(only_new=self.is_catching_up), mark):
            if incident is not None:
                changed.append(incident)
            if len(changed) == TRANSACTION_RECORDS_MAX:
                await self._publish(changed)
                changed = []
        if changed:
            await self._publish(changed)
        if not self.is_catching_up:
            self.engine.release(self.watermark.value_ms)
            self.committable_watermark_ms = max(self.committable_watermark_ms, self.watermark.value_ms)

    async def _publish(self, changed: Sequence[LinkedIncident]) -> None:
        await self.writer.publish(
            [OutboundRecord(self._incidents, i.incident_id, ENCODER.encode(i), self.number) for i in changed]
        )
        for incident in changed:
            metrics.INCIDENTS.labels(incident.status, incident.strength).inc()
