"""Alerts of one kind: the revisions that make the published alerts agree with the alarms.

An alert is `raised` while its alarm is up, `ended` afterwards, and `withdrawn` if the alarms no
longer give its first crossing. Its key on the topic is its `spike_id`, so compaction keeps the last
revision of every alert, and a new leader that has read the topic goes on as the former one would.
The topic is retained for longer than the tallies: as long as the alarms give an alert, the topic
holds what was published of it.
"""

from __future__ import annotations

from datetime import date

from msgspec import Struct, structs

from streams.core.counters.alarms import Episode
from streams.core.counters.events import CAUTION, CUSUM, Kind, SpikeAlert, spike_id
from streams.core.counters.thresholds import FIRST_DAYS
from streams.core.site import CITY

_NOUNS: dict[Kind, tuple[str, str]] = {
    "shots": ("shot", "shots"),
    "stolen_vehicle_hits": ("stolen-vehicle hit", "stolen-vehicle hits"),
    "linked_incidents": ("linked incident", "linked incidents"),
}


class AlarmReport(Struct, frozen=True):
    """An alarm with what its alert says about it."""

    kind: Kind
    zone_id: str
    zone_name: str
    first_day: int
    """The number of the first local day of the data."""
    episode: Episode
    count_before: int
    """The count of as many days just before the episode's run."""

    @property
    def first_crossing_day(self) -> int:
        """The number of the local day that crossed first."""
        return self.first_day + self.episode.first_crossing

    @property
    def up(self) -> bool:
        """Whether the alarm is up."""
        return self.episode.up

    @property
    def sentence(self) -> str:
        """What happened, and how rarely chance does it."""
        count, days = self.episode.count, self.episode.first_crossing + 1 - self.episode.run_begin
        counted = f"{count} {_NOUNS[self.kind][count != 1]} in {days} day{'s' * (days != 1)}"
        return f"{self.zone_name}: {counted}, {self.count_before} before; {self._chance()}"

    def _chance(self) -> str:
        years = self.episode.threshold.years_between(self.episode.column)
        if years is None:
            return f"as large by chance less than once in {_rounded(self.episode.threshold.years)} years"
        if years < 1.5:
            return (
                "as large by chance about once a year" if years >= 0.75 else "as large by chance more than once a year"
            )
        return f"as large by chance about once in {_rounded(years)} years"

    def alert(self, revision: int) -> SpikeAlert:
        """Return the alert of this alarm, with the revision given."""
        first_crossing = date.fromordinal(self.first_crossing_day).isoformat()
        return SpikeAlert(
            spike_id=spike_id(self.kind, self.zone_id, CUSUM, first_crossing),
            revision=revision,
            status="raised" if self.up else "ended",
            kind=self.kind,
            zone_id=self.zone_id,
            rule=CUSUM,
            first_crossing=first_crossing,
            last_crossing=date.fromordinal(self.first_day + self.episode.last_crossing).isoformat(),
            statistic=self.episode.statistic,
            threshold=self.episode.threshold.value,
            count=self.episode.count,
            expected=self.episode.expected,
            sentence=self.sentence,
            caution=CAUTION,
        )


def _rounded(years: float) -> int:
    """Years for a sentence: whole years below ten, tens from ten on."""
    return round(years) if years < 10 else round(years / 10) * 10


class AlertBook:
    """The published alerts of one kind and those that the alarms give now, by zone."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._published: dict[str, dict[str, SpikeAlert]] = {}
        self._standing: dict[str, dict[str, SpikeAlert]] = {}
        self._restored: set[str] = set()
        self._known_from: int | None = None
        self._dirty = False

    def restore(self, alert: SpikeAlert) -> None:
        """Add an alert that another leader published; of one spike the highest revision counts."""
        published = self._published.setdefault(alert.zone_id, {})
        if alert.spike_id not in published or published[alert.spike_id].revision < alert.revision:
            published[alert.spike_id] = alert
            self._restored.add(alert.spike_id)
        self._dirty = True

    def set_standing(self, reports: list[AlarmReport], known_from: int) -> None:
        """Set the alarms that the days give; ``known_from`` is the first day with any tally."""
        self._known_from = known_from
        self._standing = {}
        for report in reports:
            alert = report.alert(1)
            self._standing.setdefault(report.zone_id, {})[alert.spike_id] = alert
        self._dirty = True

    def standing(self) -> list[SpikeAlert]:
        """Return the alerts that the alarms give: by zone, the city last, then the oldest first."""
        zones = sorted(self._standing, key=lambda zone: (zone == CITY, zone))
        return [alert for zone in zones for alert in _by_age(self._standing[zone])]

    def changes(self) -> list[SpikeAlert]:
        """Return the alerts that correct what is published, and take them as published."""
        if not self._dirty or self._known_from is None:
            return []
        self._dirty = False
        zones = sorted(self._standing.keys() | self._published.keys(), key=lambda zone: (zone == CITY, zone))
        return [alert for zone in zones for alert in self._changes(zone)]

    def _changes(self, zone: str) -> list[SpikeAlert]:
        published, standing = self._published.setdefault(zone, {}), self._standing.get(zone, {})
        changed = []
        for alert in _by_age({**published, **standing}):
            corrected = self._corrected(published.get(alert.spike_id), standing.get(alert.spike_id))
            if corrected is not None:
                published[corrected.spike_id] = corrected
                changed.append(corrected)
        return changed

    def _corrected(self, published: SpikeAlert | None, standing: SpikeAlert | None) -> SpikeAlert | None:
        if published is None:
            return standing
        if standing is None:
            if published.status == "withdrawn" or self._has_lost_its_tallies(published):
                return None
            return structs.replace(published, revision=published.revision + 1, status="withdrawn")
        same = structs.replace(standing, revision=published.revision) == published
        return None if same else structs.replace(standing, revision=published.revision + 1)

    def _has_lost_its_tallies(self, alert: SpikeAlert) -> bool:
        """Whether another leader's alert rests on days whose tallies are gone: it is kept then.

        An alert that is up is withdrawn as soon as the day of its first crossing is known, because
        nobody else would ever clear it from a screen.
        """
        assert self._known_from is not None
        enough = self._known_from + (0 if alert.status == "raised" else FIRST_DAYS)
        return alert.spike_id in self._restored and _day(alert.first_crossing) < enough


def _day(local_date: str) -> int:
    return date.fromisoformat(local_date).toordinal()


def _by_age(alerts: dict[str, SpikeAlert]) -> list[SpikeAlert]:
    return sorted(alerts.values(), key=lambda alert: alert.first_crossing)
