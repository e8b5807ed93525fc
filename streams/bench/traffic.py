"""Traffic of the benchmark: a simulated day for throughput, and certain matches for latency."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaProducer

from streams.core.geo import distance_m
from streams.core.site import Ramp, Site
from streams.core.topics import HITS, READS, SHOTS
from streams.simulate.city import simulate
from streams.simulate.plan import CityPlan

Row = tuple[str, str, bytes]
"""Topic without prefix, key, value."""

_HOUR_MS: Final = 3_600_000
_DAY_H: Final = 20
"""Shorter than the retention of reads, so that no read is late when it is published."""
_ENDED_H: Final = 1
"""Hours between the end of the day and now."""
_REPORTED_SHARE: Final = 0.92
"""Reads published per planned read, after misses and duplicates."""
_MIN_SPACING_M: Final = 500
"""Least distance between ramps with a listed car, so that a shot at one reaches no other."""


def day(site: Site, reads: int, now_ms: int) -> list[Row]:
    """Return a simulated day of about ``reads`` reads, with its shots and stolen cars.

    The broker stamps the records when they are published. So that none is then late or in the
    future, the day ended an hour before ``now_ms`` and began within the retention of reads.
    """
    plan = CityPlan(
        begin_ms=now_ms - (_DAY_H + _ENDED_H) * _HOUR_MS,
        duration_ms=_DAY_H * _HOUR_MS,
        seed=7,
        shots_per_day=60,
        linked_share=0.5,
        stolen_cars=100,
        background_reads_per_minute=reads / (_DAY_H * 60) / _REPORTED_SHARE,
    )
    return [(r.topic, r.key, msgspec.json.encode(r.value)) for r in simulate(site, plan).records]


def certain_matches(site: Site, seen_at_ms: int) -> tuple[list[Row], list[Ramp]]:
    """Return records of listed cars, each read once at its own ramp, and the ramps.

    All reads have the same time. A shot at one of the ramps at that time links to its car and no
    other, because the others are too far away.
    """
    ramps: list[Ramp] = []
    for ramp in site.ramps.values():
        if all(distance_m(ramp.lat, ramp.lon, other.lat, other.lon) > _MIN_SPACING_M for other in ramps):
            ramps.append(ramp)
    rows: list[Row] = []
    for number, ramp in enumerate(ramps):
        plate = f"XY{number:05}"
        listing = {"hit_id": f"H-{plate}", "plate": plate, "reported_at_ms": seen_at_ms}
        rows.append((HITS, plate, msgspec.json.encode(listing)))
        rows.append((READS, plate, read_of(plate, f"{plate}-0", seen_at_ms, ramp.ramp_id)))
    return rows, ramps


def read_of(plate: str, read_id: str, at_ms: int, ramp_id: str) -> bytes:
    """Return the value of a read record of typical length."""
    value = {
        "read_id": read_id,
        "plate": plate,
        "captured_at_ms": at_ms,
        "ramp_id": ramp_id,
        "camera_id": f"{ramp_id}-1",
        "confidence": 0.965,
        "direction": "off",
        "make": "Kia",
        "colour": "red",
        "region": "US-CT",
    }
    return msgspec.json.encode(value)


def shot_at(ramp: Ramp, alert_id: str, at_ms: int) -> Row:
    """Return the record of a shot at a ramp."""
    value = {
        "alert_id": alert_id,
        "kind": "multiple_gunshots",
        "occurred_at_ms": at_ms,
        "lat": ramp.lat,
        "lon": ramp.lon,
    }
    return SHOTS, alert_id, msgspec.json.encode(value)


async def fill(broker: str, prefix: str, rows: Iterable[Row]) -> dict[str, int]:
    """Publish records with a plain producer; return the number sent to each topic."""
    sent: dict[str, int] = {}
    pending: list[Any] = []
    async with AIOKafkaProducer(bootstrap_servers=broker, linger_ms=5) as producer:
        for topic, key, value in rows:
            pending.append(await producer.send(prefix + topic, value, key.encode()))
            sent[topic] = sent.get(topic, 0) + 1
            if len(pending) == 5_000:
                await asyncio.gather(*pending)
                pending.clear()
        await asyncio.gather(*pending)
    return sent
