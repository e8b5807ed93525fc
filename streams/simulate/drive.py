"""Stolen cars: taken, driven past ramps to a shooting or away from it, listed, and given back."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from streams.core.geo import distance_m
from streams.core.plates import fold
from streams.core.site import Ramp, Site
from streams.simulate.plan import CityPlan
from streams.simulate.plates import Car, Passage, mistyped

_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 60 * _MINUTE_MS
_DAY_MS: Final = 24 * _HOUR_MS

STOLEN_BEFORE_MS: Final = 36 * _HOUR_MS
"""The first cars are stolen this long before the log begins: the list is not empty then."""

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

Alerts = dict[str, list[Mapping[str, Any]]]
"""The revisions of each alert, in order, by its id; the alerts by time of the first revision."""


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


class Theft(msgspec.Struct, frozen=True, kw_only=True):
    """The story of a stolen car; ``lat``, ``lon``: where it stood.

    ``last_seen_ms`` is when its owner last saw it, as the report says, None if it says nothing; ``entered_plate`` is
    what the list said first, right or wrong, and ``corrected_at_ms`` when that was put right.
    """

    hit_id: str
    oca: str
    car: Car
    lat: float
    lon: float
    stolen_at_ms: int
    abandoned_at_ms: int
    last_seen_ms: int | None
    reported_at_ms: int
    entered_at_ms: int
    entered_plate: str
    corrected_at_ms: int
    fate: Literal["missing", "recovered", "cancelled"]
    closed_at_ms: int

    def drivable_at(self, at_ms: int) -> bool:
        """Whether it is with those who took it an hour before and after a moment; a withdrawn theft was none."""
        if self.fate == "cancelled":
            return False
        return self.stolen_at_ms + _HOUR_MS <= at_ms <= self.abandoned_at_ms - _HOUR_MS


def drives(plan: CityPlan, alerts: Alerts, thefts: Sequence[Theft], roads: Roads) -> tuple[list[Drive], list[Passage]]:
    """Choose a stolen car for the linked shots, and drive it there, or away, or both."""
    truth: list[Drive] = []
    passages: list[Passage] = []
    busy_until_ms: dict[str, int] = {}
    for alert_id, revisions in alerts.items():
        at_ms, lat, lon = (revisions[0][name] for name in ("occurred_at_ms", "lat", "lon"))
        rng = random.Random(f"{plan.seed}/drive/{alert_id}")
        if rng.random() >= plan.linked_share:
            continue
        free = [one for one in thefts if one.drivable_at(at_ms) and busy_until_ms.get(one.hit_id, at_ms) <= at_ms]
        if not free:
            continue
        stolen = rng.choice(free)
        busy_until_ms[stolen.hit_id] = at_ms + 2 * _HOUR_MS
        for kind in rng.choices(_WAYS, _WAY_WEIGHTS)[0]:
            stops = (roads.drive_to if kind == "to" else roads.drive_from)(lat, lon, at_ms, rng)
            passages += [Passage(stop.at_ms, stolen.car, stop.ramp, len(truth)) for stop in stops]
            truth.append(Drive(alert_id=alert_id, hit_id=stolen.hit_id, kind=kind, read_ids=[]))
    return truth, passages


def chance_passages(plan: CityPlan, thefts: Sequence[Theft], drives: Sequence[Passage], roads: Roads) -> list[Passage]:
    """Return passages of stolen cars for no reason that we know, none within an hour of a drive of the same car."""
    rng = random.Random(f"{plan.seed}/chance")
    driven_ms: dict[str, list[int]] = {}
    for passage in drives:
        driven_ms.setdefault(passage.car.plate, []).append(passage.at_ms)
    passages: list[Passage] = []
    for stolen in thefts:
        from_ms, to_ms = max(stolen.stolen_at_ms, plan.begin_ms), min(stolen.abandoned_at_ms, plan.end_ms)
        days = max(0, to_ms - from_ms) / _DAY_MS
        # The part of a read that is left over is a chance of one more.
        for _ in range(int(plan.chance_reads_per_stolen_car_day * days + rng.random())):
            at_ms, ramp = rng.randrange(from_ms, to_ms), rng.choice(roads.ramps)
            if all(abs(at_ms - other_ms) > _HOUR_MS for other_ms in driven_ms.get(stolen.car.plate, ())):
                passages.append(Passage(at_ms, stolen.car, ramp, -1))
    return passages


def theft(number: int, car: Car, place: tuple[float, float], plan: CityPlan, rng: random.Random) -> Theft:
    """Return the story of the ``number``-th stolen car; which faults are on changes no draw."""
    stolen_at_ms = rng.randrange(plan.begin_ms - STOLEN_BEFORE_MS, plan.end_ms)
    abandoned_at_ms = stolen_at_ms + _delay_ms(plan.kept_median_h, 0.8, rng)
    last_seen_ms = stolen_at_ms - round(rng.expovariate(1 / (2 * _HOUR_MS)))
    reported_at_ms = stolen_at_ms + _delay_ms(plan.report_delay_median_h, 1.0, rng)
    entered_at_ms = reported_at_ms + rng.randrange(2 * _MINUTE_MS, 30 * _MINUTE_MS)
    corrected_at_ms = entered_at_ms + _delay_ms(1.5, 0.8, rng)
    recovered_at_ms = max(abandoned_at_ms, corrected_at_ms) + _delay_ms(8.0, 1.0, rng)
    withdrawn_at_ms = corrected_at_ms + _delay_ms(5.0, 1.0, rng)
    lot, unknown, wrong = rng.random(), rng.random(), rng.random()
    fate: Literal["missing", "recovered", "cancelled"] = "missing"
    if lot < plan.cancelled_share:
        fate = "cancelled"
    elif lot > 1 - plan.recovered_share:
        fate = "recovered"
    mistaken = mistyped(car.plate, rng)
    return Theft(
        hit_id=f"SIM-V{number:07d}",
        oca=f"SIM-{number:07d}",
        car=car,
        lat=place[0],
        lon=place[1],
        stolen_at_ms=stolen_at_ms,
        abandoned_at_ms=abandoned_at_ms,
        last_seen_ms=None if unknown < plan.theft_time_unknown_share else last_seen_ms,
        reported_at_ms=reported_at_ms,
        entered_at_ms=entered_at_ms,
        entered_plate=mistaken if wrong < plan.plate_corrected_share else car.plate,
        corrected_at_ms=corrected_at_ms,
        fate=fate,
        closed_at_ms=withdrawn_at_ms if fate == "cancelled" else recovered_at_ms,
    )


def listing(theft: Theft, begin_ms: int, rng: random.Random) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Yield stamp in ms, plate key and value of each revision of a listing, in order.

    What the list said before the log begins is stamped as it begins. A wrong plate is cancelled under its own key
    before the right one is listed (JOIN.md, a corrected plate).
    """
    right = theft.car.plate
    steps = [(theft.entered_at_ms, theft.entered_plate, "active")]
    if theft.entered_plate != right:
        steps += [(theft.corrected_at_ms, theft.entered_plate, "cancelled"), (theft.corrected_at_ms, right, "active")]
    if theft.fate != "missing":
        # Those who found it tell the list later: recovered cars stay listed for hours.
        steps.append((theft.closed_at_ms + _delay_ms(2.0, 0.6, rng), right, theft.fate))
    stamp_ms = begin_ms
    for revision, (updated_at_ms, plate, status) in enumerate(steps):
        stamp_ms = max(stamp_ms, updated_at_ms) + rng.randrange(1, 3_000)
        yield stamp_ms, fold(plate), _hit(theft, revision, updated_at_ms, plate, status)


def _hit(theft: Theft, revision: int, updated_at_ms: int, plate: str, status: str) -> dict[str, Any]:
    value: dict[str, Any] = {
        "hit_id": theft.hit_id,
        "revision": revision,
        "status": status,
        "plate": plate,
        "region": theft.car.region,
        "reported_at_ms": theft.reported_at_ms,
        "make": theft.car.make,
        "model": theft.car.model,
        "colour": theft.car.colour,
        "year": theft.car.year,
        # No agency's: the field's form, and plainly nobody's number.
        "ori": "ZZ0000001",
        "oca": theft.oca,
        "list_updated_at_ms": updated_at_ms,
        "lat": theft.lat,
        "lon": theft.lon,
    }
    if theft.last_seen_ms is not None:
        value["stolen_at_ms"] = theft.last_seen_ms
    if status == "recovered":
        value["cleared_at_ms"] = theft.closed_at_ms
    return value


def _delay_ms(median_h: float, sigma: float, rng: random.Random) -> int:
    return round(median_h * _HOUR_MS * rng.lognormvariate(0.0, sigma))


def _highway_ms(one: Ramp, other: Ramp, rng: random.Random) -> int:
    return _ms(distance_m(one.lat, one.lon, other.lat, other.lon) / rng.uniform(*HIGHWAY_MPS))


def _ms(seconds: float) -> int:
    return round(1000 * seconds)
