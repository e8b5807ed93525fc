"""What there is to play: a simulated evening, or real gunshots with simulated cars around them.

A scene says on its first line what in it is real and what is not. The same arguments give the same scene, to the byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from streams.core.counters.rules import CounterRules
from streams.core.errors import RampwatchError
from streams.core.events import SHOTS
from streams.core.site import Site
from streams.importers.kansas_city import load_activations
from streams.resources.paths import resource_path
from streams.simulate.city import City, SimulatedRecord, simulate
from streams.simulate.history import history
from streams.simulate.plan import CityPlan

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
_EVENING: Final = (2026, 6, 5, 18)
"""A Friday, 18:00 local time, to midnight."""
_LEAD_MS: Final = 120_000
_BACKGROUND_READS_MAX: Final = 200_000
"""Around real shots, over the whole time: years of them would take hours to simulate."""
_WITH_HISTORY: Final = "hartford"
_WEEK: Final = "kansas-city-week.csv"


class Scenario(msgspec.Struct, frozen=True):
    """A city to play; ``about`` says in a sentence what is real in it.

    ``history``: shots from before it, by stamp, for the counters to compare with.
    """

    site: Site
    city: City
    about: str
    history: list[SimulatedRecord] = []

    @property
    def lively_from_ms(self) -> int:
        """When it becomes worth watching: a little before the first shooting that a stolen car drives to or from."""
        times = {r.value["alert_id"]: r.value["occurred_at_ms"] for r in self.city.records if r.topic == SHOTS}
        linked = [times[drive.alert_id] for drive in self.city.truth if drive.alert_id in times]
        return min(linked, default=self.city.records[0].stamp_ms) - _LEAD_MS


def evening(site: Site, seed: int) -> Scenario:
    """Return an evening of six hours, livelier than a real one, all of it simulated."""
    begin = datetime(*_EVENING, tzinfo=ZoneInfo(site.time_zone))
    plan = CityPlan(
        begin_ms=round(begin.timestamp() * 1000),
        duration_ms=6 * _HOUR_MS,
        seed=seed,
        shots_per_day=72,
        linked_share=0.5,
        stolen_cars=24,
        background_reads_per_minute=40,
        list_refresh_h=0,  # within one evening a list that is copied twice a day would hardly change
    )
    about = (
        f"a simulated evening in {site.title or site.name} (seed {seed}), livelier than life: real neighbourhoods and "
        "exits, but shots, cars and plates are invented"
    )
    city = simulate(site, plan)
    return Scenario(site, city, about, history(site, city.records, seed) if site.name == _WITH_HISTORY else [])


def days(site: Site, seed: int, number: int, begin: datetime) -> Scenario:
    """Return so many simulated days of ordinary life from a local midnight on."""
    plan = CityPlan(begin_ms=round(begin.timestamp() * 1000), duration_ms=number * _DAY_MS, seed=seed)
    return Scenario(site, simulate(site, plan), f"simulated: days of {site.name}: {number} (seed {seed})")


def around_shots(site: Site, file: Path, seed: int, number: int | None = None) -> Scenario:
    """Return the real activations of a file with simulated cars around them; at most so many days of them.

    Raises `RampwatchError` where the file is no list of activations, or holds none.
    """
    activations = load_activations(file)
    if not activations.alerts:
        raise RampwatchError(f"{file}: holds no activation that can be used, of {activations.rows} rows")
    times = [_at_ms(alert) for alert in activations.alerts]
    begin = _midnight(times[0], site)
    end_ms = max(times) + _HOUR_MS
    if number is not None:
        end_ms = min(end_ms, round((begin + timedelta(days=number)).timestamp() * 1000))
    begin_ms = round(begin.timestamp() * 1000)
    day_count = max(1, round((end_ms - begin_ms) / _DAY_MS))
    plan = CityPlan(
        begin_ms=begin_ms,
        duration_ms=end_ms - begin_ms,
        seed=seed,
        stolen_cars=8 * day_count,
        background_reads_per_minute=min(10.0, _BACKGROUND_READS_MAX * 60_000 / (end_ms - begin_ms)),
    )
    shots = [alert for alert, at_ms in zip(activations.alerts, times, strict=True) if at_ms < end_ms]
    accounted = f"{activations.rows} rows: {activations.imported} imported, {len(activations.refused)} refused"
    about = (
        f"{len(shots)} real gunshots from {file.name} ({accounted}); "
        f"the cars, plates and reads around them are simulated (seed {seed})"
    )
    return Scenario(site, simulate(site, plan, shots), about)


def default_scenario(site: Site, seed: int, shots: Path | None) -> Scenario:
    """Return what the demo plays: the shots given, the week of real shots for Kansas City, an evening elsewhere."""
    if shots is not None:
        return around_shots(site, shots, seed)
    if site.name == "kansas-city":
        return around_shots(site, resource_path("samples", _WEEK), seed)
    return evening(site, seed)


def rows(scenario: Scenario) -> Iterator[tuple[str, int, str, bytes]]:
    """Hand out a scene's records: topic, stamp, key and value, in the order of their stamps."""
    for record in scenario.city.records:
        yield record.topic, record.stamp_ms, record.key, msgspec.json.encode(record.value)


def history_rows(scenario: Scenario) -> Iterator[tuple[str, int, str, bytes]]:
    """Hand out the records of a scene's history as `rows` does: all of them come before the scene's own."""
    for record in scenario.history:
        yield record.topic, record.stamp_ms, record.key, msgspec.json.encode(record.value)


def counted_in(scenario: Scenario, rules: CounterRules) -> CounterRules:
    """Return rules by which nothing is compared with a time that the scene tells nothing of."""
    zone = ZoneInfo(scenario.site.time_zone)
    first = datetime.fromtimestamp(scenario.city.records[0].stamp_ms / 1000, zone).date()
    return msgspec.structs.replace(
        rules,
        shots_since=rules.shots_since or (None if scenario.history else first),
        stolen_vehicle_hits_since=rules.stolen_vehicle_hits_since or first,
        linked_incidents_since=rules.linked_incidents_since or first,
    )


def local_midnight(site: Site, date: str) -> datetime:
    """Return the beginning of a local date; raises `RampwatchError` where it is none."""
    try:
        day = datetime.strptime(date, "%Y-%m-%d")
        if not 1970 < day.year < 2100:
            raise ValueError
    except ValueError:
        raise RampwatchError(f"{date!r} is no date from 1971 to 2099; write one like 2026-06-05") from None
    return day.replace(tzinfo=ZoneInfo(site.time_zone))


def _at_ms(alert: Mapping[str, object]) -> int:
    at_ms = alert["occurred_at_ms"]
    assert isinstance(at_ms, int)
    return at_ms


def _midnight(at_ms: int, site: Site) -> datetime:
    local = datetime.fromtimestamp(at_ms / 1000, ZoneInfo(site.time_zone))
    return local.replace(hour=0, minute=0, second=0, microsecond=0)
