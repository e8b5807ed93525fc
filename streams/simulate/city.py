"""A simulated city with known truth: stolen cars, shootings, and the plate reads of ramp cameras.

Cars are stolen, and reported hours later. Some drive to a shooting or away from one, past one or
two ramps; all of them also pass ramps on unrelated trips. Some are recovered, some reports are
withdrawn, some plates were entered wrongly. Acoustic sensors report shots, which are then reviewed.
Cameras also read ordinary traffic, and make errors.

Only the site is real, and the shots if real activations are passed in. The result is a pure
function of the site, the plan and those shots. Each part of the simulation draws from its own
random stream, seeded with the plan's seed and the part's name, so enabling a camera fault leaves
everything else unchanged. Records stamped at or after the end of the plan are omitted. List
entries from before its beginning are stamped at its beginning.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter, itemgetter
from typing import Any, Final

import msgspec

from streams.core.site import Site
from streams.core.topics import HITS, READS, SHOTS
from streams.simulate.cameras import Cameras
from streams.simulate.cars import cars
from streams.simulate.drive import Drive, Roads, chance_passages, drives
from streams.simulate.hourly import TRAFFIC, random_times
from streams.simulate.plan import CityPlan
from streams.simulate.plates import Car, Passage
from streams.simulate.shots import RandomLocations, given_shots, shot_records, simulated_shots
from streams.simulate.thefts import Theft, listing_records, simulated_theft

_MINUTE_MS: Final = 60_000
_REPORT_EVERY: Final = 10_000
"""Passages between two reports of progress."""

Progress = Callable[[str, float], None]
"""Takes what has been done, and the share of all, from 0 to 1."""


def unreported(_: str, __: float) -> None:
    """Report progress to nobody."""


class SimulatedRecord(msgspec.Struct, frozen=True, gc=False):
    """A record of an input topic: the broker's timestamp, the record key and the JSON value."""

    topic: str
    stamp_ms: int
    key: str
    value: dict[str, Any]


class City(msgspec.Struct):
    """A simulated city.

    ``records``: ordered by stamp, all within the plan. ``truth``: the linked drives behind them,
    ordered by the time of the shot.
    """

    records: list[SimulatedRecord]
    truth: list[Drive]


def simulate(
    site: Site,
    plan: CityPlan,
    shots: Sequence[Mapping[str, object]] | None = None,
    progress: Progress = unreported,
) -> City:
    """Return the simulated city; the same site, plan and shots give the same bytes.

    ``shots``: alerts as JSON objects, such as real activations, used unchanged instead of simulated
    ones. Each has one or more revisions. Alerts whose first revision occurred outside the plan are
    omitted. No reviews are simulated for them.

    ``progress`` is called now and then with what has been done. Raises ValueError if neither the
    plan nor the site's time zone gives a home region, or if the plan has more cars than there are
    invented plates.
    """
    alerts = simulated_shots(site, plan) if shots is None else given_shots(plan, shots)
    stolen, ordinary = cars(site, plan)
    thefts = _thefts(site, plan, stolen)
    roads = Roads(site)
    truth, passages = drives(plan, alerts, thefts, roads)
    passages += chance_passages(site, plan, thefts, passages, roads)
    passages += _ordinary_traffic(site, plan, ordinary, roads)
    records = [SimulatedRecord(SHOTS, *record) for record in shot_records(plan, alerts)]
    records += _hit_records(plan, thefts)
    records = [record for record in records if record.stamp_ms < plan.end_ms]
    records += _read_records(plan, passages, truth, progress)
    records.sort(key=attrgetter("stamp_ms"))
    _mark_linkable(truth, records, thefts)
    return City(records, truth)


def _thefts(site: Site, plan: CityPlan, stolen: Sequence[Car]) -> list[Theft]:
    rng = random.Random(f"{plan.seed}/thefts")
    locations = RandomLocations(site, random.Random(f"{plan.seed}/theft places"))
    return [simulated_theft(number, car, locations.anywhere(), plan, rng) for number, car in enumerate(stolen, start=1)]


def _hit_records(plan: CityPlan, thefts: Sequence[Theft]) -> Iterator[SimulatedRecord]:
    for theft in thefts:
        rng = random.Random(f"{plan.seed}/listing/{theft.hit_id}")
        for stamp_ms, key, value in listing_records(theft, plan, rng):
            yield SimulatedRecord(HITS, stamp_ms, key, value)


def _ordinary_traffic(site: Site, plan: CityPlan, ordinary: Sequence[Car], roads: Roads) -> list[Passage]:
    rng = random.Random(f"{plan.seed}/traffic")
    count = round(plan.background_reads_per_minute * plan.duration_ms / _MINUTE_MS)
    times_ms = random_times(site, plan, count, TRAFFIC, rng)
    ramp_weights = [rng.lognormvariate(0.0, 0.6) for _ in roads.ramps]
    ramps = rng.choices(roads.ramps, ramp_weights, k=count)
    passing = rng.choices(ordinary, k=count)
    return [Passage(at_ms, car, ramp, -1) for at_ms, car, ramp in zip(times_ms, passing, ramps, strict=True)]


def _read_records(
    plan: CityPlan, passages: list[Passage], truth: Sequence[Drive], progress: Progress
) -> list[SimulatedRecord]:
    """Return the read records of the passages, and add the read ids of each drive to the truth."""
    cameras = Cameras(plan)
    records: list[SimulatedRecord] = []
    # Number reads in order of time, so that an id does not reveal whether the car is stolen.
    for number, passage in enumerate(sorted(passages, key=itemgetter(0))):
        if number % _REPORT_EVERY == 0:
            progress(f"simulated {number:,} of {len(passages):,} passages", number / len(passages))
        read_id = f"R{number:015d}"
        for stamp_ms, key, value in cameras.records(read_id, passage):
            if passage.at_ms < plan.begin_ms or stamp_ms >= plan.end_ms:
                continue
            records.append(SimulatedRecord(READS, stamp_ms, key, value))
            if passage.drive >= 0 and read_id not in truth[passage.drive].read_ids:
                truth[passage.drive].read_ids.append(read_id)
    return records


def _mark_linkable(truth: Sequence[Drive], records: Sequence[SimulatedRecord], thefts: Sequence[Theft]) -> None:
    own_keys = {theft.hit_id: theft.car.plate_key for theft in thefts}
    alert_ids = {record.key for record in records if record.topic == SHOTS}
    correctly_listed = {
        record.value["hit_id"]
        for record in records
        if record.topic == HITS and record.key == own_keys[record.value["hit_id"]]
    }
    for drive in truth:
        drive.linkable = drive.alert_id in alert_ids and drive.hit_id in correctly_listed and bool(drive.read_ids)
