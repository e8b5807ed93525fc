"""Which facts link: when a read is a sighting of a stolen car, and a sighting evidence for a shot.

The definitions are in JOIN.md, Evidence, in integers of milliseconds and metres. No function here
keeps state.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from streams.core.events import PlateRead, ShotAlert, VehicleHit
from streams.core.geo import distance_m
from streams.core.plates import differences, normalise, region
from streams.core.rules import JoinRules
from streams.core.site import Ramp


def covers(hit: VehicleHit, at_ms: int, rules: JoinRules) -> bool:
    """Return whether the car of ``hit`` counts as stolen at ``at_ms``."""
    if hit.status == "cancelled":
        return False
    from_ms = hit.stolen_at_ms
    if from_ms is None:
        from_ms = hit.reported_at_ms - rules.unknown_theft_lookback_ms
    to_ms = hit.reported_at_ms + rules.hit_ttl_ms
    if hit.status == "recovered" and hit.cleared_at_ms is not None:
        to_ms = min(to_ms, hit.cleared_at_ms)
    return from_ms <= at_ms < to_ms


def plate_differences(hit: VehicleHit, read: PlateRead) -> int:
    """Return in how many characters two plates with the same plate key differ."""
    return differences(normalise(hit.plate), normalise(read.plate))


def match_of(hit: VehicleHit, read: PlateRead) -> Literal["exact", "lookalike"]:
    """Return how two plates with the same plate key match."""
    return "lookalike" if plate_differences(hit, read) else "exact"


def is_sighting(hit: VehicleHit, read: PlateRead, rules: JoinRules) -> bool:
    """Return whether ``read``, which has the hit's plate key, is a sighting of the stolen car."""
    if read.confidence < rules.min_confidence or not covers(hit, read.captured_at_ms, rules):
        return False
    listed, seen = region(hit.region), region(read.region)
    if listed is not None and seen is not None and listed != seen:
        return False
    return plate_differences(hit, read) <= rules.max_lookalikes


def distance_to(shot: ShotAlert, ramp: Ramp) -> int:
    """Return the distance from the shot to the ramp in whole metres."""
    return _distance_m(shot.lat, shot.lon, ramp.lat, ramp.lon)


_distance_m = lru_cache(maxsize=1 << 16)(distance_m)
"""Cached: the distance from a shot to each of a city's ramps is needed many times."""


def is_near(shot: ShotAlert, read: PlateRead, ramp: Ramp, rules: JoinRules) -> bool:
    """Return whether a car read at ``ramp`` could have come from the shot, or gone to it."""
    delay_ms = read.captured_at_ms - shot.occurred_at_ms
    if not -rules.before_ms <= delay_ms <= rules.after_ms:
        return False
    away_m = distance_to(shot, ramp)
    if away_m > rules.max_distance_m:
        return False
    to_drive_m = max(0, away_m - shot.uncertainty_m)
    return 1000 * to_drive_m <= rules.max_speed_mps * abs(delay_ms) + 1000 * rules.reach_slack_m


def is_evidence(shot: ShotAlert, hit: VehicleHit, read: PlateRead, ramp: Ramp, rules: JoinRules) -> bool:
    """Return whether the read is a sighting of the hit's car and links it to the shot."""
    return shot.status != "dismissed" and is_near(shot, read, ramp, rules) and is_sighting(hit, read, rules)


def required_speed_mps(shot: ShotAlert, away_m: int, delay_ms: int, rules: JoinRules) -> float | None:
    """Return the speed the car needed, in m/s: 0 within the slack, None if no speed suffices."""
    to_drive_m = max(0, away_m - shot.uncertainty_m - rules.reach_slack_m)
    if not to_drive_m:
        return 0.0
    return to_drive_m / (abs(delay_ms) / 1000) if delay_ms else None
