"""Invented shots of the year before a simulated evening, so that its counters have something to compare with.

What they add up to is real: Hartford counted 117 shootings by some day of one year and 180 by the same day of the next,
63 more (+54 %). Each of the shots, its time and its place, is invented, and its source says so.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from streams.core.events import SHOTS
from streams.core.site import Site
from streams.simulate.city import SimulatedRecord
from streams.simulate.rhythm import SHOOTING, moments_between
from streams.simulate.shots import Places

BY_THIS_DATE_LAST_YEAR: Final = 117
BY_THIS_DATE_NOW: Final = 180
SOURCE: Final = "invented"
_REVIEWED_AFTER_MS: Final = 60_000


def history(site: Site, evening: Sequence[SimulatedRecord], seed: int) -> list[SimulatedRecord]:
    """Return shots from 1 January of last year to the day before the evening, by stamp.

    With those of the evening that are not dismissed they are 180 this year, and 117 by the same date last year; the
    rest of last year goes on at its own pace.
    """
    clock = ZoneInfo(site.time_zone)
    today = datetime.fromtimestamp(evening[0].stamp_ms / 1000, clock).replace(hour=0, minute=0, second=0, microsecond=0)
    new_year, year_ago = today.replace(month=1, day=1), today.replace(year=today.year - 1) + timedelta(days=1)
    last_new_year = new_year.replace(year=today.year - 1)
    then_days = (year_ago.date() - last_new_year.date()).days
    rest = round(BY_THIS_DATE_LAST_YEAR / then_days * (new_year.date() - year_ago.date()).days)
    spans = (
        (last_new_year, year_ago, BY_THIS_DATE_LAST_YEAR),
        (year_ago, new_year, rest),
        (new_year, today, max(0, BY_THIS_DATE_NOW - _counting(evening))),
    )
    rng = random.Random(f"{seed}/history")
    times = [
        at_ms
        for begin, end, many in spans
        for at_ms in moments_between(site, _ms(begin), _ms(end), many, SHOOTING, rng)
    ]
    return list(_records(site, times, random.Random(f"{seed}/history places")))


def _counting(evening: Sequence[SimulatedRecord]) -> int:
    """How many shots of the evening count in the end: the last revision says whether it was dismissed."""
    last = {record.key: record.value["status"] for record in evening if record.topic == SHOTS}
    return sum(status != "dismissed" for status in last.values())


def _records(site: Site, times: Sequence[int], rng: random.Random) -> Iterator[SimulatedRecord]:
    places = Places(site, rng)
    for number, at_ms in enumerate(times, start=1):
        lat, lon = places.hot()
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
