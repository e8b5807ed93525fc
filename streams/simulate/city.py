"""A simulated city with known truth: stolen cars, shootings, and the plates that cameras at ramps read.

The story: cars are stolen, and reported hours later; some drive to a shooting or away from it, past a ramp or two, and
all pass ramps for no reason that we know. Some are recovered, some reports are withdrawn, some plates were entered
wrongly. Microphones hear shots, and somebody reviews them. Cameras see ordinary traffic as well, and err.

All is invented but the places, and, where real activations are given, the shots. It is a function of the site, the
plan and those shots: every part of the story draws from a stream of its own, seeded by the plan's seed and its name, so
that a fault of the cameras turned on leaves everything else as it was. What is stamped as the log ends, or later, is
left out; what the list said before the log begins is stamped as it begins.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from operator import attrgetter, itemgetter
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from streams.core.events import HITS, READS, SHOTS
from streams.core.plates import plate_key
from streams.core.site import Site, Zone
from streams.simulate.drive import Alerts, Drive, Roads, Theft, chance_passages, drives, listing, theft
from streams.simulate.plan import CityPlan
from streams.simulate.plates import Cameras, Car, Passage, invented_plates

_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 60 * _MINUTE_MS
_DAY_MS: Final = 24 * _HOUR_MS

# How much happens in each hour of the local day, from midnight on.
_TRAFFIC: Final = (12, 8, 6, 6, 10, 25, 55, 85, 90, 70, 62, 65, 70, 70, 75, 85, 95, 98, 80, 60, 48, 40, 30, 20)
_SHOOTING: Final = (90, 75, 60, 42, 28, 18, 10, 8, 8, 10, 12, 14, 18, 20, 24, 28, 34, 42, 52, 64, 80, 96, 100, 98)

_HOME_REGION: Final = {"America/New_York": "US-CT", "America/Chicago": "US-MO"}
_NEIGHBOURS: Final = {"US-CT": ("US-MA", "US-NY", "US-RI"), "US-MO": ("US-KS", "US-IL", "US-NE")}
_HOME_SHARE: Final = 0.92
_HOT_ZONES: Final = 3
_HOT_ZONE_SHARE: Final = 0.6
_MODELS: Final = (
    ("Kia", "Sportage"),
    ("Hyundai", "Elantra"),
    ("Honda", "Civic"),
    ("Toyota", "Camry"),
    ("Ford", "F-150"),
    ("Chevrolet", "Malibu"),
    ("Nissan", "Altima"),
    ("Jeep", "Grand Cherokee"),
    ("Subaru", "Outback"),
    ("Dodge", "Charger"),
)
_KINDS: Final = ("single_gunshot", "multiple_gunshots", "probable_gunfire")
_KIND_WEIGHTS: Final = (35, 50, 15)
_TRIES: Final = 1_000
_COLOURS: Final = ("black", "white", "grey", "silver", "blue", "red", "green")


class SimulatedRecord(msgspec.Struct, frozen=True, gc=False):
    """A record of an input topic: what it says as on the wire, its key, and when it reached the topic."""

    topic: str
    stamp_ms: int
    key: str
    value: dict[str, Any]


class City(msgspec.Struct):
    """``records`` by stamp, all within the plan's time, and the truth behind them, by time of the shot."""

    records: list[SimulatedRecord]
    truth: list[Drive]


def simulate(site: Site, plan: CityPlan, shots: Sequence[Mapping[str, object]] | None = None) -> City:
    """Return the simulated city: the same site, plan and shots give the same, to the byte.

    ``shots`` are alerts as on the wire, such as real activations, taken as they are in place of simulated ones: those
    that first occurred within the plan's time, one or more revisions each. No review is invented for them.

    Raises ValueError for a site whose time zone has no home region where the plan has none, and for more cars
    than there are invented plates.
    """
    alerts = _simulated_shots(site, plan) if shots is None else _given_shots(plan, shots)
    stolen, ordinary = _cars(site, plan)
    thefts = _thefts(site, plan, stolen)
    roads = Roads(site)
    truth, passages = drives(plan, alerts, thefts, roads)
    passages += chance_passages(plan, thefts, passages, roads)
    passages += _ordinary_traffic(site, plan, ordinary, roads)
    records = [*_shot_records(plan, alerts), *_hit_records(plan, thefts)]
    records = [record for record in records if record.stamp_ms < plan.end_ms]
    records += _read_records(plan, passages, truth)
    records.sort(key=attrgetter("stamp_ms"))
    _mark_linkable(truth, records, thefts)
    return City(records, truth)


def _moments(site: Site, plan: CityPlan, count: int, rhythm: Sequence[int], rng: random.Random) -> list[int]:
    """Return ``count`` moments within the plan's time, in order, as the hours of the local day have it."""
    zone = ZoneInfo(site.time_zone)
    begins = range(plan.begin_ms, plan.end_ms, _HOUR_MS)
    spans = [min(_HOUR_MS, plan.end_ms - begin_ms) for begin_ms in begins]
    hours = [datetime.fromtimestamp(begin_ms / 1000, zone).hour for begin_ms in begins]
    weights = [rhythm[hour] * span_ms for hour, span_ms in zip(hours, spans, strict=True)]
    slots = rng.choices(range(len(begins)), weights, k=count)
    return sorted(begins[slot] + int(spans[slot] * rng.random()) for slot in slots)


# --- shots ---


class _Places:
    """Random places in the site's zones, or, where it has none, in the rectangle that its ramps span."""

    def __init__(self, site: Site, rng: random.Random) -> None:
        self._site, self._rng = site, rng
        self._hot = rng.sample(site.zones, min(_HOT_ZONES, len(site.zones)))

    def anywhere(self) -> tuple[float, float]:
        """Return a latitude and longitude."""
        zones = self._site.zones
        return self._inside(self._rng.choice(zones)) if zones else self._among_ramps()

    def hot(self) -> tuple[float, float]:
        """Return a latitude and longitude, mostly in one of the few zones where most shots are fired."""
        if self._hot and self._rng.random() < _HOT_ZONE_SHARE:
            return self._inside(self._rng.choice(self._hot))
        return self.anywhere()

    def _inside(self, zone: Zone) -> tuple[float, float]:
        outlines = [position for polygon in zone.geometry for position in polygon[0]]
        west, east = min(lon for lon, _ in outlines), max(lon for lon, _ in outlines)
        south, north = min(lat for _, lat in outlines), max(lat for _, lat in outlines)
        for _ in range(_TRIES):
            lat, lon = round(self._rng.uniform(south, north), 5), round(self._rng.uniform(west, east), 5)
            if self._site.zone_at(lat, lon) == zone.zone_id:
                return lat, lon
        # A sliver, or a zone that earlier ones cover: its corner will do.
        return outlines[0][1], outlines[0][0]

    def _among_ramps(self) -> tuple[float, float]:
        lats = [ramp.lat for ramp in self._site.ramps.values()]
        lons = [ramp.lon for ramp in self._site.ramps.values()]
        lat, lon = self._rng.uniform(min(lats), max(lats)), self._rng.uniform(min(lons), max(lons))
        return round(lat, 5), round(lon, 5)


def _given_shots(plan: CityPlan, shots: Sequence[Mapping[str, Any]]) -> Alerts:
    alerts: Alerts = {}
    for shot in sorted(shots, key=lambda shot: shot.get("revision", 0)):
        alerts.setdefault(shot["alert_id"], []).append(shot)
    heard_ms = {alert_id: revisions[0]["occurred_at_ms"] for alert_id, revisions in alerts.items()}
    within = [alert_id for alert_id, at_ms in heard_ms.items() if plan.begin_ms <= at_ms < plan.end_ms]
    return {alert_id: alerts[alert_id] for alert_id in sorted(within, key=lambda one: (heard_ms[one], one))}


def _simulated_shots(site: Site, plan: CityPlan) -> Alerts:
    rng = random.Random(f"{plan.seed}/shots")
    places = _Places(site, random.Random(f"{plan.seed}/shot places"))
    count = round(plan.shots_per_day * plan.duration_ms / _DAY_MS)
    alerts: Alerts = {}
    for number, occurred_at_ms in enumerate(_moments(site, plan, count, _SHOOTING, rng), start=1):
        alert_id = f"SIM-S{number:06d}"
        alerts[alert_id] = _shot(alert_id, occurred_at_ms, places.hot(), plan, rng)
    return alerts


def _shot(
    alert_id: str, occurred_at_ms: int, place: tuple[float, float], plan: CityPlan, rng: random.Random
) -> list[Mapping[str, Any]]:
    """Return a shot as first heard, and as reviewed."""
    kind = rng.choices(_KINDS, _KIND_WEIGHTS)[0]
    shots = rng.randrange(2, 16)
    heard = {
        "alert_id": alert_id,
        "revision": 0,
        "status": "unreviewed",
        "kind": kind,
        "occurred_at_ms": occurred_at_ms,
        "lat": place[0],
        "lon": place[1],
        "uncertainty_m": 25,
        "source": "simulated",
    }
    dismissed, reclassified = rng.random() < plan.dismissed_share, rng.random() < plan.reclassified_share
    other = rng.choice([one for one in _KINDS if one != kind])
    reviewed = heard | {"revision": 1, "status": "dismissed" if dismissed else "confirmed"}
    reviewed["kind"] = other if reclassified and not dismissed else kind
    return [_with_rounds(heard, shots), _with_rounds(reviewed, shots)]


def _with_rounds(shot: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Say how many rounds were fired, where the kind of the alert says that they were counted."""
    match shot["kind"]:
        case "single_gunshot":
            return shot | {"rounds": 1}
        case "multiple_gunshots":
            return shot | {"rounds": rounds}
        case _:
            return shot


def _shot_records(plan: CityPlan, alerts: Alerts) -> Iterator[SimulatedRecord]:
    rng = random.Random(f"{plan.seed}/shot stamps")
    for alert_id, revisions in alerts.items():
        stamp_ms = 0
        for shot in revisions:
            heard_ms = int(shot["occurred_at_ms"]) + rng.randrange(5_000, 30_000)
            stamp_ms = max(heard_ms, stamp_ms + rng.randrange(15_000, 60_000))
            yield SimulatedRecord(SHOTS, stamp_ms, alert_id, dict(shot))


# --- cars ---


def _cars(site: Site, plan: CityPlan) -> tuple[list[Car], list[Car]]:
    """Return the cars that will be stolen, and the others."""
    rng = random.Random(f"{plan.seed}/cars")
    home = plan.region or _HOME_REGION.get(site.time_zone)
    if home is None:
        raise ValueError(f"No home region is known for the time zone {site.time_zone}: set the plan's region.")
    abroad = _NEIGHBOURS.get(home, (home,))
    this_year = datetime.fromtimestamp(plan.begin_ms / 1000, UTC).year
    cars = []
    for plate in invented_plates(plan.stolen_cars + plan.ordinary_cars, rng):
        region = home if rng.random() < _HOME_SHARE else rng.choice(abroad)
        make, model = rng.choice(_MODELS)
        year = this_year - rng.randrange(18)
        cars.append(Car(plate, plate_key(plate), region, make, model, rng.choice(_COLOURS), year))
    return cars[: plan.stolen_cars], cars[plan.stolen_cars :]


def _thefts(site: Site, plan: CityPlan, stolen: Sequence[Car]) -> list[Theft]:
    rng = random.Random(f"{plan.seed}/thefts")
    places = _Places(site, random.Random(f"{plan.seed}/theft places"))
    return [theft(number, car, places.anywhere(), plan, rng) for number, car in enumerate(stolen, start=1)]


def _hit_records(plan: CityPlan, thefts: Sequence[Theft]) -> Iterator[SimulatedRecord]:
    for stolen in thefts:
        rng = random.Random(f"{plan.seed}/listing/{stolen.hit_id}")
        for stamp_ms, key, value in listing(stolen, plan.begin_ms, rng):
            yield SimulatedRecord(HITS, stamp_ms, key, value)


# --- reads ---


def _ordinary_traffic(site: Site, plan: CityPlan, ordinary: Sequence[Car], roads: Roads) -> list[Passage]:
    rng = random.Random(f"{plan.seed}/traffic")
    count = round(plan.background_reads_per_minute * plan.duration_ms / _MINUTE_MS)
    moments = _moments(site, plan, count, _TRAFFIC, rng)
    busy = [rng.lognormvariate(0.0, 0.6) for _ in roads.ramps]
    ramps = rng.choices(roads.ramps, busy, k=count)
    cars = rng.choices(ordinary, k=count)
    return [Passage(at_ms, car, ramp, -1) for at_ms, car, ramp in zip(moments, cars, ramps, strict=True)]


def _read_records(plan: CityPlan, passages: list[Passage], truth: Sequence[Drive]) -> list[SimulatedRecord]:
    """Return what cameras report of the passages, and note in the truth which reads are of which drive."""
    cameras = Cameras(plan)
    records: list[SimulatedRecord] = []
    # Numbered by time: an id says nothing about whether the car is stolen.
    for number, passage in enumerate(sorted(passages, key=itemgetter(0))):
        read_id = f"R{number:015d}"
        for stamp_ms, key, value in cameras.records(read_id, passage):
            if passage.at_ms < plan.begin_ms or stamp_ms >= plan.end_ms:
                continue
            records.append(SimulatedRecord(READS, stamp_ms, key, value))
            if passage.drive >= 0 and read_id not in truth[passage.drive].read_ids:
                truth[passage.drive].read_ids.append(read_id)
    return records


def _mark_linkable(truth: Sequence[Drive], records: Sequence[SimulatedRecord], thefts: Sequence[Theft]) -> None:
    own_keys = {stolen.hit_id: stolen.car.plate_key for stolen in thefts}
    heard = {record.key for record in records if record.topic == SHOTS}
    listed = {
        record.value["hit_id"]
        for record in records
        if record.topic == HITS and record.key == own_keys[record.value["hit_id"]]
    }
    for drive in truth:
        drive.linkable = drive.alert_id in heard and drive.hit_id in listed and bool(drive.read_ids)
