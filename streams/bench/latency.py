"""How long it takes from a shot to its incident, beside a bare round trip through the same broker under the same load.

Round trip: from the send of a record by a plain producer to its receipt by a plain consumer. Shot to incident: from the
send of a shot alert, of which one stolen car at its ramp makes one incident, to the receipt of that incident by a
consumer with ``read_committed``. Both begin and end in this process, in turn, while a process of its own sends a steady
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

from streams.bench.processes import BenchError, started, told_by, worker
from streams.bench.traffic import fill, meetings, shot_at
from streams.core.events import INCIDENTS, READS
from streams.core.site import Ramp, Site
from streams.settings import Settings

LOAD_PER_S: Final = 5_000
_KEPT_UP: Final = 0.98
"""The share of the load that must really have gone out, else nothing was measured under it."""
_SETTLE_S: Final = 2.0
_PROBES_PER_S: Final = 20
"""Of each kind."""
_SEEN_BEFORE_MS: Final = 600_000
_ANSWER_S_MAX: Final = 30.0


class Latencies(msgspec.Struct):
    """The 99th percentiles of one round, in milliseconds."""

    round_trip_p99_ms: float
    shot_to_incident_p99_ms: float


def latencies(settings: Settings, site: Site, seconds: float) -> Latencies:
    """Measure for so long under load, with a new worker; ``settings`` name a group and a prefix that are new."""
    seen_at_ms = round(time.time() * 1000) - _SEEN_BEFORE_MS
    rows, ramps = meetings(site, seen_at_ms)
    asyncio.run(fill(settings.broker, settings.prefix, rows))
    with worker(settings):
        load_s = seconds + 2 * _SETTLE_S
        trips, answers = asyncio.run(_Probes(settings, ramps, seen_at_ms).measured(seconds, load_s, list(site.ramps)))
    return Latencies(p99(trips), p99(answers))


def p99(times_ms: Sequence[float]) -> float:
    """Return the least of the times that 99 of 100 do not exceed."""
    return sorted(times_ms)[math.ceil(0.99 * len(times_ms)) - 1]


class _Probes:
    """Sends probes of both kinds and notes when each comes back."""

    def __init__(self, settings: Settings, ramps: Sequence[Ramp], seen_at_ms: int) -> None:
        self._settings = settings
        self._ramps = itertools.cycle(ramps)
        self._seen_at_ms = seen_at_ms
        self._echo = TopicPartition(f"{settings.prefix}bench-round-trip", 0)
        self._sent_s: dict[str, float] = {}
        self._took_ms: dict[str, float] = {}
        self._back = asyncio.Event()

    async def measured(self, seconds: float, load_s: float, ramp_ids: Sequence[str]) -> tuple[list[float], list[float]]:
        """Return all round trips and all times from shot to incident, in milliseconds."""
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
            watching = [
                asyncio.ensure_future(self._watch(echoes, [self._echo], lambda row: str(row.value.decode()))),
                asyncio.ensure_future(self._watch(incidents, incident_tps, _alert_of)),
            ]
            await self._shoot(producer, "warm-up")
            await self._all_back(watching)
            arguments = (settings.broker, settings.prefix + READS, LOAD_PER_S, load_s, *ramp_ids)
            load = started("streams.bench.load", *arguments)
            try:
                await asyncio.sleep(_SETTLE_S)
                await self._probe(producer, seconds)
                await self._all_back(watching)
                told = await asyncio.to_thread(told_by, load)
            finally:
                load.kill()
                for task in watching:
                    task.cancel()
                await asyncio.wait(watching)
        if told.per_s < _KEPT_UP * LOAD_PER_S:
            raise BenchError(f"{told.per_s:.0f} reads a second went out, not {LOAD_PER_S}; leave the machine alone")
        return self._times("trip"), self._times("shot")

    def _times(self, kind: str) -> list[float]:
        return [took_ms for name, took_ms in self._took_ms.items() if name.startswith(kind)]

    @asynccontextmanager
    async def _echo_topic(self) -> AsyncIterator[None]:
        """The topic of the round trips, gone again afterwards."""
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
            self._back.set()

    async def _probe(self, producer: Any, seconds: float) -> None:  # noqa: ANN401 - aiokafka has no types
        pause_s = 1 / _PROBES_PER_S / 2
        began_s = time.perf_counter()
        for number in range(round(seconds * _PROBES_PER_S)):
            await asyncio.sleep(max(0.0, began_s + 2 * number * pause_s - time.perf_counter()))
            await self._shoot(producer, f"shot-{number}")
            await asyncio.sleep(max(0.0, began_s + (2 * number + 1) * pause_s - time.perf_counter()))
            name = f"trip-{number}"
            self._sent_s[name] = time.perf_counter()
            await producer.send(self._echo.topic, name.encode(), partition=0)

    async def _shoot(self, producer: Any, alert_id: str) -> None:  # noqa: ANN401 - aiokafka has no types
        topic, key, value = shot_at(next(self._ramps), alert_id, self._seen_at_ms)
        self._sent_s[alert_id] = time.perf_counter()
        await producer.send(self._settings.prefix + topic, value, key.encode())

    async def _all_back(self, watching: Sequence[asyncio.Future[None]]) -> None:
        deadline_s = time.perf_counter() + _ANSWER_S_MAX
        while missing := self._sent_s.keys() - self._took_ms.keys():
            if time.perf_counter() > deadline_s or any(task.done() for task in watching):
                raise BenchError(
                    f"{len(missing)} probes have not come back after {_ANSWER_S_MAX:.0f} s; see the worker"
                )
            self._back.clear()
            await asyncio.wait([asyncio.ensure_future(self._back.wait())], timeout=1)


def _alert_of(row: Any) -> str:  # noqa: ANN401 - aiokafka has no types
    return str(msgspec.json.decode(row.value, type=_Shot).shot.alert_id)


class _Alert(msgspec.Struct):
    alert_id: str


class _Shot(msgspec.Struct):
    """Of an incident, whose it is."""

    shot: _Alert
