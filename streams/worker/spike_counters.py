"""The live spike counters, kept by one worker of the group: the owner of the tallies' partition.

Invariants:

* A new counter leader fences the old one. Before it publishes anything, it reads all tallies, and
  the counters and alerts published so far.
* Everything published follows from the tallies and the time. Nothing is lost with a worker, and
  nothing is counted twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError

from streams.core.codec import ENCODER
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
from streams.core.events import LinkedIncident
from streams.core.site import Site
from streams.core.topics import ALERTS, COUNTERS, DIGEST_HEADER, INCIDENTS, TALLIES
from streams.kafka.connection import connection
from streams.settings import Settings
from streams.worker import metrics
from streams.worker.fenced_writer import FencedWriter, OutboundRecord, ProducerFencedError
from streams.worker.partition_queries import PartitionQueries

_NAME: Final = "counters"
_POLL_MS: Final = 200
_TICK_S: Final = 1.0
"""How often counters are brought up to the present time, with or without input."""
_PUBLISH_ALL_EVERY_S: Final = 60.0
"""How often all counters are published, changed or not, because today grows longer."""
_RETRY_S: Final = 1.0
_TYPES: Final = {TALLIES: Tally, COUNTERS: SpikeCounter, ALERTS: SpikeAlert, INCIDENTS: LinkedIncident}

log = logging.getLogger("rampwatch.counters")


class CounterService:
    """Runs the counters while this worker is the counter leader."""

    def __init__(self, settings: Settings, site: Site, headers: Mapping[str, bytes]) -> None:
        """``headers``: of every record published."""
        self._settings = settings
        self._site = site
        self._headers = headers
        self._task: asyncio.Task[None] | None = None
        self.on_fenced: Callable[[], None] = lambda: None
        """Called when another worker may be the leader: the group needs a rebalance."""

    async def assign(self, is_leader: bool) -> None:
        """Start or stop the counters, as the group assigns."""
        if is_leader and (self._task is None or self._task.done()):
            self._task = asyncio.ensure_future(self._run())
        if not is_leader:
            await self.stop()

    async def stop(self) -> None:
        """Stop the counters."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _run(self) -> None:
        while True:
            try:
                await _CounterLeader(self._settings, self._site).lead(self._headers)
            except ProducerFencedError as error:
                log.warning("%s; another worker may be the counter leader: requesting a rebalance", error)
                self.on_fenced()
                return
            except KafkaError as error:
                log.warning("counters interrupted (%s); retrying", type(error).__name__)
            except Exception as error:  # keep trying: stale counters would pass for current ones
                log.error("counters failed (%s); restarting them", type(error).__name__)
            await asyncio.sleep(_RETRY_S)


class _CounterLeader:
    """One tenure as counter leader, resuming from published state."""

    def __init__(self, settings: Settings, site: Site) -> None:
        self._prefix = settings.prefix
        self._settings = settings
        self._engine = CounterEngine(site, settings.counters)
        self._restorable: dict[str, SpikeCounter | SpikeAlert] = {}
        """What earlier leaders published, until the engine has it."""
        self._new_tallies: dict[str, Tally] = {}
        self._latest_ms = 0
        self._has_input = True
        self._published_all_s = self._ticked_s = 0.0

    async def lead(self, headers: Mapping[str, bytes]) -> None:
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
                batches = await consumer.getmany(timeout_ms=_POLL_MS)
                self._apply(row for rows in batches.values() for row in rows)
                self._has_input = self._has_input or bool(batches)
                await self._tick(writer)
        finally:
            metrics.clear_counters()  # old counts would pass for current ones
            await consumer.stop()
            await writer.close()

    async def _catch_up(self, consumer: Any) -> None:  # noqa: ANN401 - aiokafka has no types
        """Read the topics to their ends: tallies first, so that no incident is tallied twice."""
        partitions = {INCIDENTS: self._settings.partitions}
        groups = [
            [TopicPartition(self._prefix + topic, n) for topic in topics for n in range(partitions.get(topic, 1))]
            for topics in ((TALLIES, COUNTERS, ALERTS), (INCIDENTS,))
        ]
        # all at once, because a second assignment would reset the positions
        consumer.assign([tp for tps in groups for tp in tps])
        for tps in groups:
            ends = await self._ends(consumer, tps)
            while any([await consumer.position(tp) < end for tp, end in ends.items()]):
                for rows in (await consumer.getmany(*ends, timeout_ms=_POLL_MS)).values():
                    self._apply(rows)
                await asyncio.sleep(0)
        # counters and alerts come from this leader alone from now on
        consumer.pause(*(tp for tp in groups[0] if not tp.topic.endswith(TALLIES)))
        for published in self._restorable.values():
            self._engine.restore(published)
        self._restorable.clear()
        log.info("counter leader: tallies of %d shots, hits and incidents read", self._engine.event_count)

    async def _ends(self, consumer: Any, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]:  # noqa: ANN401
        """Return the ends of partitions; raises `KafkaError` if one of those with counts is silent.

        Incidents whose leader is away are tallied when it is back, like new ones.
        """
        queries: PartitionQueries[TopicPartition, int] = PartitionQueries(lambda tp: consumer.end_offsets([tp]))
        try:
            ends = await queries.answers(tps)
        finally:
            await queries.stop()
        for tp in tps:
            if tp not in ends and tp.topic != self._prefix + INCIDENTS:
                raise KafkaTimeoutError(f"the leader of {tp.topic}-{tp.partition} did not answer")
        return ends

    def _apply(self, rows: Iterable[Any]) -> None:
        for row in rows:
            topic = row.topic.removeprefix(self._prefix)
            event = _decoded(topic, row)
            if isinstance(event, LinkedIncident):
                self._tally(event)
            elif isinstance(event, Tally):
                self._apply_tally(event)
            elif event is not None:
                # alerts by spike: in older records those of one zone share a key
                key = event.spike_id if isinstance(event, SpikeAlert) else f"{topic} {row.key}"
                self._restorable[key] = event

    def _tally(self, incident: LinkedIncident) -> None:
        """Tally a revision of an incident, unless it has been tallied."""
        tally = tally_of_incident(incident)
        if self._apply_tally(tally):
            self._new_tallies[tally_key(tally)] = tally

    def _apply_tally(self, tally: Tally) -> bool:
        self._latest_ms = max(self._latest_ms, tally.at_ms)
        return self._engine.apply(tally)

    async def _tick(self, writer: FencedWriter) -> None:
        """Advance the time and publish what changed."""
        now_s = time.monotonic()
        if now_s - self._ticked_s < _TICK_S:
            return
        if self._prefix and not self._has_input:
            return  # in a replay, the last event gives the time
        self._ticked_s, self._has_input = now_s, False
        publish_all = now_s - self._published_all_s >= _PUBLISH_ALL_EVERY_S
        # In a thread, so that the join goes on: on a new day all alarms are computed again, which
        # may take a second.
        changes = await asyncio.to_thread(self._changes, publish_all)
        if publish_all:
            self._published_all_s = now_s
        tallies, self._new_tallies = self._new_tallies, {}
        records = [*_tally_records(self._prefix, tallies), *_change_records(self._prefix, changes)]
        if records:
            await writer.publish(records)
        metrics.set_counters(changes.counters)

    def _changes(self, include_unchanged: bool) -> Changes:
        self._engine.advance(self._latest_ms + 1 if self._prefix else round(time.time() * 1000))
        return self._engine.changes(include_unchanged)


def _tally_records(prefix: str, tallies: Mapping[str, Tally]) -> list[OutboundRecord]:
    return [OutboundRecord(prefix + TALLIES, key, ENCODER.encode(tally), 0) for key, tally in tallies.items()]


def _change_records(prefix: str, changes: Changes) -> list[OutboundRecord]:
    counters = [OutboundRecord(prefix + COUNTERS, counter_key(one), ENCODER.encode(one), 0) for one in changes.counters]
    return counters + [
        OutboundRecord(prefix + ALERTS, alert_key(one), ENCODER.encode(one), 0) for one in changes.alerts
    ]


def _decoded(topic: str, row: Any) -> Any:  # noqa: ANN401
    """Return a row's event; None for a tombstone or a record that rampwatch cannot read."""
    if row.value is None:
        return None
    try:
        return msgspec.json.decode(row.value, type=_TYPES[topic])
    except (msgspec.DecodeError, ValueError):
        location = f"{row.topic}-{row.partition} offset {row.offset}"
        if DIGEST_HEADER in dict(row.headers):
            # `ReadBack` counts those on linked-incidents, so that each is counted once
            if topic != INCIDENTS:
                metrics.UNREADABLE.labels(topic).inc()
            log.error("%s: skipped, published by a version of rampwatch that this one cannot read", location)
            return None
        log.warning("%s: skipped, not a valid record; find out which other producer writes to this topic", location)
        return None
