"""The counters of spikes, live: on one worker of the group, the one that has the partition of the tallies.

Invariants:

* Whoever begins to count shuts out whoever did before, and has read all tallies, and what was said of them, before it
  says anything itself.
* Everything said follows from the tallies and the time: nothing is lost with a worker, and nothing counts twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams.core.counters.engine import Changes, CounterEngine
from streams.core.counters.events import (
    SpikeAlert,
    SpikeCounter,
    Tally,
    alert_key,
    counter_key,
    tally_key,
    tally_of_incident,
)
from streams.core.events import ALERTS, COUNTERS, ENCODER, INCIDENTS, TALLIES, LinkedIncident
from streams.core.site import Site
from streams.kafka.connection import connection
from streams.settings import Settings
from streams.worker import metrics
from streams.worker.fenced_writer import FencedWriter, OutboundRecord, ProducerFencedError

_NAME: Final = "counters"
_POLL_MS: Final = 200
_TICK_S: Final = 1.0
"""How often the time moves while nothing happens."""
_ALL_EVERY_S: Final = 60.0
"""How often all counters are said, changed or not: today grows longer."""
_AGAIN_S: Final = 1.0
_KIND: Final = {TALLIES: Tally, COUNTERS: SpikeCounter, ALERTS: SpikeAlert, INCIDENTS: LinkedIncident}

log = logging.getLogger("rampwatch.counters")


class CounterService:
    """Counts while this worker is told to; makes room for another when it is told so."""

    def __init__(self, settings: Settings, site: Site, headers: Mapping[str, bytes]) -> None:
        """``headers``: of what is published."""
        self._settings = settings
        self._site = site
        self._headers = headers
        self._task: asyncio.Task[None] | None = None
        self.on_lost: Callable[[], None] = lambda: None
        """Called when somebody else may be counting: the group has to settle anew."""

    async def own(self, is_mine: bool) -> None:
        """Count from now on, or no more."""
        if is_mine and (self._task is None or self._task.done()):
            self._task = asyncio.ensure_future(self._count())
        if not is_mine:
            await self.stop()

    async def stop(self) -> None:
        """Count no more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
            metrics.forget_counters()

    async def _count(self) -> None:
        while True:
            try:
                await _CounterLeader(self._settings, self._site).count(self._headers)
            except ProducerFencedError as lost:
                log.warning("%s; somebody else may count now: asking the group", lost)
                self.on_lost()
                return
            except KafkaError as error:
                log.warning("nothing can be counted now (%s); trying again", type(error).__name__)
            except Exception as error:  # counters that stand still in silence would be believed
                log.error("counting broke down (%s); beginning anew", type(error).__name__)
            await asyncio.sleep(_AGAIN_S)


class _CounterLeader:
    """One term of counting, from what others have said on."""

    def __init__(self, settings: Settings, site: Site) -> None:
        self._prefix = settings.prefix
        self._settings = settings
        self._fold = CounterEngine(site, settings.counters)
        self._said: dict[str, SpikeCounter | SpikeAlert] = {}
        self._new: dict[str, Tally] = {}
        self._latest_ms = 0
        self._moved = True
        self._all_said_s = self._ticked_s = 0.0

    async def count(self, headers: Mapping[str, bytes]) -> None:
        """Count until cancelled; raises `KafkaError`, `ProducerFencedError`."""
        writer = await FencedWriter.open(self._settings, _NAME, headers)
        consumer = AIOKafkaConsumer(
            **connection(self._settings),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        try:
            await consumer.start()
            await self._catch_up(consumer)
            while True:
                rows = await consumer.getmany(timeout_ms=_POLL_MS)
                self._take_in(row for batch in rows.values() for row in batch)
                self._moved = self._moved or bool(rows)
                await self._tick(writer)
        finally:
            await consumer.stop()
            await writer.close()

    async def _catch_up(self, consumer: Any) -> None:  # noqa: ANN401 - aiokafka has no types
        """Read what was tallied and said before: the tallies first, so that what they tell is not tallied again."""
        numbers = {INCIDENTS: self._settings.partitions}
        groups = [
            [TopicPartition(self._prefix + t, n) for t in topics for n in range(numbers.get(t, 1))]
            for topics in ((TALLIES, COUNTERS, ALERTS), (INCIDENTS,))
        ]
        # at once: to assign anew is to begin anew
        consumer.assign([tp for tps in groups for tp in tps])
        for tps in groups:
            ends = await consumer.end_offsets(tps)
            while any([await consumer.position(tp) < ends[tp] for tp in tps]):
                for rows in (await consumer.getmany(*tps, timeout_ms=_POLL_MS)).values():
                    self._take_in(rows)
                await asyncio.sleep(0)
        # from now on this one knows what is said: it says it
        consumer.pause(*(tp for tp in groups[0] if not tp.topic.endswith(TALLIES)))
        for said in self._said.values():
            self._fold.restore(said)
        self._said.clear()
        log.info("counting: %d shots, hits and incidents are known", self._fold.things)

    def _take_in(self, rows: Iterable[Any]) -> None:
        for row in rows:
            topic = row.topic.removeprefix(self._prefix)
            event = _decoded(topic, row)
            if isinstance(event, LinkedIncident):
                self._tally(event)
            elif isinstance(event, Tally):
                self._feed(event)
            elif event is not None:
                # of alerts each counts, also where a newer one of their zone has the same key
                self._said[event.spike_id if isinstance(event, SpikeAlert) else f"{topic} {row.key}"] = event

    def _tally(self, incident: LinkedIncident) -> None:
        """Tally a revision of an incident, unless that was done before."""
        tally = tally_of_incident(incident)
        if self._feed(tally):
            self._new[tally_key(tally)] = tally

    def _feed(self, tally: Tally) -> bool:
        self._latest_ms = max(self._latest_ms, tally.at_ms)
        return self._fold.feed(tally)

    async def _tick(self, writer: FencedWriter) -> None:
        """Move the time on and say what differs."""
        now_s = time.monotonic()
        if now_s - self._ticked_s < _TICK_S:
            return
        if self._prefix and not self._moved:
            return  # where history is played its last event says what time it is
        self._ticked_s, self._moved = now_s, False
        everything = now_s - self._all_said_s >= _ALL_EVERY_S
        # a new day has all alarms worked out, which may take a second: the join goes on meanwhile
        changes = await asyncio.to_thread(self._changes, everything)
        if everything:
            self._all_said_s = now_s
        tallies, self._new = self._new, {}
        records = [*_tallied(self._prefix, tallies), *_told(self._prefix, changes)]
        if records:
            await writer.publish(records)
        metrics.show_counters(changes.counters)

    def _changes(self, everything: bool) -> Changes:
        self._fold.advance(self._latest_ms + 1 if self._prefix else round(time.time() * 1000))
        return self._fold.changes(everything)


def _tallied(prefix: str, tallies: Mapping[str, Tally]) -> list[OutboundRecord]:
    return [OutboundRecord(prefix + TALLIES, key, ENCODER.encode(tally), 0) for key, tally in tallies.items()]


def _told(prefix: str, changes: Changes) -> list[OutboundRecord]:
    counters = [OutboundRecord(prefix + COUNTERS, counter_key(one), ENCODER.encode(one), 0) for one in changes.counters]
    return counters + [
        OutboundRecord(prefix + ALERTS, alert_key(one), ENCODER.encode(one), 0) for one in changes.alerts
    ]


def _decoded(topic: str, row: Any) -> Any:  # noqa: ANN401
    """What a row says, or None where it is not ours to understand."""
    if row.value is None:
        return None
    try:
        return msgspec.json.decode(row.value, type=_KIND[topic])
    except (msgspec.DecodeError, ValueError):
        place = f"{row.topic}-{row.partition} offset {row.offset}"
        log.warning("%s cannot be understood and is passed over: see who else writes to this topic", place)
        return None
