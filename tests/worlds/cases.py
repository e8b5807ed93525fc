"""Records of one shot, one stolen car and its reads, for cases that can be judged by hand."""

from __future__ import annotations

from typing import Any

from tests.oracle.join import Verdict, incident_id, judge
from tests.oracle.records import ACTIONS, HITS, READS, SHOTS, Value

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
DAY_MS = 24 * HOUR_MS
SHOT_MS = 1_700_000_000_000
FREEZE_MS = SHOT_MS + 7 * DAY_MS
JOIN: Value = {
    "before_ms": 45 * MINUTE_MS,
    "after_ms": 30 * MINUTE_MS,
    "max_distance_m": 8000,
    "max_speed_mps": 45,
    "reach_slack_m": 150,
    "min_confidence": 0.6,
    "max_lookalikes": 1,
    "unknown_theft_lookback_ms": 12 * HOUR_MS,
    "hit_ttl_ms": 30 * DAY_MS,
    "read_retention_ms": DAY_MS,
    "incident_retention_ms": 7 * DAY_MS,
    "shot_memory_ms": 90 * DAY_MS,
    "max_future_skew_ms": 2 * MINUTE_MS,
    "stamp_slack_ms": MINUTE_MS,
    "max_hits_per_plate": 32,
    "max_shots": 100_000,
    "placeholder_plates": ["UNKNOWN", "NONE", "000000"],
}


def ramp(name: str, lat: float) -> Value:
    return {
        "geometry": {"type": "Point", "coordinates": [-72.67, lat]},
        "properties": {"ramp_id": name, "road": "I-91", "exit": "48", "direction": "off"},
    }


SQUARE = [[-72.7, 41.7], [-72.6, 41.7], [-72.6, 41.8], [-72.7, 41.8], [-72.7, 41.7]]
ZONE = {"geometry": {"type": "Polygon", "coordinates": [SQUARE]}, "properties": {"zone_id": "z", "name": "Z"}}
# A degree of the meridian is 6 371 008.8 m * pi / 180 = 111 195.08 m: 0.05 degrees are 5 559.75 m,
# so 5 560 m.
SITE = {"features": [ramp("near", 41.76), ramp("far", 41.81), ZONE]}


def shot(stamp_ms: int = SHOT_MS, **changes: Any) -> Value:
    value = {
        "alert_id": "S",
        "kind": "single_gunshot",
        "occurred_at_ms": SHOT_MS,
        "lat": 41.76,
        "lon": -72.67,
    }
    return {"timestamp_ms": stamp_ms, "value": value | changes}


def hit(stamp_ms: int = SHOT_MS - HOUR_MS, **changes: Any) -> Value:
    value = {"hit_id": "H", "plate": "SIMB01", "reported_at_ms": SHOT_MS - HOUR_MS}
    return {"timestamp_ms": stamp_ms, "value": value | changes}


def read(after_ms: int = 0, delay_ms: int = 0, **changes: Any) -> Value:
    """A read ``after_ms`` after the shot, stamped ``delay_ms`` later."""
    at_ms = SHOT_MS + after_ms
    value = {"read_id": "R", "plate": "SIMB01", "captured_at_ms": at_ms, "ramp_id": "near", "camera_id": "c"}
    return {"timestamp_ms": at_ms + delay_ms, "value": {**value, "confidence": 0.9} | changes}


def action(stamp_ms: int, action_id: str = "A", **changes: Any) -> Value:
    about = incident_id("S", "H", "51M801")
    value = {"action_id": action_id, "incident_id": about, "kind": "dismiss", "by": "d7", "at_ms": stamp_ms}
    return {"timestamp_ms": stamp_ms, "value": value | changes}


def verdict(*lines: Value, **join: Any) -> Verdict:
    """Judge the lines; the id field of each names its topic."""
    ids = {"alert_id": SHOTS, "hit_id": HITS, "read_id": READS, "action_id": ACTIONS}
    archive: dict[str, list[Value]] = {topic: [] for topic in ids.values()}
    for line in lines:
        archive[next(topic for name, topic in ids.items() if name in line["value"])].append(line)
    return judge(archive, SITE, JOIN | join)


def incident(*lines: Value, **join: Any) -> Value | None:
    """The only incident of the lines, or None."""
    incidents = list(verdict(*lines, **join).incidents.values())
    assert len(incidents) < 2
    return incidents[0] if incidents else None


def links(*lines: Value, **join: Any) -> bool:
    """Whether the lines give an open incident."""
    only = incident(*lines, **join)
    return only is not None and only["status"] == "open"
