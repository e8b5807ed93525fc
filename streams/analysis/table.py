"""The counters as tables for a terminal: what rose, by how much, how certain it is, and alarms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from textwrap import fill
from typing import Final
from zoneinfo import ZoneInfo

from rich.console import Console, RenderableType
from rich.text import Text

from streams.core.counters.ears import C2Alarm
from streams.core.counters.events import KINDS, Kind, Period, PeriodName, SpikeAlert, SpikeCounter
from streams.core.site import CITY, Site

TITLES: Final[dict[Kind, str]] = {
    "shots": "Shots",
    "stolen_vehicle_hits": "Vehicles listed as stolen",
    "linked_incidents": "Linked incidents",
}

PERIOD_TITLES: Final[dict[PeriodName, str]] = {
    "last_28d_vs_prior_28d": "28 days, the 28 before",
    "last_28d_vs_last_year": "28 days, same last year",
    "ytd_vs_last_year": "this year, same last year",
}
"""The rows of a zone, in their order."""

_WIDTH: Final = 78
"""Columns: the narrowest terminal has 80."""
_FEW: Final = 5
"""With fewer events, now or then, the interval of a ratio is too wide to be useful."""
_ENDED_SHOWN: Final = 10
_C2_NOTE: Final = "C2: days of the last 28 more than 3 deviations above their baseline (EARS C2)"


def change_text(period: Period) -> str:
    """Return how a count compares: ``+63, +54 %``, ``5 new``, ``not counted then``.

    Small counts have no percentage: one more than one is not a doubling.
    """
    if period.comparison_count is None or period.difference is None:
        return "not counted then"
    if period.percent is None:
        return f"{period.count:,} new" if period.count else "none"
    if _few(period):
        return _signed(period.difference)
    return f"{_signed(period.difference)}, {_signed(round(period.percent))} %"


def ratio_text(period: Period) -> str:
    """Return the rate ratio and its 95 % interval, such as ``1.54 (1.21 to 1.96)``, or nothing."""
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
    """The names of a site's zones."""

    def __init__(self, site: Site) -> None:
        self._names = {zone.zone_id: zone.name for zone in site.zones} | {CITY: site.title or site.name}

    def of(self, zone_id: str) -> str:
        """Return the name of a zone, or the title of the city."""
        return self._names.get(zone_id, zone_id)


def tables(
    counters: Sequence[SpikeCounter], site: Site, c2: Sequence[C2Alarm], most: int | None = None
) -> Iterator[Text]:
    """Yield a table for each kind with any count; zones without any are left out.

    ``most``: rows of each table at most: the city, then zones with an alarm, then the busiest.
    """
    since = _first_of_28_days(latest_ms(counters), site)
    for kind in KINDS:
        of_kind = [counter for counter in counters if counter.kind == kind and _has_counts(counter)]
        if not of_kind:
            continue
        shown = sorted(of_kind, key=_rank)[:most]
        c2_zones = [c.zone_id for c in c2 if c.kind == kind and c.day >= since]
        table = Text(no_wrap=True)
        table.append(_line(TITLES[kind], "now", "then", "change", "rate ratio (95 %)") + "\n", "bold")
        table.append("─" * _WIDTH)
        for counter in shown:
            table.append("\n").append_text(_rows(counter, site, c2_zones.count(counter.zone_id)))
        if any(counter.zone_id in c2_zones for counter in shown):
            table.append("\n" + _C2_NOTE, "dim")
        yield table.append("\n")


def _rows(counter: SpikeCounter, site: Site, c2_days: int) -> Text:
    """A zone's name, its alarm, its periods, and its other counts."""
    name = Names(site).of(counter.zone_id)
    rows = Text()
    rows.append(name, "bold")
    rows.append(": everything, including outside all zones\n" if counter.zone_id == CITY else "\n")
    if counter.alarm:
        since = _local(counter.alarm.since_ms - 1, site).date()
        why = counter.alarm.sentence.removeprefix(f"{name}: ")
        rows.append(_filled(f"▲ ALARM since {since}: {why}") + "\n", "bold red")
    for title, period in _periods(counter):
        if period.count or period.comparison_count:
            rows.append(_period(title, period) + "\n")
    return rows.append(_filled(_other_counts(counter, c2_days)))


def _periods(counter: SpikeCounter) -> Iterator[tuple[str, Period]]:
    """The periods with their titles; last year's 28 days only if they were counted."""
    for name, title in PERIOD_TITLES.items():
        period: Period = getattr(counter.periods, name)
        if name != "last_28d_vs_last_year" or period.comparison_count is not None:
            yield title, period


def _period(title: str, period: Period) -> str:
    then = "" if period.comparison_count is None else f"{period.comparison_count:,}"
    return _line(f"  {title}", f"{period.count:,}", then, change_text(period), ratio_text(period))


def _line(title: str, now: str, then: str, change: str, ratio: str) -> str:
    return f"{title:28}{now:>7}{then:>8}  {change:14}{ratio}".rstrip()


def _other_counts(counter: SpikeCounter, c2_days: int) -> str:
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
    """Return a screen wide enough to cut off no cell of the table; a narrow one may wrap lines."""
    options = screen.options.update(max_width=1_000)
    screen.width = max(screen.width, screen.measure(table, options=options).maximum)
    return screen


def _has_counts(counter: SpikeCounter) -> bool:
    periods = counter.periods
    spans = (periods.last_28d_vs_prior_28d, periods.ytd_vs_last_year)
    return any(period.count or period.comparison_count for period in spans)


def _rank(counter: SpikeCounter) -> tuple[bool, bool, int, str]:
    """The city first, then zones with an alarm, then the busiest this year."""
    return counter.zone_id != CITY, counter.alarm is None, -counter.periods.ytd_vs_last_year.count, counter.zone_id


def _local(at_ms: int, site: Site) -> datetime:
    return datetime.fromtimestamp(at_ms // 1000, ZoneInfo(site.time_zone))


def _first_of_28_days(as_of_ms: int, site: Site) -> str:
    return (_local(as_of_ms - 1, site).date() - timedelta(days=27)).isoformat()


def latest_ms(counters: Sequence[SpikeCounter]) -> int:
    """Return the time as of which is counted: unchanged counters may have an earlier one."""
    return max(counter.as_of_ms for counter in counters)


def as_of_text(as_of_ms: int, site: Site) -> str:
    """Return the time as of which is counted, in local time; midnight is the end of a day."""
    now = datetime.fromtimestamp(as_of_ms / 1000, ZoneInfo(site.time_zone))
    if now.time().isoformat() == "00:00:00":
        return f"the end of {now - timedelta(days=1):%a %Y-%m-%d}"
    return f"{now:%a %Y-%m-%d %H:%M:%S}"


def since_lines(since: Mapping[Kind, date | None]) -> Iterator[str]:
    """Yield a line for each kind with data: from when it is counted."""
    for kind, first in since.items():
        if first is not None:
            yield f"{TITLES[kind]}: counted since {first}, no comparison with earlier days"


def alarm_lines(alerts: Sequence[SpikeAlert]) -> Iterator[str]:
    """Yield a line for each alarm: those up, then the last ten that ended, newest first."""
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
