"""Stolen cars on the road: driven past ramps to a shooting or away from it, or for no reason that we know."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from streams.core.geo import distance_m
from streams.core.site import Ramp, Site
from streams.simulate.plan import CityPlan
from streams.simulate.plates import Passage
from streams.simulate.rhythm import JOYRIDING, TRAFFIC, moments_between
from streams.simulate.shots import Alerts, shootings
from streams.simulate.thefts import Theft

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS

STREET_MPS: Final = (8.0, 18.0)
"""How fast a car gets on between a shot and a ramp, along the straight line."""
HIGHWAY_MPS: Final = (18.0, 30.0)
PAUSE_BEFORE_S: Final = (0.0, 600.0)
"""How long those who drove to a shooting are there before it."""
PAUSE_AFTER_S: Final = (10.0, 180.0)
SECOND_RAMP_SHARE: Final = 0.4
"""Share of the drives in which the ramp at the highway's other end has a camera too."""
# Not always the nearest ramp: one of the few nearest, the nearer the likelier.
_RAMP_WEIGHTS: Final = (4, 3, 2, 1)
_FARTHEST_EXIT_M: Final = 12_000
_WAYS: Final[tuple[tuple[Literal["to", "from"], ...], ...]] = (("to",), ("from",), ("to", "from"))
_WAY_WEIGHTS: Final = (25, 35, 40)


class Stop(NamedTuple):
    """A moment at a ramp, in a drive."""

    at_ms: int
    ramp: Ramp


class Roads:
    """The ramps of a site, as drivers choose among them."""

    def __init__(self, site: Site) -> None:
        self.ramps: Final = tuple(site.ramps[ramp_id] for ramp_id in sorted(site.ramps))

    def drive_to(self, lat: float, lon: float, occurred_at_ms: int, rng: random.Random) -> list[Stop]:
        """Return where a car leaves the highway on its way to a shooting, in order of time."""
        near, seconds = self._near(lat, lon, "off", rng)
        left_ms = occurred_at_ms - _ms(seconds + rng.uniform(*PAUSE_BEFORE_S))
        entered = self._other_end(near, rng)
        stops = [Stop(left_ms, near)]
        return [Stop(left_ms - _highway_ms(entered, near, rng), entered), *stops] if entered else stops

    def drive_from(self, lat: float, lon: float, occurred_at_ms: int, rng: random.Random) -> list[Stop]:
        """Return where a car enters the highway on its way from a shooting, in order of time."""
        near, seconds = self._near(lat, lon, "on", rng)
        entered_ms = occurred_at_ms + _ms(seconds + rng.uniform(*PAUSE_AFTER_S))
        left = self._other_end(near, rng)
        stops = [Stop(entered_ms, near)]
        return [*stops, Stop(entered_ms + _highway_ms(near, left, rng), left)] if left else stops

    def trip(self, at_ms: int, rng: random.Random) -> list[Stop]:
        """Return where a car passes that is on its way from anywhere to anywhere, in order of time."""
        ramp = rng.choice(self.ramps)
        end = self._other_end(ramp, rng)
        if end is None:
            return [Stop(at_ms, ramp)]
        one, other = (ramp, end) if ramp.direction == "on" else (end, ramp)
        return [Stop(at_ms, one), Stop(at_ms + _highway_ms(one, other, rng), other)]

    def _near(self, lat: float, lon: float, direction: Literal["on", "off"], rng: random.Random) -> tuple[Ramp, float]:
        """Return a ramp near a place, and how many seconds the way between them takes."""
        # A site may have ramps of one direction only: better such a one than none.
        ramps = [ramp for ramp in self.ramps if ramp.direction == direction] or self.ramps
        nearest = sorted((distance_m(lat, lon, ramp.lat, ramp.lon), ramp.ramp_id, ramp) for ramp in ramps)
        nearest = nearest[: len(_RAMP_WEIGHTS)]
        away_m, _, ramp = rng.choices(nearest, _RAMP_WEIGHTS[: len(nearest)])[0]
        return ramp, away_m / rng.uniform(*STREET_MPS)

    def _other_end(self, near: Ramp, rng: random.Random) -> Ramp | None:
        """Return a ramp of the same road where the car was, or will be, on the highway's other end; or None."""
        if rng.random() >= SECOND_RAMP_SHARE:
            return None
        ends = [
            ramp
            for ramp in self.ramps
            if ramp.road == near.road
            and ramp.exit != near.exit
            and ramp.direction != near.direction
            and distance_m(near.lat, near.lon, ramp.lat, ramp.lon) <= _FARTHEST_EXIT_M
        ]
        return rng.choice(ends) if ends else None


class Drive(msgspec.Struct, kw_only=True):
    """The truth: the car of ``hit_id`` drove to, or from, the shot ``alert_id``.

    ``read_ids`` are the reads of that drive in the log, by time, misread ones too; none where all cameras missed it.
    ``linkable``: the log holds the shot, a listing under the car's own plate, and a read.
    """

    alert_id: str
    hit_id: str
    kind: Literal["to", "from"]
    read_ids: list[str]
    linkable: bool = False


def drives(plan: CityPlan, alerts: Alerts, thefts: Sequence[Theft], roads: Roads) -> tuple[list[Drive], list[Passage]]:
    """Choose a stolen car for the linked shootings, and drive it there, or away, or both.

    A shooting that was heard as several alerts is one drive, and true of each of them: its passages are the first's.
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
        free = [one for one in thefts if one.drivable_at(from_ms) and busy_until_ms.get(one.hit_id, from_ms) <= from_ms]
        if not free:
            continue
        stolen = rng.choice(free)
        busy_until_ms[stolen.hit_id] = to_ms + 2 * _HOUR_MS
        for kind in rng.choices(_WAYS, _WAY_WEIGHTS)[0]:
            if kind == "to":
                stops = roads.drive_to(first["lat"], first["lon"], from_ms, rng)
            else:
                stops = roads.drive_from(last["lat"], last["lon"], to_ms, rng)
            passages += [Passage(stop.at_ms, stolen.car, stop.ramp, len(truth)) for stop in stops]
            read_ids: list[str] = []  # the same list in each: a read is noted once
            truth += [Drive(alert_id=one, hit_id=stolen.hit_id, kind=kind, read_ids=read_ids) for one in alert_ids]
    return truth, passages


def chance_passages(
    site: Site, plan: CityPlan, thefts: Sequence[Theft], drives: Sequence[Passage], roads: Roads
) -> list[Passage]:
    """Return passages of stolen cars for no reason that we know, none within an hour of a drive of the same car.

    Some are with those who took the car, some with the owner who has it back, or had it all the time.
    """
    rng = random.Random(f"{plan.seed}/chance")
    driven_ms: dict[str, list[int]] = {}
    for passage in drives:
        driven_ms.setdefault(passage.car.plate, []).append(passage.at_ms)
    passages: list[Passage] = []
    for stolen in thefts:
        others_ms = driven_ms.get(stolen.car.plate, [])
        from_ms, to_ms = max(stolen.stolen_at_ms, plan.begin_ms), min(stolen.abandoned_at_ms, plan.end_ms)
        trips = _trips(site, from_ms, to_ms, plan.chance_reads_per_stolen_car_day, JOYRIDING, roads, rng)
        owner_ms = stolen.with_owner_from_ms
        if owner_ms is not None:
            from_ms = max(owner_ms, plan.begin_ms)
            trips += _trips(site, from_ms, plan.end_ms, plan.owner_reads_per_day, TRAFFIC, roads, rng)
        for trip in trips:
            if all(abs(trip[0].at_ms - other_ms) > _HOUR_MS for other_ms in others_ms):
                passages += [Passage(stop.at_ms, stolen.car, stop.ramp, -1) for stop in trip]
    return passages


def _trips(
    site: Site, from_ms: int, to_ms: int, reads_per_day: float, rhythm: Sequence[int], roads: Roads, rng: random.Random
) -> list[list[Stop]]:
    """Return trips for no reason that we know, each past one ramp or two: as often as gives so many reads a day."""
    days = max(0, to_ms - from_ms) / _DAY_MS
    # The part of a trip that is left over is a chance of one more.
    count = int(reads_per_day * days / (1 + SECOND_RAMP_SHARE) + rng.random())
    return [roads.trip(at_ms, rng) for at_ms in moments_between(site, from_ms, to_ms, count, rhythm, rng)]


def _highway_ms(one: Ramp, other: Ramp, rng: random.Random) -> int:
    return _ms(distance_m(one.lat, one.lon, other.lat, other.lon) / rng.uniform(*HIGHWAY_MPS))


def _ms(seconds: float) -> int:
    return round(1000 * seconds)
