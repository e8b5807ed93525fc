"""Example records of the input topics that are admitted when they are sent now.

The files in ``schemas/examples/`` show every field and every fault, but their times are fixed, and
a read older than its retention is late. These examples are made for a given time: a shot, a car
that was listed before it, a read of that car at a ramp minutes before the shot, and an action on
the incident that these three make.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from streams.core.codec import ENCODER
from streams.core.errors import RampwatchError
from streams.core.events import Event, IncidentAction, PlateRead, ShotAlert, VehicleHit
from streams.core.incidents import incident_id
from streams.core.plates import plate_key
from streams.core.site import Site
from streams.core.topics import ACTIONS, HITS, READS, SHOTS

PLATE: Final = "EXAMPLE 000"
"""Longer than any plate that a state issues."""
_MINUTE_MS: Final = 60_000


class Example(Struct, frozen=True):
    """A record to be sent: its topic without a prefix, its key, and its value as JSON."""

    topic: str
    key: str
    value: bytes


def examples(site: Site, now_ms: int) -> list[Example]:
    """Return one record of each input topic, as of ``now_ms``, in the order in which to send them.

    Raises `RampwatchError` if the site has no ramps.
    """
    ramp = next(iter(site.ramps.values()), None)
    if ramp is None:
        raise RampwatchError(f"site {site.name} has no ramp to read a plate at; add one to the site file")
    name, key = f"example-{now_ms}", plate_key(PLATE)
    shot = ShotAlert(
        name, "multiple_gunshots", now_ms - _MINUTE_MS, ramp.lat, ramp.lon, rounds=4, source="example, no real alert"
    )
    hit = VehicleHit(
        name, PLATE, now_ms - 120 * _MINUTE_MS, region="US-CT", make="Example", colour="blue", caution="no real listing"
    )
    read = PlateRead(name, PLATE, now_ms - 5 * _MINUTE_MS, ramp.ramp_id, "example", 0.95, region="US-CT")
    linked = incident_id(shot.alert_id, hit.hit_id, key)
    action = IncidentAction(name, linked, "acknowledge", "example", now_ms, note="no real action")
    return [
        _example(SHOTS, shot.alert_id, shot),
        _example(HITS, key, hit),
        _example(READS, key, read),
        _example(ACTIONS, linked, action),
    ]


def _example(topic: str, key: str, event: Event) -> Example:
    return Example(topic, key, ENCODER.encode(event))
