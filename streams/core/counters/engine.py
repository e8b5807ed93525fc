"""The counters' fold: tallies in, in any order; counters and alerts of a spike out, as of a time that is told.

What it says depends on which tallies it was given and on the time, never on their order, on repeats, or on when it was
asked. Whoever drives it feeds `Tally` records, moves the time with `advance`, and publishes what `changes` returns; one
that begins where another has been first gives it that one's counters and alerts with `restore`.

A tally costs the same whatever the history: it moves one day of its zone and of the city. A completed day, or one that
is corrected, has the alarms of its kind worked out anew, once, when changes are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from streams.core.counters.alarms import Alarms, Episode, data_begin
from streams.core.counters.alerts import AlertBook, Told
from streams.core.counters.calendar import FIRST_MS, LAST_MS, LocalDays, Window, periods
from streams.core.counters.current_tallies import CurrentTallies
from streams.core.counters.events import (
    CUSUM,
    KINDS,
    Alarm,
    Kind,
    Period,
    Periods,
    SpikeAlert,
    SpikeCounter,
    Tally,
)
from streams.core.counters.rates import compare
from streams.core.counters.rules import CounterRules
from streams.core.counters.zone_counts import ZoneCounts, recent_since
from streams.core.site import CITY, Site

_Key = tuple[Kind, str]
_MOST_DAYS: Final = 36_525
"""A century: one clock that is set wrong must not fill the memory."""


class Changes(Struct, frozen=True):
    """What is to be published, in this order."""

    counters: list[SpikeCounter]
    alerts: list[SpikeAlert]


class DayCounts(Struct, frozen=True):
    """Completed local days of one kind: ``counts`` is days × zones in the site's order, the city last."""

    first_day: int
    counts: NDArray[Any]


class CounterEngine:
    """The counters of one site: every kind, every zone and the city."""

    def __init__(self, site: Site, rules: CounterRules) -> None:
        self._rules = rules
        self._days = LocalDays(site.time_zone)
        self._zones = tuple(zone.zone_id for zone in site.zones)
        self._names = {zone.zone_id: zone.name for zone in site.zones} | {CITY: site.title or site.name}
        self._facts = CurrentTallies()
        self._cells: dict[_Key, ZoneCounts] = {
            (kind, zone): ZoneCounts() for kind in KINDS for zone in (*self._zones, CITY)
        }
        self._tallied: dict[Kind, dict[int, int]] = {kind: {} for kind in KINDS}
        self._alarms = {kind: Alarms(rules, len(self._zones)) for kind in KINDS}
        self._alerts = {kind: AlertBook(kind) for kind in KINDS}
        self._up: dict[_Key, Alarm] = {}
        self._said: dict[_Key, SpikeCounter] = {}
        self._as_of_ms = FIRST_MS
        self._dirty: set[_Key] = set(self._cells)
        self._stale: set[Kind] = set(KINDS)

    @property
    def as_of_ms(self) -> int:
        """The time that counts: events before it are counted."""
        return self._as_of_ms

    @property
    def things(self) -> int:
        """How many shots, hits and incidents are known."""
        return len(self._facts)

    @property
    def zone_ids(self) -> tuple[str, ...]:
        """The zones in the site's order, the city last: the columns of `DayCounts`."""
        return (*self._zones, CITY)

    # ------------------------------------------------------------------ taking in

    def feed(self, tally: Tally) -> bool:
        """Take in a tally and return whether it counts now; in a zone that the site lacks, for the city alone."""
        counts_now, before = self._facts.replace(tally)
        if not counts_now:
            return False
        if before is not None and before.at_ms < self._as_of_ms:
            self._count(before, -1)
        if tally.at_ms < self._as_of_ms:
            self._count(tally, 1)
        else:
            self._facts.wait(tally)
        return True

    def advance(self, as_of_ms: int) -> None:
        """Move the time on; an earlier one than before is ignored."""
        as_of_ms = min(as_of_ms, LAST_MS)
        if as_of_ms <= self._as_of_ms:
            return
        due = list(self._facts.due(as_of_ms))
        if self._completed_end(as_of_ms) != self._completed_end(self._as_of_ms):
            self._stale.update(KINDS)
        if self._days.day_of(as_of_ms - 1) != self._days.day_of(self._as_of_ms - 1):
            self._dirty.update(self._cells)
        self._as_of_ms = as_of_ms
        for tally in due:
            self._count(tally, 1)
        for key, cell in self._cells.items():
            if cell.has_recent:
                cell.forget(recent_since(as_of_ms))
                self._dirty.add(key)

    def restore(self, said: SpikeCounter | SpikeAlert) -> None:
        """Take in what was published before this fold began: the last counters, and all alerts that are left."""
        if (said.kind, said.zone_id) not in self._cells:
            return  # of a zone that the site no longer has there is nothing to say
        if isinstance(said, SpikeCounter):
            self._said[said.kind, said.zone_id] = said
        elif said.rule == CUSUM:
            self._alerts[said.kind].restore(said)
            self._stale.add(said.kind)

    def _count(self, tally: Tally, sign: int) -> None:
        day = self._days.day_of(tally.at_ms)
        if day is None:
            return
        tallied = self._tallied[tally.kind]
        tallied[day] = tallied.get(day, 0) + sign
        if not tallied[day]:
            del tallied[day]
        for zone in {tally.zone_id, CITY}:
            cell = self._cells.get((tally.kind, zone))
            if cell is not None:
                cell.add(tally, day, sign, recent_since(self._as_of_ms))
                self._dirty.add((tally.kind, zone))
        if day < self._completed_end(self._as_of_ms):
            self._stale.add(tally.kind)

    def _completed_end(self, as_of_ms: int) -> int:
        """The first local day that is not completed."""
        day = self._days.day_of(as_of_ms)
        assert day is not None or as_of_ms == LAST_MS
        return day if day is not None else (self._days.day_of(as_of_ms - 1) or 0)

    # ------------------------------------------------------------------ saying

    def counters(self) -> list[SpikeCounter]:
        """Return all counters as of now: by kind, then in the site's order, the city last."""
        self._work_out_alarms()
        return [self._counter(kind, zone) for kind, zone in self._cells]

    def alerts(self) -> list[SpikeAlert]:
        """Return all alerts as they stand, without taking them as said: by kind and zone, the oldest first."""
        self._work_out_alarms()
        return [alert for kind in KINDS for alert in self._alerts[kind].standing()]

    def changes(self, everything: bool = False) -> Changes:
        """Return what differs from what was said, and take it as said.

        Counters differ by what they count, by their periods and alarms; that today has grown longer is no difference,
        unless ``everything`` is asked for: then all counters are said.
        """
        self._work_out_alarms()
        alerts = [alert for kind in KINDS for alert in self._alerts[kind].changes()]
        keys = list(self._cells) if everything else [key for key in self._cells if key in self._dirty]
        counters = [self._counter(*key) for key in keys]
        if not everything:
            counters = [c for c in counters if _substance(c) != _substance(self._said.get((c.kind, c.zone_id)))]
        self._said.update({(c.kind, c.zone_id): c for c in counters})
        self._dirty.clear()
        return Changes(counters, alerts)

    def day_counts(self, kind: Kind) -> DayCounts | None:
        """Return the completed local days of a kind since its data begin; None where there is none."""
        end = self._completed_end(self._as_of_ms)
        first = data_begin(self._tallied_before(kind, end))
        if first is None:
            return None
        first = max(first, end - _MOST_DAYS)
        counts = np.zeros((end - first, len(self._zones) + 1), dtype=np.int32)
        for column, zone in enumerate(self.zone_ids):
            for day, count in self._cells[kind, zone].days.items():
                if first <= day < end:
                    counts[day - first, column] = count
        return DayCounts(first, counts)

    def _tallied_before(self, kind: Kind, end: int) -> dict[int, int]:
        """How many were tallied on each day that alarms may know of."""
        since = self._rules.alarms_since.toordinal()
        counted_since = self._rules.counted_since(kind)
        if counted_since is not None:
            since = max(since, counted_since.toordinal())
        return {day: many for day, many in self._tallied[kind].items() if since <= day < end}

    # ------------------------------------------------------------------ alarms

    def _work_out_alarms(self) -> None:
        for kind in sorted(self._stale):
            self._work_out(kind)
        self._stale.clear()

    def _work_out(self, kind: Kind) -> None:
        days, end = self.day_counts(kind), self._completed_end(self._as_of_ms)
        told: list[Told] = []
        if days is not None:
            told = [self._told(kind, days, episode) for episode in self._alarms[kind].episodes(days.counts)]
        self._alerts[kind].stands(told, known_from=min(self._tallied_before(kind, end), default=end))
        for zone in self.zone_ids:
            before = self._up.pop((kind, zone), None)
            alarm = next((self._alarm(one) for one in told if one.zone_id == zone and one.up), None)
            if alarm is not None:
                self._up[kind, zone] = alarm
            if alarm != before:
                self._dirty.add((kind, zone))

    def _told(self, kind: Kind, days: DayCounts, episode: Episode) -> Told:
        zone = self.zone_ids[episode.column]
        begun, end = days.first_day + episode.begun, days.first_day + episode.first + 1
        before = self._cells[kind, zone].count(Window(max(2 * begun - end, days.first_day), begun))
        return Told(kind, zone, self._names[zone], days.first_day, episode, before)

    def _alarm(self, told: Told) -> Alarm:
        since_ms = self._days.begin_ms(told.first_crossing + 1)
        return Alarm(CUSUM, since_ms, told.episode.statistic, told.episode.threshold.value, told.sentence)

    # ------------------------------------------------------------------ counters

    def _counter(self, kind: Kind, zone: str) -> SpikeCounter:
        cell, now_ms = self._cells[kind, zone], self._as_of_ms
        compared = periods(self._today)
        last_28 = compared["last_28d_vs_prior_28d"][0]
        return SpikeCounter(
            kind=kind,
            zone_id=zone,
            as_of_ms=now_ms,
            periods=Periods(**{name: self._period(kind, cell, *pair) for name, pair in compared.items()}),
            recent=cell.recent(now_ms),
            by_status=cell.by_status(last_28) if kind == "shots" else None,
            alarm=self._up.get((kind, zone)),
        )

    @property
    def _today(self) -> int:
        day = self._days.day_of(max(self._as_of_ms - 1, FIRST_MS))
        assert day is not None
        return day

    def _period(self, kind: Kind, cell: ZoneCounts, now: Window, then: Window) -> Period:
        today = self._today
        begin_ms, end_ms = self._days.begin_ms(today), self._days.begin_ms(today + 1)
        exposure = len(now) - 1 + (self._as_of_ms - begin_ms) / (end_ms - begin_ms)
        count, base = cell.count(now), cell.count(then)
        since = self._rules.counted_since(kind)
        comparable = since is None or then.first >= since.toordinal()
        found = compare(count, base, exposure, float(len(then))) if comparable else None
        return Period(
            from_ms=self._days.begin_ms(now.first),
            to_ms=end_ms,
            count=count,
            comparison_count=base if comparable else None,
            exposure_days=exposure,
            comparison_days=float(len(then)),
            difference=count - base if comparable else None,
            percent=100 * (count - base) / base if comparable and base else None,
            rate_ratio=found.rate_ratio if found else None,
            rate_ratio_low=found.low if found else None,
            rate_ratio_high=found.high if found else None,
            p_value=found.p_value if found else None,
        )


def _substance(counter: SpikeCounter | None) -> object:
    """What a counter says, but for the time of day."""
    if counter is None:
        return None
    spans = _each(counter.periods)
    return [(p.from_ms, p.to_ms, p.count, p.comparison_count) for p in spans], *_rest(counter)


def _each(compared: Periods) -> Sequence[Period]:
    return compared.last_28d_vs_prior_28d, compared.ytd_vs_last_year, compared.last_28d_vs_last_year


def _rest(counter: SpikeCounter) -> Iterator[object]:
    yield from (counter.recent, counter.by_status, counter.alarm)
