"""How many records of this worker's partitions of the joined topics are not joined yet.

A partition that is being rebuilt lags from the offset it resumes at, which is known when its
takeover begins. What is not known is NaN, never 0.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.core.topics import JOINED
from streams.kafka.connection import connection
from streams.settings import Settings
from streams.worker import metrics
from streams.worker.partition import Source
from streams.worker.periodic_query import QUERY_EVERY_S

_RESPONSE_S_MAX: Final = 5.0


class Bounds(NamedTuple):
    """The offset of the first record that a partition of a topic still has, and its end."""

    beginning: int
    end: int


class Lag:
    """The positions and ends of the partitions assigned to this worker, and what lies between."""

    def __init__(self) -> None:
        self._positions: dict[Source, int | None] = {}
        """The next record to join of every assigned partition; None while it is unknown."""
        self._bounds: Mapping[Source, Bounds] = {}
        self._has_assignment = False
        self.has_unknown_bounds = asyncio.Event()
        """Set by each assignment, so that its lag is known at once."""

    @property
    def sources(self) -> set[Source]:
        """The assigned partitions."""
        return set(self._positions)

    def assign(self, numbers: Iterable[int], retained: Collection[int]) -> None:
        """Note which partitions are assigned; only the ``retained`` ones have a position yet."""
        self._has_assignment = True
        before, self._positions = self._positions, {}
        for source in ((topic, number) for number in numbers for topic in JOINED):
            self._positions[source] = before.get(source) if source[1] in retained else None
        self.has_unknown_bounds.set()
        self._report()

    def note_position(self, source: Source, position: int | None) -> None:
        """Note the next record to join of a partition of a topic, if it is assigned."""
        if source in self._positions:
            self._positions[source] = position

    def note_bounds(self, bounds: Mapping[Source, Bounds]) -> None:
        """Note the present bounds of partitions; those of others are unknown from now on."""
        self._bounds = bounds
        self._report()

    def records(self, source: Source) -> float:
        """Return how many records of one assigned partition are not joined yet, or NaN."""
        position, bounds = self._positions.get(source), self._bounds.get(source)
        if position is None or bounds is None:
            return math.nan
        return max(0, bounds.end - max(position, bounds.beginning))

    def _report(self) -> None:
        """Set the metrics, once there is an assignment."""
        for topic in JOINED if self._has_assignment else ():
            metrics.LAG.labels(topic).set(sum(self.records(source) for source in self._positions if source[0] == topic))


async def watch_bounds(settings: Settings, lag: Lag) -> None:
    """Query the bounds of the assigned partitions, once a second and when they change.

    It has a client of its own, so that a rebuild, a rebalance or a slow commit cannot delay it.
    """
    while True:
        try:
            async with AIOKafkaConsumer(**connection(settings), enable_auto_commit=False) as consumer:
                while True:
                    lag.has_unknown_bounds.clear()
                    lag.note_bounds(await asyncio.wait_for(_bounds(consumer, settings, lag), _RESPONSE_S_MAX))
                    with suppress(TimeoutError):
                        await asyncio.wait_for(lag.has_unknown_bounds.wait(), QUERY_EVERY_S)
        except Exception:  # whatever a client raises while the broker is away; `readiness` tells
            lag.note_bounds({})
        await asyncio.sleep(QUERY_EVERY_S)


async def _bounds(consumer: Any, settings: Settings, lag: Lag) -> dict[Source, Bounds]:  # noqa: ANN401
    sources = {TopicPartition(settings.prefix + topic, number): (topic, number) for topic, number in lag.sources}
    if not sources:
        return {}
    beginnings, ends = await asyncio.gather(
        consumer.beginning_offsets(list(sources)), consumer.end_offsets(list(sources))
    )
    return {source: Bounds(beginnings[tp], ends[tp]) for tp, source in sources.items()}
