"""Honest pairs for the small worlds' site: each shot, stolen car and read makes one incident."""

from __future__ import annotations

import json
from collections.abc import Iterator

from streams.replay.player import Playable
from tests.oracle.join import incident_id
from tests.oracle.records import HITS, READS, SHOTS, Value, plate_key
from tests.worlds.pairs import HOUR_MS, MINUTE_MS


def plate_of(number: int) -> str:
    """The plate of a pair."""
    return f"HNST{number:05d}"


def incident_of(number: int) -> str:
    """The incident of a pair."""
    return incident_id(f"honest shot {number}", f"honest hit {number}", plate_key(plate_of(number)))


def honest_pair(number: int, at_ms: int, ramp_id: str, lat: float, lon: float) -> Iterator[Playable]:
    """A shot at ``at_ms`` beside a ramp, a car stolen before it, and its read at the ramp."""
    plate = plate_of(number)
    shot = {"alert_id": f"honest shot {number}", "kind": "single_gunshot", "occurred_at_ms": at_ms}
    yield _playable(SHOTS, at_ms, f"honest shot {number}", {**shot, "lat": lat, "lon": lon})
    hit = {"hit_id": f"honest hit {number}", "plate": plate, "reported_at_ms": at_ms - HOUR_MS}
    yield _playable(HITS, at_ms, plate_key(plate), hit)
    read = {"read_id": f"honest read {number}", "plate": plate, "captured_at_ms": at_ms + MINUTE_MS}
    seen = {"ramp_id": ramp_id, "camera_id": "C1", "confidence": 0.97}
    yield _playable(READS, at_ms + MINUTE_MS, plate_key(plate), read | seen)


def _playable(topic: str, stamp_ms: int, key: str, value: Value) -> Playable:
    return Playable(topic, stamp_ms, key, json.dumps(value).encode())
