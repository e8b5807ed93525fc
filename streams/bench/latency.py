"""Latency from a shot to its incident, beside a bare round trip under the same load.

Round trip: from sending a record with a plain producer to receiving it with a plain consumer,
through the same broker. Shot to incident: from sending a shot alert, which one stolen car at its
ramp turns into one incident, to receiving that incident with a ``read_committed`` consumer. Probes
of both kinds alternate. They start and end in this process, while another process sends a steady
load of plate reads and a worker joins them.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.bench.processes import BenchError, measured_worker, result_of, start_module
from streams.bench.traffic import certain_matches, fill, shot_at
from streams.core.site import Ramp, Site
from streams.core.topics import INCIDENTS, READS
from streams.settings import Settings

LOAD_PER_S: Final = 5_000
_MIN_LOAD_SHARE: Final = 0.98
"""Least share of the load that must really have been sent for the round to count."""
_WARM_UP_S: Final = 2.0
_PROBES_PER_S: Final = 20
"""Probes of each kind per second."""
_SEEN_BEFORE_MS: Final = 600_000
"""How long before now the cars were read and the shots were fired."""
_RESPONSE_S_MAX: Final = 30.0


class Latencies(msgspec.Struct):
    """The 99th percentiles of one round, in milliseconds."""

    round_trip_p99_ms: float
    shot_to_incident_p99_ms: float


def latencies(settings: Settings, site: Site, seconds: float) -> Latencies:
    """Measure for ``seconds`` under load, with a new worker.

    ``settings`` must have an unused group and prefix.
    """
    seen_at_ms = round(time.time() * 1000) - _SEEN_BEFORE_MS
    rows, ramps = certain_matches(site, seen_at_ms)
    asyncio.run(fill(settings.broker, settings.prefix, rows))
    with measured_worker(settings):
        load_s = seconds + 2 * _WARM_UP_S
        probes = _Probes(settings, ramps, seen_at_ms)
        trips_ms, incidents_ms = asyncio.run(probes.run(seconds, load_s, list(site.ramps)))
    return Latencies(p99(trips_ms), p99(incidents_ms))


def p99(times_ms: Sequence[float]) -> float:
    """Return the 99th percentile: the least of the times that 99 % do not exceed."""
    return sorted(times_ms)[math.ceil(0.99 * len(times_ms)) - 1]


class _Probes:
    """Sends probes of both kinds and measures how long each takes to come back."""

    def __init__(self, settings: Settings, ramps: Sequence[Ramp], seen_at_ms: int) -> None:
        self._settings = settings
        self._ramps = itertools.cycle(ramps)
        self._seen_at_ms = seen_at_ms
        self._echo = TopicPartition(f"{settings.prefix}bench-round-trip", 0)
        self._sent_s: dict[str, float] = {}
        self._took_ms: dict[str, float] = {}
        self._received = asyncio.Event()

    async def run(self, seconds: float, load_s: float, ramp_ids: Sequence[str]) -> tuple[list[float], list[float]]:
        """Return all round-trip times and all times from shot to incident, in milliseconds."""
        settings = self._settings
        echoes = AIOKafkaConsumer(bootstrap_servers=settings.broker, enable_auto_commit=False)
        incidents = AIOKafkaConsumer(
            bootstrap_servers=settings.broker, enable_auto_commit=False, isolation_level="read_committed"
        )
        incident_tps = [TopicPartition(settings.prefix + INCIDENTS, n) for n in range(settings.partitions)]
        async with (
            self._echo_topic(),
            AIOKafkaProducer(bootstrap_servers=settings.broker) as producer,
            echoes,
            incidents,
        ):
            watchers = [
                asyncio.ensure_future(self._watch(echoes, [self._echo], lambda row: str(row.value.decode()))),
                asyncio.ensure_future(self._watch(incidents, incident_tps, _alert_id_of)),
            ]
            await self._send_shot(producer, "warm-up")
            await self._await_all(watchers)
            arguments = (settings.broker, settings.prefix + READS, LOAD_PER_S, load_s, *ramp_ids)
            load = start_module("streams.bench.load", *arguments)
            try:
                await asyncio.sleep(_WARM_UP_S)
                await self._send_probes(producer, seconds)
                await self._await_all(watchers)
                sent = await asyncio.to_thread(result_of, load)
            finally:
                load.kill()
                for task in watchers:
                    task.cancel()
                await asyncio.wait(watchers)
        if sent.per_s < _MIN_LOAD_SHARE * LOAD_PER_S:
            raise BenchError(f"load of {sent.per_s:.0f} reads/s: expected {LOAD_PER_S}; close other programs and retry")
        return self._times("trip"), self._times("shot")

    def _times(self, kind: str) -> list[float]:
        return [took_ms for name, took_ms in self._took_ms.items() if name.startswith(kind)]

    @asynccontextmanager
    async def _echo_topic(self) -> AsyncIterator[None]:
        """Create the topic of the round trips, and delete it afterwards."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self._settings.broker)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(self._echo.topic, 1, 1)])
            try:
                yield
            finally:
                await admin.delete_topics([self._echo.topic])
        finally:
            await admin.close()

    async def _watch(self, consumer: Any, tps: list[TopicPartition], name_of: Any) -> None:  # noqa: ANN401
        consumer.assign(tps)
        await consumer.seek_to_end(*tps)
        while True:
            rows = await consumer.getmany(timeout_ms=1_000)
            now_s = time.perf_counter()
            for row in (row for batch in rows.values() for row in batch):
                name = name_of(row)
                if name in self._sent_s and name not in self._took_ms:
                    self._took_ms[name] = 1000 * (now_s - self._sent_s[name])
            self._received.set()

    async def _send_probes(self, producer: Any, seconds: float) -> None:  # noqa: ANN401 - aiokafka has no types
        pause_s = 1 / _PROBES_PER_S / 2
        began_s = time.perf_counter()
        for number in range(round(seconds * _PROBES_PER_S)):
            await asyncio.sleep(max(0.0, began_s + 2 * number * pause_s - time.perf_counter()))
            await self._send_shot(producer, f"shot-{number}")
            await asyncio.sleep(max(0.0, began_s + (2 * number + 1) * pause_s - time.perf_counter()))
            name = f"trip-{number}"
            self._sent_s[name] = time.perf_counter()
            await producer.send(self._echo.topic, name.encode(), partition=0)

    async def _send_shot(self, producer: Any, alert_id: str) -> None:  # noqa: ANN401 - aiokafka has no types
        topic, key, value = shot_at(next(self._ramps), alert_id, self._seen_at_ms)
        self._sent_s[alert_id] = time.perf_counter()
        await producer.send(self._settings.prefix + topic, value, key.encode())

    async def _await_all(self, watchers: Sequence[asyncio.Future[None]]) -> None:
        """Wait until every probe has come back; raises `BenchError` after a time limit."""
        deadline_s = time.perf_counter() + _RESPONSE_S_MAX
        while missing := self._sent_s.keys() - self._took_ms.keys():
            if time.perf_counter() > deadline_s or any(task.done() for task in watchers):
                raise BenchError(
                    f"{len(missing)} probes did not come back within {_RESPONSE_S_MAX:.0f} s; "
                    "the worker failed or cannot keep up with the load"
                )
            self._received.clear()
            await asyncio.wait([asyncio.ensure_future(self._received.wait())], timeout=1)


def _alert_id_of(row: Any) -> str:  # noqa: ANN401 - aiokafka has no types
    return str(msgspec.json.decode(row.value, type=_Incident).shot.alert_id)


class _Alert(msgspec.Struct):
    alert_id: str


class _Incident(msgspec.Struct):
    """The only part of an incident that the benchmark needs: its alert."""

    shot: _Alert
