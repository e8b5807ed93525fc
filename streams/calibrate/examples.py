"""Worlds to learn from: a simulated city, folded as a worker would, with what its incidents said and what was true.

An incident counts as a dispatcher had it: the last revision within half an hour of the first that was open. So a shot
that review dismissed in a minute counts for nothing, while a car that was found hours ago and is listed still counts as
the false lead that it was, though the list corrects it in the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct, structs

from streams.core.events import HITS, READS, LinkedIncident, Record
from streams.core.rules import JoinRules
from streams.core.scoring import Calibration
from streams.core.site import Site
from streams.replay.run import Fold
from streams.simulate.city import City, SimulatedRecord, simulate
from streams.simulate.plan import CityPlan

_DAY_MS: Final = 86_400_000
_DAYS: Final = 7
_SEEN_WITHIN_MS: Final = 30 * 60_000
_MONDAY: Final = (2026, 6, 1)

ANYWHERE: Final = JoinRules(max_distance_m=2**31, max_speed_mps=2**31)
"""Rules under which any stolen car read in a shot's window is linked to it, wherever that was."""


class Example(Struct, frozen=True):
    """An incident as a dispatcher had it, and whether it was true."""

    incident: LinkedIncident
    linked: bool


class Examined(Struct, frozen=True):
    """What the join made of a world: its incidents, and how many there were to find."""

    examples: list[Example]
    to_find: int


def ordinary_week(site: Site, seed: int) -> CityPlan:
    """Return a week in a city of the size of Hartford, with every fault at its usual rate.

    Ordinary traffic is thinned out, and its cars with it, so that a car passes as often as in life: reads of plates
    that nobody lists change no incident.
    """
    begin = datetime(*_MONDAY, tzinfo=ZoneInfo(site.time_zone))
    return CityPlan(
        begin_ms=round(begin.timestamp() * 1000),
        duration_ms=_DAYS * _DAY_MS,
        seed=seed,
        shots_per_day=8.0,
        stolen_cars=60,
        background_reads_per_minute=1.0,
        ordinary_cars=1_000,
    )


def examine(site: Site, city: City, rules: JoinRules, calibration: Calibration) -> Examined:
    """Fold a city under the rules and return its incidents with the truth about each."""
    truth = {(drive.alert_id, drive.hit_id) for drive in city.truth if drive.linkable}
    dismissed = {record.key for record in city.records if record.value.get("status") == "dismissed"}
    said = as_seen(Fold(site, rules, calibration), _records(city))
    examples = [Example(incident, (incident.shot.alert_id, incident.vehicle.hit_id) in truth) for incident in said]
    return Examined(examples, sum(alert_id not in dismissed for alert_id, _ in truth))


def as_seen(fold: Fold, records: Iterable[Record]) -> list[LinkedIncident]:
    """Return each incident as it stood half an hour after it was first said; those retracted by then are left out."""
    first_ms: dict[str, int] = {}
    seen: dict[str, LinkedIncident] = {}
    for record in records:
        for incident in fold.apply(record)[0]:
            since_ms = first_ms.setdefault(incident.incident_id, record.stamp_ms)
            if record.stamp_ms <= since_ms + _SEEN_WITHIN_MS:
                seen[incident.incident_id] = incident
    return [incident for incident in seen.values() if incident.status == "open"]


def world(site: Site, seed: int, **changed: float) -> City:
    """Return an ordinary week of a city, with the plan's numbers changed that are named."""
    return simulate(site, structs.replace(ordinary_week(site, seed), **changed))


def _records(city: City) -> Iterator[Record]:
    """The city's records as they lie in the log, without reads of plates that are never listed: they link nothing."""
    listed = {record.key for record in city.records if record.topic == HITS}
    wanted: list[SimulatedRecord] = [r for r in city.records if r.topic != READS or r.key in listed]
    for offset, record in enumerate(wanted):
        yield Record(record.topic, 0, offset, record.stamp_ms, msgspec.json.encode(record.value))
