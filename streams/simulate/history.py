"""Invented shots of the year before a simulated evening, so that its counters have a comparison.

The year-to-date totals are real: Hartford counted 117 shootings by some day of one year and 180 by
the same day of the next, 63 more (+54 %). Time and location of each shot are invented, and its
``source`` field says so.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from streams.core.site import Site
from streams.core.topics import SHOTS
from streams.simulate.city import SimulatedRecord
from streams.simulate.hourly import SHOOTING, random_times_between
from streams.simulate.shots import RandomLocations

LAST_YEAR_TO_DATE: Final = 117
THIS_YEAR_TO_DATE: Final = 180
SOURCE: Final = "invented"
_REVIEWED_AFTER_MS: Final = 60_000


def history(site: Site, evening: Sequence[SimulatedRecord], seed: int) -> list[SimulatedRecord]:
    """Return shots from 1 January of last year to the day before the evening, by stamp.

    Together with the evening's shots that are not dismissed in the end, they add up to 180 this
    year, against 117 up to the same date last year. The rest of last year continues at that year's
    rate.
    """
    zone = ZoneInfo(site.time_zone)
    today = datetime.fromtimestamp(evening[0].stamp_ms / 1000, zone).replace(hour=0, minute=0, second=0, microsecond=0)
    new_year, year_ago = today.replace(month=1, day=1), today.replace(year=today.year - 1) + timedelta(days=1)
    last_new_year = new_year.replace(year=today.year - 1)
    days_to_date = (year_ago.date() - last_new_year.date()).days
    rest_of_last_year = round(LAST_YEAR_TO_DATE / days_to_date * (new_year.date() - year_ago.date()).days)
    spans = (
        (last_new_year, year_ago, LAST_YEAR_TO_DATE),
        (year_ago, new_year, rest_of_last_year),
        (new_year, today, max(0, THIS_YEAR_TO_DATE - _not_dismissed(evening))),
    )
    rng = random.Random(f"{seed}/history")
    times_ms = [
        at_ms
        for begin, end, count in spans
        for at_ms in random_times_between(site, _ms(begin), _ms(end), count, SHOOTING, rng)
    ]
    return list(_records(site, times_ms, random.Random(f"{seed}/history places")))


def _not_dismissed(evening: Sequence[SimulatedRecord]) -> int:
    """Count the evening's shots whose last revision is not dismissed."""
    status = {record.key: record.value["status"] for record in evening if record.topic == SHOTS}
    return sum(last != "dismissed" for last in status.values())


def _records(site: Site, times_ms: Sequence[int], rng: random.Random) -> Iterator[SimulatedRecord]:
    locations = RandomLocations(site, rng)
    for number, at_ms in enumerate(times_ms, start=1):
        lat, lon = locations.near_hotspots()
        value: dict[str, Any] = {
            "alert_id": f"SIM-H{number:06d}",
            "status": "confirmed",
            "kind": "multiple_gunshots",
            "occurred_at_ms": at_ms,
            "lat": lat,
            "lon": lon,
            "source": SOURCE,
        }
        yield SimulatedRecord(SHOTS, at_ms + _REVIEWED_AFTER_MS, value["alert_id"], value)


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
