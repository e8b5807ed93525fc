"""Simulated drives of stolen cars: to a shooting, away from one, or unrelated to any."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from streams.core.geo import distance_m
from streams.core.site import Ramp, Site
from streams.simulate.hourly import JOYRIDING, TRAFFIC, random_times_between
from streams.simulate.plan import CityPlan
from streams.simulate.plates import Passage
from streams.simulate.shots import Alerts, shootings
from streams.simulate.thefts import Theft

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS

STREET_MPS: Final = (8.0, 18.0)
"""Range of average speeds between a shooting and a ramp, along the straight line."""
HIGHWAY_MPS: Final = (18.0, 30.0)
"""Range of average speeds between two ramps, along the straight line."""
PAUSE_BEFORE_S: Final = (0.0, 600.0)
"""Range of times between a car's arrival and the shooting."""
PAUSE_AFTER_S: Final = (10.0, 180.0)
"""Range of times between the shooting and a car's departure."""
SECOND_RAMP_SHARE: Final = 0.4
"""Share of drives in which the ramp at the other end of the highway leg also has a camera."""
# Weights of the nearest ramps, in order of distance: drivers do not always take the nearest.
_RAMP_WEIGHTS: Final = (4, 3, 2, 1)
_MAX_HIGHWAY_LEG_M: Final = 12_000
_DRIVE_KINDS: Final[tuple[tuple[Literal["to", "from"], ...], ...]] = (("to",), ("from",), ("to", "from"))
_DRIVE_KIND_WEIGHTS: Final = (25, 35, 40)


class Waypoint(NamedTuple):
    """A ramp that a drive passes, and when."""

    at_ms: int
    ramp: Ramp


class Roads:
    """The ramps of a site, and how drivers choose among them."""

    def __init__(self, site: Site) -> None:
        self.ramps: Final = tuple(site.ramps[ramp_id] for ramp_id in sorted(site.ramps))

    def drive_to(self, lat: float, lon: float, occurred_at_ms: int, rng: random.Random) -> list[Waypoint]:
        """Return the ramps that a car passes on its way to a shooting, in order of time."""
        exit_ramp, street_s = self._ramp_near(lat, lon, "off", rng)
        exited_ms = occurred_at_ms - _ms(street_s + rng.uniform(*PAUSE_BEFORE_S))
        entry_ramp = self._other_end(exit_ramp, rng)
        waypoints = [Waypoint(exited_ms, exit_ramp)]
        if entry_ramp is None:
            return waypoints
        return [Waypoint(exited_ms - _highway_ms(entry_ramp, exit_ramp, rng), entry_ramp), *waypoints]

    def drive_from(self, lat: float, lon: float, occurred_at_ms: int, rng: random.Random) -> list[Waypoint]:
        """Return the ramps that a car passes on its way from a shooting, in order of time."""
        entry_ramp, street_s = self._ramp_near(lat, lon, "on", rng)
        entered_ms = occurred_at_ms + _ms(street_s + rng.uniform(*PAUSE_AFTER_S))
        exit_ramp = self._other_end(entry_ramp, rng)
        waypoints = [Waypoint(entered_ms, entry_ramp)]
        if exit_ramp is None:
            return waypoints
        return [*waypoints, Waypoint(entered_ms + _highway_ms(entry_ramp, exit_ramp, rng), exit_ramp)]

    def trip(self, at_ms: int, rng: random.Random) -> list[Waypoint]:
        """Return the ramps that a car passes on an arbitrary trip, in order of time."""
        ramp = rng.choice(self.ramps)
        other_end = self._other_end(ramp, rng)
        if other_end is None:
            return [Waypoint(at_ms, ramp)]
        first, second = (ramp, other_end) if ramp.direction == "on" else (other_end, ramp)
        return [Waypoint(at_ms, first), Waypoint(at_ms + _highway_ms(first, second, rng), second)]

    def _ramp_near(
        self, lat: float, lon: float, direction: Literal["on", "off"], rng: random.Random
    ) -> tuple[Ramp, float]:
        """Return a ramp near a point, and the travel time between the two in seconds."""
        # If the site has no ramp of this direction, use the other direction.
        ramps = [ramp for ramp in self.ramps if ramp.direction == direction] or self.ramps
        nearest = sorted((distance_m(lat, lon, ramp.lat, ramp.lon), ramp.ramp_id, ramp) for ramp in ramps)
        nearest = nearest[: len(_RAMP_WEIGHTS)]
        away_m, _, ramp = rng.choices(nearest, _RAMP_WEIGHTS[: len(nearest)])[0]
        return ramp, away_m / rng.uniform(*STREET_MPS)

    def _other_end(self, near: Ramp, rng: random.Random) -> Ramp | None:
        """Return a ramp of the same road at the other end of the highway leg.

        None if that ramp has no camera or there is no such ramp.
        """
        if rng.random() >= SECOND_RAMP_SHARE:
            return None
        ends = [
            ramp
            for ramp in self.ramps
            if ramp.road == near.road
            and ramp.exit != near.exit
            and ramp.direction != near.direction
            and distance_m(near.lat, near.lon, ramp.lat, ramp.lon) <= _MAX_HIGHWAY_LEG_M
        ]
        return rng.choice(ends) if ends else None


class Drive(msgspec.Struct, kw_only=True):
    """Ground truth: the stolen car ``hit_id`` drove to or from the shooting of ``alert_id``.

    ``read_ids`` are the reads of this drive in the log, in order of time and including misreads. It
    is empty if every camera missed the car. ``linkable``: the log has the shot, a listing under the
    car's own plate, and at least one read.
    """

    alert_id: str
    hit_id: str
    kind: Literal["to", "from"]
    read_ids: list[str]
    linkable: bool = False


def drives(plan: CityPlan, alerts: Alerts, thefts: Sequence[Theft], roads: Roads) -> tuple[list[Drive], list[Passage]]:
    """Choose a stolen car for each linked shooting, and drive it to the shooting, from it, or both.

    A shooting reported by several alerts has one drive, which is recorded as true for each of them.
    """
    truth: list[Drive] = []
    passages: list[Passage] = []
    busy_until_ms: dict[str, int] = {}
    for alert_ids in shootings(alerts):
        first, last = alerts[alert_ids[0]][0], alerts[alert_ids[-1]][0]
        from_ms, to_ms = int(first["occurred_at_ms"]), int(last["occurred_at_ms"])
        rng = random.Random(f"{plan.seed}/drive/{alert_ids[0]}")
        if rng.random() >= plan.linked_share:
            continue
        available = [
            theft
            for theft in thefts
            if theft.drivable_at(from_ms) and busy_until_ms.get(theft.hit_id, from_ms) <= from_ms
        ]
        if not available:
            continue
        stolen = rng.choice(available)
        busy_until_ms[stolen.hit_id] = to_ms + 2 * _HOUR_MS
        for kind in rng.choices(_DRIVE_KINDS, _DRIVE_KIND_WEIGHTS)[0]:
            if kind == "to":
                waypoints = roads.drive_to(first["lat"], first["lon"], from_ms, rng)
            else:
                waypoints = roads.drive_from(last["lat"], last["lon"], to_ms, rng)
            passages += [Passage(point.at_ms, stolen.car, point.ramp, len(truth)) for point in waypoints]
            read_ids: list[str] = []  # shared by the alerts of one shooting, so each read is added once
            truth += [
                Drive(alert_id=alert_id, hit_id=stolen.hit_id, kind=kind, read_ids=read_ids) for alert_id in alert_ids
            ]
    return truth, passages


def chance_passages(
    site: Site, plan: CityPlan, thefts: Sequence[Theft], drives: Sequence[Passage], roads: Roads
) -> list[Passage]:
    """Return passages of stolen cars that are unrelated to any shooting.

    The driver is the thief, or the owner once the car is returned or if it was never stolen. These
    passages are at least an hour away from linked drives of the same car.
    """
    rng = random.Random(f"{plan.seed}/chance")
    driven_ms: dict[str, list[int]] = {}
    for passage in drives:
        driven_ms.setdefault(passage.car.plate, []).append(passage.at_ms)
    passages: list[Passage] = []
    for stolen in thefts:
        linked_ms = driven_ms.get(stolen.car.plate, [])
        from_ms, to_ms = max(stolen.stolen_at_ms, plan.begin_ms), min(stolen.abandoned_at_ms, plan.end_ms)
        trips = _trips(site, from_ms, to_ms, plan.chance_reads_per_stolen_car_day, JOYRIDING, roads, rng)
        owner_ms = stolen.with_owner_from_ms
        if owner_ms is not None:
            from_ms = max(owner_ms, plan.begin_ms)
            trips += _trips(site, from_ms, plan.end_ms, plan.owner_reads_per_day, TRAFFIC, roads, rng)
        for trip in trips:
            if all(abs(trip[0].at_ms - at_ms) > _HOUR_MS for at_ms in linked_ms):
                passages += [Passage(point.at_ms, stolen.car, point.ramp, -1) for point in trip]
    return passages


def _trips(
    site: Site,
    from_ms: int,
    to_ms: int,
    reads_per_day: float,
    hourly_weights: Sequence[int],
    roads: Roads,
    rng: random.Random,
) -> list[list[Waypoint]]:
    """Return arbitrary trips past one or two ramps, on average ``reads_per_day`` passages."""
    days = max(0, to_ms - from_ms) / _DAY_MS
    # The fractional part of the count is the probability of one more trip.
    count = int(reads_per_day * days / (1 + SECOND_RAMP_SHARE) + rng.random())
    return [roads.trip(at_ms, rng) for at_ms in random_times_between(site, from_ms, to_ms, count, hourly_weights, rng)]


def _highway_ms(one: Ramp, other: Ramp, rng: random.Random) -> int:
    return _ms(distance_m(one.lat, one.lon, other.lat, other.lon) / rng.uniform(*HIGHWAY_MPS))


def _ms(seconds: float) -> int:
    return round(1000 * seconds)
