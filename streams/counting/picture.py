"""The counters as a small picture (SVG): 28-day counts of the last 400 days, what was expected, and where alarms begin.

The faint line is the sum of the last 28 local days, the other one what of it is taken towards an alarm: of no night
more than chance makes. The band reaches from what was expected of them to the count at which these 28 days alone would
have raised the alarm: (threshold + (rise − 1)·µ) / ln(rise), µ being the expected sum. Days that crossed are marked;
ticks below are the days on which EARS C2 alarms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from typing import Any, Final
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from streams.core.counters.alarms import Alarms
from streams.core.counters.comparison import C2Alarm
from streams.core.counters.expected import bounded, expected
from streams.core.counters.fold import SpikeFold
from streams.core.counters.rules import CounterRules
from streams.core.counters.wire import Kind
from streams.core.site import Site
from streams.counting.table import TITLES, Names

_WINDOW: Final = 28
_SHOWN_DAYS: Final = 400
_WIDE, _HIGH = 420, 150
_LEFT, _TOP, _RIGHT, _BOTTOM = 40, 28, 12, 26
_INK, _FAINT, _LINE, _BAND, _ALARM = "#1f2933", "#9aa5b1", "#1f5fa8", "#f2b8a0", "#c0392b"


def picture(fold: SpikeFold, site: Site, rules: CounterRules, kind: Kind, c2: Sequence[C2Alarm], panels: int) -> str:
    """Return an SVG of the city and the zones with the most of a kind; one sentence where there is too little data."""
    days = fold.day_counts(kind)
    names = Names(site)
    if days is None or len(days.counts) <= 2 * _WINDOW:
        return _svg(620, 60, [_text(12, 34, f"{TITLES[kind]}: fewer than 57 completed days, nothing to draw", _INK)])
    series = _Series(days.first_day, days.counts, rules, len(site.zones))
    busiest = sorted(range(days.counts.shape[1] - 1), key=lambda column: -int(days.counts[-_SHOWN_DAYS:, column].sum()))
    chosen = [days.counts.shape[1] - 1, *(c for c in busiest[: panels - 1] if days.counts[:, c].any())]
    parts = [_text(12, 22, f"{TITLES[kind]}, {site.title or site.name}: sums of 28 days", _INK, 15), *_legend()]
    for n, column in enumerate(chosen):
        x, y = 12 + n % 2 * (_WIDE + 12), 56 + n // 2 * (_HIGH + 12)
        zone = fold.zone_ids[column]
        marks = [c.day for c in c2 if (c.kind, c.zone_id) == (kind, zone)]
        parts.append(f'<g transform="translate({x},{y})">{series.panel(column, names.of(zone), marks)}</g>')
    return _svg(2 * _WIDE + 36, 56 + (len(chosen) + 1) // 2 * (_HIGH + 12), parts)


class _Series:
    """The sums of 28 days, what was expected of them, and the days that crossed."""

    def __init__(self, first_day: int, counts: NDArray[Any], rules: CounterRules, zones: int) -> None:
        alarms = Alarms(rules, zones)
        thresholds = alarms.thresholds(counts)
        self._first_day = first_day
        self._episodes = alarms.episodes(counts)
        mean = expected(counts, zones, rules)
        self._all = _windows(counts)
        self._sums = _windows(bounded(counts, mean))
        self._expected = _windows(mean)
        level = np.full(len(counts), np.nan)
        for threshold in thresholds:
            level[threshold.from_day :] = threshold.value
        self._alarm = (level[:, None] + (rules.rise - 1) * self._expected) / math.log(rules.rise)
        self._begin = max(len(counts) - _SHOWN_DAYS, 2 * _WINDOW)

    def panel(self, column: int, name: str, c2: Sequence[str]) -> str:
        shown = range(self._begin, len(self._sums))
        drawn = (self._sums, self._all, self._expected, self._alarm)
        sums, everything, usual, alarm = (matrix[self._begin :, column] for matrix in drawn)
        top = max(1.0, float(everything.max()), float(np.nan_to_num(alarm).max())) * 1.05
        x_of = {day: _LEFT + (day - shown.start) / max(1, len(shown) - 1) * (_WIDE - _LEFT - _RIGHT) for day in shown}

        def at(day: int, value: float) -> str:
            return f"{x_of[day]:.1f},{_HIGH - _BOTTOM - value / top * (_HIGH - _TOP - _BOTTOM):.1f}"

        known = [(d, a, u) for d, a, u in zip(shown, alarm, usual, strict=True) if not math.isnan(a)]
        band = [at(d, a) for d, a, _ in known] + [at(d, u) for d, _, u in reversed(known)]
        line, faint = ([at(d, s) for d, s in zip(shown, values, strict=True)] for values in (sums, everything))
        crossed = [e for e in self._episodes if e.column == column and e.last >= shown.start]
        parts = [
            f'<rect width="{_WIDE}" height="{_HIGH}" fill="#ffffff" stroke="#e4e7eb"/>',
            f'<polygon points="{" ".join(band)}" fill="{_BAND}" opacity="0.55"/>',
            f'<polyline points="{" ".join(faint)}" fill="none" stroke="{_LINE}" stroke-width="1" opacity="0.45"/>',
            *(_crossing(at(max(e.first, shown.start), self._sums[max(e.first, shown.start), column])) for e in crossed),
            f'<polyline points="{" ".join(line)}" fill="none" stroke="{_LINE}" stroke-width="1.8"/>',
            _text(_LEFT, 18, name, _INK, 12),
            *self._axes(shown, top, x_of),
            *(_tick(x_of[day]) for day in map(self._number, c2) if day in x_of),
        ]
        return "".join(parts)

    def _number(self, day: str) -> int:
        return date.fromisoformat(day).toordinal() - self._first_day

    def _axes(self, shown: range, top: float, x_of: dict[int, float]) -> list[str]:
        base = _HIGH - _BOTTOM
        parts = [f'<line x1="{_LEFT}" y1="{base}" x2="{_WIDE - _RIGHT}" y2="{base}" stroke="{_FAINT}"/>']
        for value in (0, math.floor(top / 1.05)):
            y = base - value / top * (base - _TOP)
            parts.append(_text(_LEFT - 6, y + 4, f"{value}", _FAINT, 10, "end"))
        for day in shown:
            now = date.fromordinal(self._first_day + day)
            if now.day == 1 and now.month % 3 == 1:
                parts.append(_text(x_of[day], _HIGH - 6, f"{now:%b %Y}", _FAINT, 10, "middle"))
        return parts


def _windows(counts: NDArray[Any]) -> NDArray[Any]:
    sums = np.cumsum(counts, axis=0, dtype=float)
    sums[_WINDOW:] -= sums[:-_WINDOW].copy()
    return sums


def _crossing(point: str) -> str:
    x, y = point.split(",")
    return f'<circle cx="{x}" cy="{y}" r="4.5" fill="{_ALARM}"/>'


def _tick(x: float) -> str:
    base = _HIGH - _BOTTOM
    return f'<line x1="{x:.1f}" y1="{base + 1}" x2="{x:.1f}" y2="{base + 7}" stroke="{_INK}" stroke-width="1.2"/>'


def _legend() -> list[str]:
    return [
        f'<line x1="12" y1="40" x2="34" y2="40" stroke="{_LINE}" stroke-width="2"/>',
        _text(40, 44, "28 days (faint: wild nights in full)", _INK),
        f'<rect x="262" y="34" width="22" height="12" fill="{_BAND}" opacity="0.55"/>',
        _text(290, 44, "expected, up to an alarm by these 28 days alone", _INK),
        f'<circle cx="584" cy="40" r="4.5" fill="{_ALARM}"/>',
        _text(594, 44, "alarm begins", _INK),
        f'<line x1="692" y1="35" x2="692" y2="45" stroke="{_INK}" stroke-width="1.2"/>',
        _text(700, 44, "EARS C2, for comparison", _INK),
    ]


def _text(x: float, y: float, text: str, colour: str, size: int = 11, anchor: str = "start") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}"'
    return f"<text {place}>{escape(text)}</text>"


def _svg(width: int, height: int, parts: Sequence[str]) -> str:
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    body = "\n".join([f'<rect width="{width}" height="{height}" fill="#f7f9fb"/>', *parts])
    font = 'font-family="DejaVu Sans, Arial, sans-serif"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>\n{body}\n</svg>\n'
