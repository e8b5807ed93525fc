"""Scenarios to play: a simulated evening, simulated days, or real gunshots with simulated cars.

Every scenario states which parts of it are real. The same arguments give the same bytes.
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
from streams.core.rules import JoinRules
from streams.core.site import Site
from streams.core.topics import SHOTS
from streams.importers.kansas_city import load_activations
from streams.resources.paths import resource_path
from streams.resources.site_check import check_shots
from streams.simulate.city import City, Progress, SimulatedRecord, simulate, unreported
from streams.simulate.history import history
from streams.simulate.plan import CityPlan

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
_EVENING: Final = (2026, 6, 5, 18)
"""A Friday, 18:00 local time."""
_LEAD_MS: Final = 120_000
_MAX_BACKGROUND_READS: Final = 200_000
"""Upper limit around real shots: a full load over years would take hours to simulate."""
_SITE_WITH_HISTORY: Final = "hartford"
_WEEK: Final = "kansas-city-week.csv"


class Scenario(msgspec.Struct, frozen=True):
    """A city to play.

    ``about``: one sentence on which parts of it are real. ``history``: earlier shots, by stamp, for
    the counters to compare with.
    """

    site: Site
    city: City
    about: str
    history: list[SimulatedRecord] = []

    @property
    def playback_from_ms(self) -> int:
        """Start of the paced playback: two minutes before the first shooting linked to a car."""
        times = {r.value["alert_id"]: r.value["occurred_at_ms"] for r in self.city.records if r.topic == SHOTS}
        linked = [times[drive.alert_id] for drive in self.city.truth if drive.alert_id in times]
        return min(linked, default=self.city.records[0].stamp_ms) - _LEAD_MS


def evening(site: Site, seed: int) -> Scenario:
    """Return a simulated evening of six hours, with more events than a real one."""
    begin = datetime(*_EVENING, tzinfo=ZoneInfo(site.time_zone))
    plan = CityPlan(
        begin_ms=round(begin.timestamp() * 1000),
        duration_ms=6 * _HOUR_MS,
        seed=seed,
        shots_per_day=72,
        linked_share=0.5,
        stolen_cars=24,
        background_reads_per_minute=40,
        list_refresh_h=0,  # a list copied twice a day would hardly change within one evening
    )
    about = (
        f"a simulated evening in {site.title or site.name} (seed {seed}), busier than a real one: neighbourhoods and "
        "exits are real; shots, cars and plates are invented"
    )
    city = simulate(site, plan)
    return Scenario(site, city, about, history(site, city.records, seed) if site.name == _SITE_WITH_HISTORY else [])


def days(site: Site, seed: int, number: int, begin: datetime, progress: Progress = unreported) -> Scenario:
    """Return ``number`` simulated days with ordinary event rates, starting at a local midnight."""
    plan = CityPlan(begin_ms=round(begin.timestamp() * 1000), duration_ms=number * _DAY_MS, seed=seed)
    return Scenario(
        site,
        simulate(site, plan, None, progress),
        f"{number} simulated day{'s' * (number != 1)} in {site.title or site.name} (seed {seed})",
    )


def around_shots(
    site: Site, file: Path, seed: int, number: int | None = None, progress: Progress = unreported
) -> Scenario:
    """Return the real activations of a file with simulated cars around them.

    ``number`` limits them to that many days. Raises `RampwatchError` if the file is not a list of
    activations or has no valid row.
    """
    activations = load_activations(file)
    if not activations.alerts:
        raise RampwatchError(f"{file}: none of its {activations.rows} rows is a valid activation; choose another file")
    places = [(float(str(alert["lat"])), float(str(alert["lon"]))) for alert in activations.alerts]
    check_shots(str(file), places, site, JoinRules().max_distance_m)
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
        background_reads_per_minute=min(10.0, _MAX_BACKGROUND_READS * 60_000 / (end_ms - begin_ms)),
    )
    shots = [alert for alert, at_ms in zip(activations.alerts, times, strict=True) if at_ms < end_ms]
    reasons = ", ".join(f"{count:,} {field}" for field, count in sorted(activations.rejected.items()))
    row_counts = f"{activations.rows} rows: {activations.imported} imported, {len(activations.invalid_rows)} rejected"
    row_counts += f": {reasons}" if reasons else ""
    about = (
        f"{len(shots)} real gunshots from {file.name} ({row_counts}); "
        f"cars, plates and reads are simulated (seed {seed})"
    )
    return Scenario(site, simulate(site, plan, shots, progress), about)


def default_scenario(site: Site, seed: int, shots: Path | None) -> Scenario:
    """Return the scenario of the demo.

    If a file of shots is given, the scenario is around these. Otherwise it is a week of real shots
    for Kansas City, and a simulated evening for any other site.
    """
    if shots is not None:
        return around_shots(site, shots, seed)
    if site.name == "kansas-city":
        return around_shots(site, resource_path("samples", _WEEK), seed)
    return evening(site, seed)


def rows(scenario: Scenario) -> Iterator[tuple[str, int, str, bytes]]:
    """Yield the topic, stamp, key and value of each record, by stamp."""
    for record in scenario.city.records:
        yield record.topic, record.stamp_ms, record.key, msgspec.json.encode(record.value)


def history_rows(scenario: Scenario) -> Iterator[tuple[str, int, str, bytes]]:
    """Yield the records of the history as `rows` does; all are earlier than those of `rows`."""
    for record in scenario.history:
        yield record.topic, record.stamp_ms, record.key, msgspec.json.encode(record.value)


def counter_rules_for(scenario: Scenario, rules: CounterRules) -> CounterRules:
    """Return rules that compare no counter with a period outside the scenario."""
    zone = ZoneInfo(scenario.site.time_zone)
    first = datetime.fromtimestamp(scenario.city.records[0].stamp_ms / 1000, zone).date()
    # the invented history covers all of last year, although New Year's Day may have had no shot
    last_year = first.replace(year=first.year - 1, month=1, day=1)
    return msgspec.structs.replace(
        rules,
        shots_since=rules.shots_since or (last_year if scenario.history else first),
        stolen_vehicle_hits_since=rules.stolen_vehicle_hits_since or first,
        linked_incidents_since=rules.linked_incidents_since or first,
    )


def local_midnight(site: Site, date: str) -> datetime:
    """Return the midnight that begins a local date; raises `RampwatchError` for an invalid date."""
    try:
        day = datetime.strptime(date, "%Y-%m-%d")
        if not 1970 < day.year < 2100:
            raise ValueError
    except ValueError:
        raise RampwatchError(f"{date!r}: expected a date from 1971 to 2099, such as 2026-06-05") from None
    return day.replace(tzinfo=ZoneInfo(site.time_zone))


def _at_ms(alert: Mapping[str, object]) -> int:
    at_ms = alert["occurred_at_ms"]
    assert isinstance(at_ms, int)
    return at_ms


def _midnight(at_ms: int, site: Site) -> datetime:
    local = datetime.fromtimestamp(at_ms / 1000, ZoneInfo(site.time_zone))
    return local.replace(hour=0, minute=0, second=0, microsecond=0)
