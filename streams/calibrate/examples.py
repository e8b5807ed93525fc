"""Labelled examples: the incidents of a simulated week, and which are true.

An incident counts in the state that a dispatcher acts on: its last revision within half an hour of
the first one published. So a shot dismissed by review within a minute counts as nothing. A car that
was recovered hours ago but is still listed counts as the false lead that it was, even if the list
is corrected in the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct, structs

from streams.core.events import LinkedIncident, Record
from streams.core.pipeline import Pipeline
from streams.core.rules import JoinRules
from streams.core.scoring import Calibration
from streams.core.site import Site
from streams.core.topics import HITS, READS
from streams.replay.run import new_pipeline
from streams.simulate.city import City, SimulatedRecord, simulate
from streams.simulate.plan import CityPlan

_DAY_MS: Final = 86_400_000
_DAYS: Final = 7
_DISPATCH_WITHIN_MS: Final = 30 * 60_000
_MONDAY: Final = (2026, 6, 1)

ANYWHERE: Final = JoinRules(max_distance_m=2**31, max_speed_mps=2**31)
"""Rules that link a shot to any stolen car read in its time window, at any distance and speed."""


class Example(Struct, frozen=True):
    """An incident as a dispatcher saw it, and whether its link is true."""

    incident: LinkedIncident
    linked: bool


class LabelledWeek(Struct, frozen=True):
    """The incidents of one week, and the number of true links that there were to find."""

    examples: list[Example]
    true_links: int


def week_plan(site: Site, seed: int) -> CityPlan:
    """Return the plan of a week in a city of Hartford's size, with every fault at its default rate.

    Ordinary traffic is reduced, together with the number of ordinary cars, so that each car still
    passes as often as in reality. Reads of unlisted plates change no incident.
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


def simulate_week(site: Site, seed: int, **changes: float) -> City:
    """Return a simulated week; ``changes`` override parameters of its plan by name."""
    return simulate(site, structs.replace(week_plan(site, seed), **changes))


def label_week(site: Site, city: City, rules: JoinRules, calibration: Calibration) -> LabelledWeek:
    """Join a simulated week under the rules, and label each incident as true or false."""
    truth = {(drive.alert_id, drive.hit_id) for drive in city.truth if drive.linkable}
    dismissed = {record.key for record in city.records if record.value.get("status") == "dismissed"}
    incidents = _seen_by_dispatchers(new_pipeline(site, rules, calibration), _records(city))
    examples = [Example(incident, (incident.shot.alert_id, incident.vehicle.hit_id) in truth) for incident in incidents]
    return LabelledWeek(examples, sum(alert_id not in dismissed for alert_id, _ in truth))


def _seen_by_dispatchers(pipeline: Pipeline, records: Iterable[Record]) -> list[LinkedIncident]:
    """Return each incident as of half an hour after its first revision, if still open."""
    first_ms: dict[str, int] = {}
    seen: dict[str, LinkedIncident] = {}
    for record in records:
        for incident in pipeline.apply(record).incidents:
            since_ms = first_ms.setdefault(incident.incident_id, record.stamp_ms)
            if record.stamp_ms <= since_ms + _DISPATCH_WITHIN_MS:
                seen[incident.incident_id] = incident
    return [incident for incident in seen.values() if incident.status == "open"]


def _records(city: City) -> Iterator[Record]:
    """Yield the city's records in log order, without reads of plates that are never listed.

    Such reads link nothing.
    """
    listed = {record.key for record in city.records if record.topic == HITS}
    relevant: list[SimulatedRecord] = [r for r in city.records if r.topic != READS or r.key in listed]
    for offset, record in enumerate(relevant):
        yield Record(record.topic, 0, offset, record.stamp_ms, msgspec.json.encode(record.value))
