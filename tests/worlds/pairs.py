"""The smallest input that gives an incident: a shot, a stolen car and its read at a nearby ramp."""

from __future__ import annotations

import json

from streams.core.incidents import incident_id
from streams.core.plates import plate_key
from streams.core.topics import HITS, READS, SHOTS
from streams.replay.player import Playable

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
EVENING_MS = 1_780_700_400_000
"""5 June 2026, 19:00 in Hartford."""
RAMP = "I-84-E-48-off"


def playable(topic: str, stamp_ms: int, key: str, **value: object) -> Playable:
    """A record whose value is a JSON object."""
    return Playable(topic, stamp_ms, key, json.dumps(value).encode())


def pair(name: str, at_ms: int, plate: str) -> list[Playable]:
    """A shot, a stolen car and its read at a nearby ramp: they make one incident."""
    shot = {"kind": "multiple_gunshots", "occurred_at_ms": at_ms, "lat": 41.7712, "lon": -72.6931}
    read = {"ramp_id": RAMP, "camera_id": "C1", "confidence": 0.97, "captured_at_ms": at_ms + 4 * MINUTE_MS}
    key = plate_key(plate)
    return [
        playable(HITS, at_ms - HOUR_MS, key, hit_id=f"H-{name}", plate=plate, reported_at_ms=at_ms - HOUR_MS),
        playable(SHOTS, at_ms + 10_000, f"S-{name}", alert_id=f"S-{name}", **shot),
        playable(READS, at_ms + 4 * MINUTE_MS, key, read_id=f"R-{name}", plate=plate, **read),
    ]


def pair_id(name: str, plate: str) -> str:
    """The incident_id of a pair."""
    return incident_id(f"S-{name}", f"H-{name}", plate_key(plate))
