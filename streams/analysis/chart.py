"""Draws the counters as a chart (SVG): 28-day counts of the last 400 days, and when alarms were up.

The city, the zones whose alarm is up and the busiest other zones have a panel each. The curve is
the sum of the last 28 local days as far as they are taken towards an alarm: the part of an extreme
night above what chance makes is left out, because New Year's Eve would flatten the rest of the
year. Nights that lose much of their count are marked. A second line is the expected sum µ of these
days. A third is the alarm line, the sum at which 28 days alone raise the alarm:
(threshold + (rise − 1)·µ) / ln(rise). Dots below the axis are the days on which EARS C2 alarms.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any, Final
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from streams.analysis.table import TITLES, Names
from streams.core.counters.alarms import Alarms, Episode
from streams.core.counters.ears import C2Alarm
from streams.core.counters.engine import CounterEngine, DayCounts
from streams.core.counters.events import Kind
from streams.core.counters.expected import bounded, expected
from streams.core.counters.rules import CounterRules
from streams.core.counters.thresholds import QUIET_DAYS
from streams.core.site import CITY, Site

_WINDOW: Final = 28
_SHOWN_DAYS: Final = 400
_MARKED_SHARE: Final = 0.2
"""Of a panel's height: a night is marked if the curve leaves out more of its count."""
_WIDE, _HIGH = 500, 190
_LEFT, _TOP, _RIGHT, _BOTTOM = 44, 46, 92, 30
_LEGEND = 84
_INK, _SOFT, _GRID = "#1f2933", "#52606d", "#e4e7eb"
# blue and vermilion differ with any colour blindness (Okabe and Ito); dashes and shapes always do
_CURVE, _ALARM = "#0072b2", "#b84a00"
_EXPECTED_LINE = f'stroke="{_SOFT}" stroke-width="1.2" stroke-dasharray="2 3"'
_ALARM_LINE = f'stroke="{_ALARM}" stroke-width="1.4" stroke-dasharray="7 4"'
_CURVE_LINE = f'stroke="{_CURVE}" stroke-width="2"'


def draw_chart(
    engine: CounterEngine, site: Site, rules: CounterRules, kind: Kind, c2: Sequence[C2Alarm], panels: int
) -> str:
    """Return an SVG with panels of the city and ``panels`` - 1 zones; more if more alarms are up.

    With too few days of data, the SVG says so.
    """
    days = engine.day_counts(kind)
    names = Names(site)
    if days is None or len(days.counts) <= 2 * _WINDOW:
        return _svg(620, 60, [_text(12, 34, f"{TITLES[kind]}: fewer than 57 completed days, nothing to draw")])
    series = _Series(days, rules, len(site.zones))
    chosen = series.chosen(panels)
    until = date.fromordinal(days.first_day + len(days.counts) - 1)
    title = f"{TITLES[kind]}, {names.of(CITY)}: counts of 28 completed days, up to {until}"
    parts = [_text(12, 24, title, size=15), *_legend()]
    for n, column in enumerate(chosen):
        x, y = 12 + n % 2 * (_WIDE + 12), _LEGEND + n // 2 * (_HIGH + 12)
        zone = engine.zone_ids[column]
        marks = [date.fromisoformat(c.day).toordinal() for c in c2 if (c.kind, c.zone_id) == (kind, zone)]
        panel = "".join(series.panel(column, names.of(zone), marks))
        parts.append(f'<g transform="translate({x},{y})">{panel}</g>')
    return _svg(2 * _WIDE + 36, _LEGEND + (len(chosen) + 1) // 2 * (_HIGH + 12), parts)


class _Plot:
    """The coordinates of days and counts in a panel."""

    def __init__(self, first: int, end: int, top: float) -> None:
        self.first, self.end, self.top = first, end, top
        self.ceiling, self.base = _TOP, _HIGH - _BOTTOM
        self.left, self.right = _LEFT, _WIDE - _RIGHT

    def x(self, day: int) -> float:
        return self.left + (day - self.first) / max(1, self.end - 1 - self.first) * (self.right - self.left)

    def y(self, value: float) -> float:
        return self.base - value / self.top * (self.base - self.ceiling)

    def curve(self, values: NDArray[Any], style: str) -> str:
        points = " ".join(f"{self.x(self.first + n):.1f},{self.y(value):.1f}" for n, value in enumerate(values))
        return f'<polyline points="{points}" fill="none" {style}/>'

    def axes(self) -> Iterator[str]:
        """Round counts with lines across, and months below, every third one with its name."""
        step = _round_step(self.top)
        for value in range(0, math.floor(self.top) + 1, step):
            y = self.y(value)
            yield _line(self.left, y, self.right, y, f'stroke="{_GRID if value else _SOFT}"')
            yield _text(self.left - 6, y + 4, f"{value:,}", _SOFT, 10, "end")
        months = [day for day in range(self.first, self.end) if date.fromordinal(day).day == 1]
        for day in months:
            month, x = date.fromordinal(day), self.x(day)
            yield _line(x, self.base, x, self.base + 4, f'stroke="{_SOFT}"')
            if month.month % 3 == 1:
                yield _text(x, _HIGH - 7, f"{month:%b %Y}", _SOFT, 10, "middle")


class _Series:
    """What the panels show, by day and column."""

    def __init__(self, days: DayCounts, rules: CounterRules, zones: int) -> None:
        counts, alarms = days.counts, Alarms(rules, zones)
        self._first_day, self._counts = days.first_day, counts
        self._episodes = alarms.episodes(counts)
        mean = expected(counts, zones, rules)
        taken = bounded(counts, mean)
        self._left_out = counts - taken
        self._sums, self._expected = _windows(taken), _windows(mean)
        level = np.zeros(len(counts))
        for threshold in alarms.thresholds(counts):
            level[threshold.from_day :] = threshold.value
        self._alarm = (level[:, None] + (rules.rise - 1) * self._expected) / math.log(rules.rise)
        self._begin = max(len(counts) - _SHOWN_DAYS, 2 * _WINDOW)

    def chosen(self, panels: int) -> list[int]:
        """The city, every zone whose alarm is up, and the busiest others."""
        totals = self._counts[-_SHOWN_DAYS:].sum(axis=0)
        city = len(totals) - 1
        up = {episode.column for episode in self._episodes if episode.up}
        zones = sorted(np.flatnonzero(totals[:-1]).tolist(), key=lambda column: (column not in up, -totals[column]))
        return [city, *zones[: max(panels - 1, len(up - {city}))]]

    def panel(self, column: int, name: str, c2: Sequence[int]) -> Iterator[str]:
        matrices = (self._sums, self._expected, self._alarm)
        sums, expected_sums, alarm = (matrix[self._begin :, column] for matrix in matrices)
        top = 1.1 * max(1.0, float(sums.max()), float(alarm.max()))
        plot = _Plot(self._first_day + self._begin, self._first_day + len(self._sums), top)
        yield f'<rect width="{_WIDE}" height="{_HIGH}" fill="#ffffff" stroke="{_GRID}"/>'
        yield _text(12, 20, name, size=13, weight="bold")
        yield from plot.axes()
        for episode in self._episodes:
            if episode.column == column:
                yield from self._alarm_up(episode, plot)
        yield plot.curve(expected_sums, _EXPECTED_LINE)
        yield plot.curve(alarm, _ALARM_LINE)
        yield plot.curve(sums, _CURVE_LINE)
        yield from self._extreme_nights(column, plot)
        now = int(self._counts[-_WINDOW:, column].sum())
        yield from _line_labels(plot, alarm[-1], expected_sums[-1], sums[-1], now)
        for day in c2:
            if plot.first <= day < plot.end:
                yield _dot(plot.x(day), plot.base + 9)

    def _alarm_up(self, episode: Episode, plot: _Plot) -> Iterator[str]:
        first = self._first_day + episode.first_crossing
        last = self._first_day + episode.last_crossing + QUIET_DAYS
        if last < plot.first:
            return
        x, end = plot.x(max(first, plot.first)), plot.x(min(last, plot.end - 1))
        yield _shade(x, plot.ceiling, end - x, plot.base - plot.ceiling)
        if first >= plot.first:
            yield _flag(x, plot.ceiling - 3)
        if episode.up:
            since = f"▲ ALARM UP since {date.fromordinal(first)}"
            yield _text(_WIDE - 12, 20, since, _ALARM, 12, "end", "bold")

    def _extreme_nights(self, column: int, plot: _Plot) -> Iterator[str]:
        left_out = self._left_out[self._begin :, column]
        nights = (self._begin + np.flatnonzero(left_out > _MARKED_SHARE * plot.top)).tolist()
        # one mark for all nights of a week, such as New Year's Eve and the next: they would overlap
        for week in np.split(nights, np.flatnonzero(np.diff(nights) > 7) + 1) if nights else ():
            x, y = plot.x(self._first_day + int(week[-1])), plot.y(self._sums[week[-1], column])
            yield _diamond(x, y)
            yield _text(x, y - 8, " + ".join(f"{count:,}" for count in self._counts[week, column]), _INK, 9, "middle")


def _windows(counts: NDArray[Any]) -> NDArray[Any]:
    sums = np.cumsum(counts, axis=0, dtype=float)
    sums[_WINDOW:] -= sums[:-_WINDOW].copy()
    return sums


def _round_step(top: float) -> int:
    """The smallest of 1, 2, 5, 10, 20, … that divides an axis into at most four parts."""
    steps = (n * 10**power for power in range(16) for n in (1, 2, 5))
    smallest: int = next(step for step in steps if top / step <= 4)
    return smallest


def _line_labels(plot: _Plot, alarm: float, expected_sum: float, curve: float, now: int) -> Iterator[str]:
    """The names of the lines at their right ends, moved apart where they would overlap."""
    lines = [(alarm, f"alarm at {math.ceil(alarm):,}", _ALARM), (expected_sum, f"expected {expected_sum:,.0f}", _SOFT)]
    lines = sorted([*lines, (curve, f"now {now:,}", _CURVE)], reverse=True)
    ys: list[float] = []
    for value, _, _ in lines:
        ys.append(max(plot.y(value), ys[-1] + 13 if ys else 0))
    too_low = max(0.0, ys[-1] - plot.base)
    for y, (_, text, colour) in zip(ys, lines, strict=True):
        yield _text(plot.right + 6, y - too_low + 4, text, colour, 11)


def _legend() -> Iterator[str]:
    yield _text(2 * _WIDE + 24, 24, "each panel has its own scale", anchor="end")
    yield _line(12, 43, 36, 43, _CURVE_LINE)
    yield _text(42, 47, "the 28 days up to each day")
    yield _line(232, 43, 256, 43, _EXPECTED_LINE)
    yield _text(262, 47, "expected count")
    yield _line(386, 43, 410, 43, _ALARM_LINE)
    yield _text(416, 47, "alarm line: a 28-day count that raises an alarm; over other spans fewer can be enough")
    yield _shade(12, 57, 24, 14)
    yield _flag(24, 68)
    yield _text(42, 69, "alarm up, from ▲")
    yield _diamond(244, 64)
    yield _text(262, 69, "an extreme night and its count, of which the curve takes only a part")
    yield _dot(722, 65)
    yield _text(732, 69, "a day on which EARS C2 alarms, for comparison")


def _line(x: float, y: float, to_x: float, to_y: float, style: str) -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" {style}/>'


def _shade(x: float, y: float, width: float, height: float) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{_ALARM}" opacity="0.15"/>'


def _flag(x: float, y: float) -> str:
    return f'<path d="M{x - 5:.1f},{y:.1f} h10 l-5,-8 z" fill="{_ALARM}"/>'


def _dot(x: float, y: float) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{_INK}"/>'


def _diamond(x: float, y: float) -> str:
    return f'<path d="M{x:.1f},{y - 5:.1f} l5,5 l-5,5 l-5,-5 z" fill="#ffffff" stroke="{_INK}"/>'


def _text(
    x: float, y: float, text: str, colour: str = _INK, size: int = 11, anchor: str = "start", weight: str = "normal"
) -> str:
    attributes = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}"'
    return f'<text {attributes} font-weight="{weight}">{escape(text)}</text>'


def _svg(width: int, height: int, parts: Sequence[str]) -> str:
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    body = "\n".join([f'<rect width="{width}" height="{height}" fill="#f7f9fb"/>', *parts])
    font = 'font-family="DejaVu Sans, Arial, sans-serif"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>\n{body}\n</svg>\n'
