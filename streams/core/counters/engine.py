"""The counter engine: tallies in, in any order; counters and alerts out, as of a given time.

Its results depend on the tallies and on the time, never on the order of the tallies, on repeated
ones, or on how often results are computed. The caller applies `Tally` records, moves the time on
with `advance`, and publishes what `changes` returns. A caller that resumes after another leader
passes that leader's counters and alerts to `restore` first.

Applying a tally costs the same whatever the history: it changes one day of its zone and of the
city. When a day is completed or an earlier one is corrected, the alarms of the kind are computed
again, once, when changes are next requested.
"""

from __future__ import annotations

from datetime import date
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from streams.core.counters.alarms import Alarms, Episode, data_begin
from streams.core.counters.alerts import AlarmReport, AlertBook
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
_DAYS_MAX: Final = 36_525
"""Days of data for alarms: a century. Bounds memory when a source's clock is set wrong."""


class Changes(Struct, frozen=True):
    """What to publish, in this order."""

    counters: list[SpikeCounter]
    alerts: list[SpikeAlert]


class DayCounts(Struct, frozen=True):
    """Completed local days of one kind: days × zones in the site's order, with the city last."""

    first_day: int
    counts: NDArray[Any]


class CounterEngine:
    """The counters of one site: every kind, for every zone and for the city."""

    def __init__(self, site: Site, rules: CounterRules) -> None:
        self._rules = rules
        self._days = LocalDays(site.time_zone)
        self._zones = tuple(zone.zone_id for zone in site.zones)
        self._names = {zone.zone_id: zone.name for zone in site.zones} | {CITY: site.title or site.name}
        self._tallies = CurrentTallies()
        self._zone_counts: dict[_Key, ZoneCounts] = {
            (kind, zone): ZoneCounts() for kind in KINDS for zone in (*self._zones, CITY)
        }
        self._tallies_by_day: dict[Kind, dict[int, int]] = {kind: {} for kind in KINDS}
        """Tallies in force, whether or not they count: they show that counting had begun."""
        self._alarms = {kind: Alarms(rules, len(self._zones)) for kind in KINDS}
        self._alerts = {kind: AlertBook(kind) for kind in KINDS}
        self._alarms_up: dict[_Key, Alarm] = {}
        self._published: dict[_Key, SpikeCounter] = {}
        self._as_of_ms = FIRST_MS
        self._dirty: set[_Key] = set(self._zone_counts)
        """Counters that may differ from the published ones."""
        self._alarms_dirty: set[Kind] = set(KINDS)
        self._since: dict[Kind, int | None] = {kind: self._first_counted_day(kind) for kind in KINDS}
        """The local day from which each kind is counted."""
        self._since_dirty: set[Kind] = set()
        """Kinds whose tallies have changed since that day was determined."""

    @property
    def as_of_ms(self) -> int:
        """The time as of which everything is computed: events before it are counted."""
        return self._as_of_ms

    @property
    def event_count(self) -> int:
        """The number of shots, hits and incidents with a tally."""
        return len(self._tallies)

    @property
    def zone_ids(self) -> tuple[str, ...]:
        """The zones in the site's order, the city last: the columns of `DayCounts`."""
        return (*self._zones, CITY)

    # ------------------------------------------------------------------ input

    def apply(self, tally: Tally) -> bool:
        """Apply a tally and return whether it is in force now.

        A tally of a zone that the site does not have counts in the city alone.
        """
        in_force, before = self._tallies.replace(tally)
        if not in_force:
            return False
        if before is not None and before.at_ms < self._as_of_ms:
            self._count(before, -1)
        if tally.at_ms < self._as_of_ms:
            self._count(tally, 1)
        else:
            self._tallies.wait(tally)
        return True

    def advance(self, as_of_ms: int) -> None:
        """Move the time on; an earlier time than the present one is ignored."""
        as_of_ms = min(as_of_ms, LAST_MS)
        if as_of_ms <= self._as_of_ms:
            return
        due = list(self._tallies.due(as_of_ms))
        if self._completed_end(as_of_ms) != self._completed_end(self._as_of_ms):
            self._alarms_dirty.update(KINDS)
        if self._days.day_of(as_of_ms - 1) != self._days.day_of(self._as_of_ms - 1):
            self._dirty.update(self._zone_counts)
        self._as_of_ms = as_of_ms
        for tally in due:
            self._count(tally, 1)
        for key, counts in self._zone_counts.items():
            if counts.has_recent:
                counts.drop_before(recent_since(as_of_ms))
                self._dirty.add(key)

    def restore(self, published: SpikeCounter | SpikeAlert) -> None:
        """Restore a record that was published earlier: the last counters, and all alerts left."""
        if (published.kind, published.zone_id) not in self._zone_counts:
            return  # the site no longer has this zone
        if isinstance(published, SpikeCounter):
            self._published[published.kind, published.zone_id] = published
        elif published.rule == CUSUM:
            self._alerts[published.kind].restore(published)
            self._alarms_dirty.add(published.kind)

    def _count(self, tally: Tally, sign: int) -> None:
        day = self._days.day_of(tally.at_ms)
        if day is None:
            return
        self._since_dirty.add(tally.kind)
        tallies = self._tallies_by_day[tally.kind]
        tallies[day] = tallies.get(day, 0) + sign
        if not tallies[day]:
            del tallies[day]
        for zone in {tally.zone_id, CITY}:
            counts = self._zone_counts.get((tally.kind, zone))
            if counts is not None:
                counts.add(tally, day, sign, recent_since(self._as_of_ms))
                self._dirty.add((tally.kind, zone))
        if day < self._completed_end(self._as_of_ms):
            self._alarms_dirty.add(tally.kind)

    def _completed_end(self, as_of_ms: int) -> int:
        """The first local day that is not completed."""
        day = self._days.day_of(as_of_ms)
        assert day is not None or as_of_ms == LAST_MS
        return day if day is not None else (self._days.day_of(as_of_ms - 1) or 0)

    # ------------------------------------------------------------------ output

    def counted_since(self, kind: Kind) -> date | None:
        """Return the local date from which a kind is counted; None if it has no data."""
        self._update_since()
        since = self._since[kind]
        return None if since is None else date.fromordinal(since)

    def counters(self) -> list[SpikeCounter]:
        """Return all counters: by kind, then in the site's order, the city last."""
        self._update_since()
        self._update_alarms()
        return [self._counter(kind, zone) for kind, zone in self._zone_counts]

    def alerts(self) -> list[SpikeAlert]:
        """Return the alerts that the alarms give: by kind and zone, the oldest first.

        They are not taken as published.
        """
        self._update_alarms()
        return [alert for kind in KINDS for alert in self._alerts[kind].standing()]

    def changes(self, include_unchanged: bool = False) -> Changes:
        """Return what differs from what is published, and take it as published.

        Counters differ by their counts, periods and alarms. That today has grown longer is no
        difference. With ``include_unchanged``, all counters are returned.
        """
        self._update_since()
        self._update_alarms()
        alerts = [alert for kind in KINDS for alert in self._alerts[kind].changes()]
        keys = [key for key in self._zone_counts if include_unchanged or key in self._dirty]
        counters = [self._counter(*key) for key in keys]
        if not include_unchanged:
            counters = [c for c in counters if _content(c) != _content(self._published.get((c.kind, c.zone_id)))]
        self._published.update({(c.kind, c.zone_id): c for c in counters})
        self._dirty.clear()
        return Changes(counters, alerts)

    def day_counts(self, kind: Kind) -> DayCounts | None:
        """Return a kind's completed local days since its data begin; None if there are none."""
        end = self._completed_end(self._as_of_ms)
        first = data_begin(self._tallies_before(kind, end))
        if first is None:
            return None
        first = max(first, end - _DAYS_MAX)
        counts = np.zeros((end - first, len(self._zones) + 1), dtype=np.int32)
        for column, zone in enumerate(self.zone_ids):
            for day, count in self._zone_counts[kind, zone].days.items():
                if first <= day < end:
                    counts[day - first, column] = count
        return DayCounts(first, counts)

    def _tallies_before(self, kind: Kind, end: int) -> dict[int, int]:
        """The number of tallies in force on each day before ``end`` that alarms may use."""
        since = self._rules.alarms_since.toordinal()
        counted_since = self._rules.counted_since(kind)
        if counted_since is not None:
            since = max(since, counted_since.toordinal())
        return {day: count for day, count in self._tallies_by_day[kind].items() if since <= day < end}

    # ------------------------------------------------------------------ begin of the data

    def _update_since(self) -> None:
        for kind in self._since_dirty:
            since = self._first_counted_day(kind)
            if since != self._since[kind]:
                self._since[kind] = since
                self._dirty.update(key for key in self._zone_counts if key[0] == kind)
        self._since_dirty.clear()

    def _first_counted_day(self, kind: Kind) -> int | None:
        setting = self._rules.counted_since(kind)
        return data_begin(self._tallies_by_day[kind]) if setting is None else setting.toordinal()

    # ------------------------------------------------------------------ alarms

    def _update_alarms(self) -> None:
        for kind in sorted(self._alarms_dirty):
            self._compute_alarms(kind)
        self._alarms_dirty.clear()

    def _compute_alarms(self, kind: Kind) -> None:
        days, end = self.day_counts(kind), self._completed_end(self._as_of_ms)
        reports: list[AlarmReport] = []
        if days is not None:
            reports = [self._report(kind, days, episode) for episode in self._alarms[kind].episodes(days.counts)]
        known_from = min(self._tallies_before(kind, end), default=end)
        self._alerts[kind].set_standing(reports, known_from)
        for zone in self.zone_ids:
            before = self._alarms_up.pop((kind, zone), None)
            alarm = next((self._alarm(report) for report in reports if report.zone_id == zone and report.up), None)
            if alarm is not None:
                self._alarms_up[kind, zone] = alarm
            if alarm != before:
                self._dirty.add((kind, zone))

    def _report(self, kind: Kind, days: DayCounts, episode: Episode) -> AlarmReport:
        zone = self.zone_ids[episode.column]
        begin, end = days.first_day + episode.run_begin, days.first_day + episode.first_crossing + 1
        before = self._zone_counts[kind, zone].count(Window(max(2 * begin - end, days.first_day), begin))
        return AlarmReport(kind, zone, self._names[zone], days.first_day, episode, before)

    def _alarm(self, report: AlarmReport) -> Alarm:
        since_ms = self._days.begin_ms(report.first_crossing_day + 1)
        return Alarm(CUSUM, since_ms, report.episode.statistic, report.episode.threshold.value, report.sentence)

    # ------------------------------------------------------------------ counters

    def _counter(self, kind: Kind, zone: str) -> SpikeCounter:
        counts, now_ms = self._zone_counts[kind, zone], self._as_of_ms
        compared = periods(self._today)
        last_28 = compared["last_28d_vs_prior_28d"][0]
        return SpikeCounter(
            kind=kind,
            zone_id=zone,
            as_of_ms=now_ms,
            periods=Periods(**{name: self._period(kind, counts, *windows) for name, windows in compared.items()}),
            recent=counts.recent(now_ms),
            by_status=counts.by_status(last_28) if kind == "shots" else None,
            alarm=self._alarms_up.get((kind, zone)),
        )

    @property
    def _today(self) -> int:
        day = self._days.day_of(max(self._as_of_ms - 1, FIRST_MS))
        assert day is not None
        return day

    def _period(self, kind: Kind, counts: ZoneCounts, now: Window, then: Window) -> Period:
        today = self._today
        begin_ms, end_ms = self._days.begin_ms(today), self._days.begin_ms(today + 1)
        exposure = len(now) - 1 + (self._as_of_ms - begin_ms) / (end_ms - begin_ms)
        count, base = counts.count(now), counts.count(then)
        since = self._since[kind]
        comparable = since is not None and then.first >= since
        comparison = compare(count, base, exposure, float(len(then))) if comparable else None
        return Period(
            from_ms=self._days.begin_ms(now.first),
            to_ms=end_ms,
            count=count,
            comparison_count=base if comparable else None,
            exposure_days=exposure,
            comparison_days=float(len(then)),
            difference=count - base if comparable else None,
            percent=100 * (count - base) / base if comparable and base else None,
            rate_ratio=comparison.rate_ratio if comparison else None,
            rate_ratio_low=comparison.low if comparison else None,
            rate_ratio_high=comparison.high if comparison else None,
            p_value=comparison.p_value if comparison else None,
        )


def _content(counter: SpikeCounter | None) -> object:
    """The part of a counter that makes a difference: all but the time of day and its effects."""
    if counter is None:
        return None
    compared: list[Period] = [getattr(counter.periods, name) for name in Periods.__struct_fields__]
    counts = [(p.from_ms, p.to_ms, p.count, p.comparison_count) for p in compared]
    return counts, counter.recent, counter.by_status, counter.alarm
