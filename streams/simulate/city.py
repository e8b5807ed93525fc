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
from operator import attrgetter, itemgetter
from typing import Any, Final

import msgspec

from streams.core.events import HITS, READS, SHOTS
from streams.core.site import Site
from streams.simulate.cameras import Cameras
from streams.simulate.cars import cars
from streams.simulate.drive import Drive, Roads, chance_passages, drives
from streams.simulate.plan import CityPlan
from streams.simulate.plates import Car, Passage
from streams.simulate.rhythm import TRAFFIC, moments
from streams.simulate.shots import Places, given_shots, shot_stamps, simulated_shots
from streams.simulate.thefts import Theft, listing, theft

_MINUTE_MS: Final = 60_000


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
    alerts = simulated_shots(site, plan) if shots is None else given_shots(plan, shots)
    stolen, ordinary = cars(site, plan)
    thefts = _thefts(site, plan, stolen)
    roads = Roads(site)
    truth, passages = drives(plan, alerts, thefts, roads)
    passages += chance_passages(site, plan, thefts, passages, roads)
    passages += _ordinary_traffic(site, plan, ordinary, roads)
    records = [SimulatedRecord(SHOTS, *stamped) for stamped in shot_stamps(plan, alerts)]
    records += _hit_records(plan, thefts)
    records = [record for record in records if record.stamp_ms < plan.end_ms]
    records += _read_records(plan, passages, truth)
    records.sort(key=attrgetter("stamp_ms"))
    _mark_linkable(truth, records, thefts)
    return City(records, truth)


def _thefts(site: Site, plan: CityPlan, stolen: Sequence[Car]) -> list[Theft]:
    rng = random.Random(f"{plan.seed}/thefts")
    places = Places(site, random.Random(f"{plan.seed}/theft places"))
    return [theft(number, car, places.anywhere(), plan, rng) for number, car in enumerate(stolen, start=1)]


def _hit_records(plan: CityPlan, thefts: Sequence[Theft]) -> Iterator[SimulatedRecord]:
    for stolen in thefts:
        rng = random.Random(f"{plan.seed}/listing/{stolen.hit_id}")
        for stamp_ms, key, value in listing(stolen, plan, rng):
            yield SimulatedRecord(HITS, stamp_ms, key, value)


def _ordinary_traffic(site: Site, plan: CityPlan, ordinary: Sequence[Car], roads: Roads) -> list[Passage]:
    rng = random.Random(f"{plan.seed}/traffic")
    count = round(plan.background_reads_per_minute * plan.duration_ms / _MINUTE_MS)
    times_ms = moments(site, plan, count, TRAFFIC, rng)
    busy = [rng.lognormvariate(0.0, 0.6) for _ in roads.ramps]
    ramps = rng.choices(roads.ramps, busy, k=count)
    drivers = rng.choices(ordinary, k=count)
    return [Passage(at_ms, car, ramp, -1) for at_ms, car, ramp in zip(times_ms, drivers, ramps, strict=True)]


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
