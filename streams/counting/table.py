"""The counters as a table for a terminal: what rose, by how much, how sure that is, and which alarms are up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from streams.core.counters.comparison import C2Alarm
from streams.core.counters.wire import KINDS, Kind, Period, SpikeAlert, SpikeCounter
from streams.core.site import CITY, Site

TITLES: Final[dict[Kind, str]] = {
    "shots": "Shots",
    "stolen_vehicle_hits": "Vehicles listed as stolen",
    "linked_incidents": "Linked incidents",
}


def change(period: Period) -> str:
    """Return how a count compares, as people say it: ``+63, +54 %``, ``5 new``, ``not comparable``."""
    if period.comparison_count is None or period.difference is None:
        return "not counted then"
    if period.percent is None:
        return f"{period.count} new" if period.count else "none"
    return f"{_signed(period.difference)}, {_signed(round(period.percent))} %"


def ratio(period: Period) -> str:
    """Return the ratio of the rates with its 95 % interval, as ``rate ratio 1.54 (1.21 to 1.96)``; or nothing."""
    if period.rate_ratio is None:
        return ""
    return f"rate ratio {period.rate_ratio:.2f} ({period.rate_ratio_low:.2f} to {period.rate_ratio_high:.2f})"


def comparison(period: Period) -> str:
    """Return what a comparison says: ``+63, +54 %, rate ratio 1.54 (1.21 to 1.96)``."""
    return ", ".join(filter(None, (change(period), ratio(period))))


def _signed(number: int) -> str:
    return f"{number:+,}" if number else "±0"


class Names:
    """What the zones of a site are called."""

    def __init__(self, site: Site) -> None:
        self._names = {zone.zone_id: zone.name for zone in site.zones} | {CITY: site.title or site.name}

    def of(self, zone_id: str) -> str:
        """Return the name of a zone; of the city its title."""
        return self._names.get(zone_id, zone_id)


def tables(
    counters: Sequence[SpikeCounter], site: Site, c2: Sequence[C2Alarm], most: int | None = None
) -> Iterator[Table]:
    """Hand out a table for each kind that has anything counted; zones without anything are left out.

    ``most``: so many rows each, the city, then zones with an alarm, then the busiest.
    """
    names = Names(site)
    since = _a_month_before(latest_ms(counters), site)
    for kind in KINDS:
        of_kind = [counter for counter in counters if counter.kind == kind and _says_something(counter)]
        if not of_kind:
            continue
        yield _table(TITLES[kind], sorted(of_kind, key=_rank)[:most], names, [c for c in c2 if c.kind == kind], since)


def _table(title: str, counters: Sequence[SpikeCounter], names: Names, c2: Sequence[C2Alarm], c2_since: str) -> Table:
    table = Table(title=title, title_justify="left", show_lines=True)
    for heading in ("zone", "period", "count", "then", "change", "C2"):
        table.add_column(heading, justify="right" if heading in ("count", "then", "C2") else "left", no_wrap=True)
    for counter in counters:
        month, year = counter.periods.last_28d_vs_prior_28d, counter.periods.ytd_vs_last_year
        days = sum(c.zone_id == counter.zone_id and c.day >= c2_since for c in c2)
        table.add_row(
            f"{names.of(counter.zone_id)}{'  ALARM' if counter.alarm else ''}\n24 h: {counter.recent.h24}, "
            f"7 d: {counter.recent.d7}",
            "28 days\nthis year",
            f"{month.count}\n{year.count}",
            f"{_then(month)}\n{_then(year)}",
            f"{comparison(month)}\n{comparison(year)}",
            str(days) if days else "",
        )
    return table


def _then(period: Period) -> str:
    return "" if period.comparison_count is None else str(period.comparison_count)


def wide(table: Table, screen: Console) -> Console:
    """Return a screen on which no cell of the table is cut: a narrow one may break a line."""
    options = screen.options.update(max_width=1_000)
    screen.width = max(screen.width, screen.measure(table, options=options).maximum)
    return screen


def _says_something(counter: SpikeCounter) -> bool:
    periods = counter.periods
    spans = (periods.last_28d_vs_prior_28d, periods.ytd_vs_last_year)
    return any(period.count or period.comparison_count for period in spans)


def _rank(counter: SpikeCounter) -> tuple[bool, bool, int, str]:
    """The city first, then what has an alarm, then the zones with the most."""
    return counter.zone_id != CITY, counter.alarm is None, -counter.periods.ytd_vs_last_year.count, counter.zone_id


def _a_month_before(as_of_ms: int, site: Site) -> str:
    now = datetime.fromtimestamp((as_of_ms - 1) // 1000, ZoneInfo(site.time_zone))
    return (now.date() - timedelta(days=27)).isoformat()


def latest_ms(counters: Sequence[SpikeCounter]) -> int:
    """Return as of when is counted: those that nothing changed may say an earlier time."""
    return max(counter.as_of_ms for counter in counters)


def as_of(as_of_ms: int, site: Site) -> str:
    """Return as of when is counted, in local time; the end of a day as such."""
    now = datetime.fromtimestamp(as_of_ms / 1000, ZoneInfo(site.time_zone))
    if now.time().isoformat() == "00:00:00":
        return f"the end of {now - timedelta(days=1):%a %Y-%m-%d}"
    return f"{now:%a %Y-%m-%d %H:%M:%S}"


def alert_line(alert: SpikeAlert) -> str:
    """Return an alert in a line."""
    days = alert.first_crossing
    if alert.last_crossing != alert.first_crossing:
        days += f" to {alert.last_crossing}"
    return f"{days}  {alert.status:6}  {alert.sentence}"
