"""The counters as a table for a terminal: what rose, by how much, how sure that is, and which alarms are up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from textwrap import fill
from typing import Final
from zoneinfo import ZoneInfo

from rich.console import Console, RenderableType
from rich.text import Text

from streams.core.counters.ears import C2Alarm
from streams.core.counters.events import KINDS, Kind, Period, SpikeAlert, SpikeCounter
from streams.core.site import CITY, Site

TITLES: Final[dict[Kind, str]] = {
    "shots": "Shots",
    "stolen_vehicle_hits": "Vehicles listed as stolen",
    "linked_incidents": "Linked incidents",
}

_WIDTH: Final = 78
"""Columns: the narrowest terminal has 80."""
_FEW: Final = 5
"""Below it, now or then, the interval of a ratio reaches from next to nothing to everything."""
_ENDED_SHOWN: Final = 10
_C2_NOTE: Final = "C2: days of the last 28 above 3 deviations of the 28 days before (EARS C2)"


def change(period: Period) -> str:
    """Return how a count compares, as people say it: ``+63, +54 %``, ``5 new``, ``not counted then``.

    Of few there is no percentage: one more than one is no doubling.
    """
    if period.comparison_count is None or period.difference is None:
        return "not counted then"
    if period.percent is None:
        return f"{period.count:,} new" if period.count else "none"
    if _few(period):
        return _signed(period.difference)
    return f"{_signed(period.difference)}, {_signed(round(period.percent))} %"


def ratio(period: Period) -> str:
    """Return the ratio of the rates with its 95 % interval, as ``1.54 (1.21 to 1.96)``; nothing where none then."""
    if period.rate_ratio is None:
        return ""
    if _few(period):
        return "too few to compare"
    return f"{period.rate_ratio:.2f} ({period.rate_ratio_low:.2f} to {period.rate_ratio_high:.2f})"


def _few(period: Period) -> bool:
    return min(period.count, period.comparison_count or 0) < _FEW


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
) -> Iterator[Text]:
    """Hand out a table for each kind that has anything counted; zones without anything are left out.

    ``most``: so many zones each, the city, then those with an alarm, then the busiest.
    """
    since = _a_month_before(latest_ms(counters), site)
    for kind in KINDS:
        of_kind = [counter for counter in counters if counter.kind == kind and _says_something(counter)]
        if not of_kind:
            continue
        shown = sorted(of_kind, key=_rank)[:most]
        lately = [c.zone_id for c in c2 if c.kind == kind and c.day >= since]
        table = Text(no_wrap=True)
        table.append(_line(TITLES[kind], "now", "then", "change", "rate ratio (95 %)") + "\n", "bold")
        table.append("─" * _WIDTH)
        for counter in shown:
            table.append("\n").append_text(_rows(counter, site, lately.count(counter.zone_id)))
        if any(counter.zone_id in lately for counter in shown):
            table.append("\n" + _C2_NOTE, "dim")
        yield table.append("\n")


def _rows(counter: SpikeCounter, site: Site, c2_days: int) -> Text:
    """A zone's name, why its alarm stands, its periods, and what else is known of it."""
    name = Names(site).of(counter.zone_id)
    rows = Text()
    rows.append(name, "bold")
    rows.append(": everything, also what lies in no zone\n" if counter.zone_id == CITY else "\n")
    if counter.alarm:
        since = _local(counter.alarm.since_ms - 1, site).date()
        why = counter.alarm.sentence.removeprefix(f"{name}: ")
        rows.append(_filled(f"▲ ALARM since {since}: {why}") + "\n", "bold red")
    for against, period in _periods(counter):
        if period.count or period.comparison_count:
            rows.append(_period(against, period) + "\n")
    return rows.append(_filled(_besides(counter, c2_days)))


def _periods(counter: SpikeCounter) -> Iterator[tuple[str, Period]]:
    """The comparisons, with what they are called; with last year's 28 days only where they were counted."""
    compared = counter.periods
    yield "28 days, the 28 before", compared.last_28d_vs_prior_28d
    if compared.last_28d_vs_last_year.comparison_count is not None:
        yield "28 days, same last year", compared.last_28d_vs_last_year
    yield "this year, same last year", compared.ytd_vs_last_year


def _period(against: str, period: Period) -> str:
    then = "" if period.comparison_count is None else f"{period.comparison_count:,}"
    return _line(f"  {against}", f"{period.count:,}", then, change(period), ratio(period))


def _line(against: str, now: str, then: str, changed: str, rates: str) -> str:
    return f"{against:28}{now:>7}{then:>8}  {changed:14}{rates}".rstrip()


def _besides(counter: SpikeCounter, c2_days: int) -> str:
    parts = [f"24 h: {counter.recent.h24:,}, 7 d: {counter.recent.d7:,}"]
    status = counter.by_status
    if status is not None and (status.unreviewed or status.confirmed or status.dismissed):
        parts.append(
            f"28 d: {status.unreviewed:,} unreviewed, {status.confirmed:,} confirmed, {status.dismissed:,} dismissed"
        )
    if c2_days:
        parts.append(f"C2: {c2_days}")
    return "; ".join(parts)


def _filled(text: str) -> str:
    return fill(text, _WIDTH, initial_indent="  ", subsequent_indent="    ")


def wide(table: RenderableType, screen: Console) -> Console:
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


def _local(at_ms: int, site: Site) -> datetime:
    return datetime.fromtimestamp(at_ms // 1000, ZoneInfo(site.time_zone))


def _a_month_before(as_of_ms: int, site: Site) -> str:
    return (_local(as_of_ms - 1, site).date() - timedelta(days=27)).isoformat()


def latest_ms(counters: Sequence[SpikeCounter]) -> int:
    """Return as of when is counted: those that nothing changed may say an earlier time."""
    return max(counter.as_of_ms for counter in counters)


def as_of(as_of_ms: int, site: Site) -> str:
    """Return as of when is counted, in local time; the end of a day as such."""
    now = datetime.fromtimestamp(as_of_ms / 1000, ZoneInfo(site.time_zone))
    if now.time().isoformat() == "00:00:00":
        return f"the end of {now - timedelta(days=1):%a %Y-%m-%d}"
    return f"{now:%a %Y-%m-%d %H:%M:%S}"


def alarms(alerts: Sequence[SpikeAlert]) -> Iterator[str]:
    """Hand out the lines of alarms: those that are up, then the last ten that ended; the most recent first."""
    newest = sorted(alerts, key=lambda alert: (alert.first_crossing, alert.zone_id), reverse=True)
    up = [alert for alert in newest if alert.status == "raised"]
    ended = [alert for alert in newest if alert.status == "ended"]
    yield f"Alarms up: {len(up)}"
    yield from (_filled(f"▲ since {alert.first_crossing}  {alert.sentence}") for alert in up)
    rest = f", the last {_ENDED_SHOWN} (--json: all)" if len(ended) > _ENDED_SHOWN else ""
    yield f"Alarms ended: {len(ended)}{rest}"
    yield from (_filled(f"{_days(alert)}  {alert.sentence}") for alert in ended[:_ENDED_SHOWN])


def _days(alert: SpikeAlert) -> str:
    first, last = alert.first_crossing, alert.last_crossing
    return first if first == last else f"{first} to {last}"
