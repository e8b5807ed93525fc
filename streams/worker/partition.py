"""One partition at work: its engine, how far its inputs were read, and the one who may say what it finds.

Invariants:

* An incident's changes are published before the memory they came from is released, and before the offsets of the
  records they came from, or the watermark, may be committed.
* Until every input was read to the end it had when the partition was taken over, nothing is changed in an incident
  said before, nothing is released, and the watermark that is committed stays; incidents nobody has heard of go out at
  once. Offsets are committed: whoever takes over next is fed from that watermark on, and says what was not said.
* The watermark moves only by what was read, or by an end that was asked for afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from streams.core.engine import Engine
from streams.core.events import ENCODER
from streams.core.windows import Watermark
from streams.worker import metrics
from streams.worker.fenced_writer import FencedWriter, OutboundRecord

Source = tuple[str, int]
"""A topic, without its prefix, and a partition of it."""


class Partition:
    """A partition of the joined topics, from the moment its rebuilding begins."""

    def __init__(
        self,
        number: int,
        engine: Engine,
        watermark: Watermark,
        writer: FencedWriter,
        incidents: str,
        noted_ends: Mapping[Source, int],
        finalized_through_ms: int,
    ) -> None:
        """Begin silent.

        ``incidents``: the topic of what it says; ``noted_ends``: of all inputs, when it was taken over;
        ``finalized_through_ms``: the watermark committed by then.
        """
        self.number: Final = number
        self.engine: Final = engine
        self.watermark: Final = watermark
        self.writer: Final = writer
        self.committable_watermark_ms = finalized_through_ms
        """The watermark up to which all that differs is published: what a commit may say."""
        self.is_live = False
        """Whether what was read before has been read again, so that it may speak."""
        self._incidents = incidents
        self._behind = dict(noted_ends)

    @property
    def is_behind(self) -> bool:
        """Whether some input is not yet read up to its noted end."""
        return bool(self._behind)

    def reached(self, source: Source, position: int) -> None:
        """Note that this partition of a topic has been read up to the record before ``position``."""
        if self._behind and position >= self._behind.get(source, position + 1):
            del self._behind[source]

    def caught_up(self, source: Source) -> None:
        """Note that all there is of this partition of a topic has been read, even if it was once more."""
        self._behind.pop(source, None)

    def go_live(self, positions: Iterable[tuple[Source, int]]) -> None:
        """All that was read before is known again: from these positions on records are new."""
        self.is_live = True
        for source, position in positions:
            self.reached(source, position)

    async def publish(self) -> None:
        """Say what differs, then let go of what nobody needs any more; raises `ProducerFencedError`."""
        changed = self.engine.changes(only_new=self.is_behind)
        if changed:
            topic, number = self._incidents, self.number
            await self.writer.publish(
                [OutboundRecord(topic, i.incident_id, ENCODER.encode(i), number) for i in changed]
            )
            for incident in changed:
                metrics.INCIDENTS.labels(incident.status).inc()
        if not self.is_behind:
            self.engine.release(self.watermark.value_ms)
            self.committable_watermark_ms = max(self.committable_watermark_ms, self.watermark.value_ms)
