"""Alerts of one kind: what the alarms give now against what was said of them, and the revisions that put it right.

An alert is `raised` while its alarm is up and `ended` after it, `withdrawn` where its first crossing is no more. All
alerts of a zone share a key on their topic, so the newest that stands is always said last: compaction leaves that one.
"""

from __future__ import annotations

from datetime import date

from msgspec import Struct, structs

from streams.core.counters.alarms import Episode
from streams.core.counters.wire import CAUTION, CUSUM, Kind, SpikeAlert, spike_id
from streams.core.site import CITY

_WORDS: dict[Kind, tuple[str, str]] = {
    "shots": ("shot", "shots"),
    "stolen_vehicle_hits": ("stolen-vehicle hit", "stolen-vehicle hits"),
    "linked_incidents": ("linked incident", "linked incidents"),
}


class Told(Struct, frozen=True):
    """An alarm with what its alert tells beside it: the zone's name, and the count of as many days before its run."""

    kind: Kind
    zone_id: str
    zone_name: str
    first_day: int
    """The number of the first local day of the data."""
    episode: Episode
    before: int

    @property
    def first_crossing(self) -> int:
        """The number of the local day that crossed first."""
        return self.first_day + self.episode.first

    @property
    def up(self) -> bool:
        """Whether the alarm is up."""
        return self.episode.up

    @property
    def sentence(self) -> str:
        """What happened, and how seldom chance does it."""
        count, days = self.episode.count, self.episode.first + 1 - self.episode.begun
        counted = f"{count} {_WORDS[self.kind][count != 1]} in {days} day{'s' * (days != 1)}"
        return f"{self.zone_name}: {counted}, {self.before} before; {self._chance()}"

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
        """Return the alert that says so, as the revision given."""
        first = date.fromordinal(self.first_crossing).isoformat()
        return SpikeAlert(
            spike_id=spike_id(self.kind, self.zone_id, CUSUM, first),
            revision=revision,
            status="raised" if self.up else "ended",
            kind=self.kind,
            zone_id=self.zone_id,
            rule=CUSUM,
            first_crossing=first,
            last_crossing=date.fromordinal(self.first_day + self.episode.last).isoformat(),
            statistic=self.episode.statistic,
            threshold=self.episode.threshold.value,
            count=self.episode.count,
            expected=self.episode.expected,
            sentence=self.sentence,
            caution=CAUTION,
        )


def _rounded(years: float) -> int:
    """A number of years as people say it: whole up to ten, tens beyond."""
    return round(years) if years < 10 else round(years / 10) * 10


class AlertBook:
    """What was said of the alarms of one kind, zone by zone, and what stands."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._said: dict[str, dict[str, SpikeAlert]] = {}
        self._stands: dict[str, dict[str, SpikeAlert]] = {}
        self._restored: set[str] = set()
        self._newest_restored: dict[str, str] = {}
        self._watched_from = ""
        self._dirty = False

    def restore(self, alert: SpikeAlert) -> None:
        """Take in an alert that was published before; of one spike the highest revision counts."""
        said = self._said.setdefault(alert.zone_id, {})
        if alert.spike_id not in said or said[alert.spike_id].revision < alert.revision:
            said[alert.spike_id] = alert
            self._restored.add(alert.spike_id)
        newest = self._newest_restored.get(alert.zone_id, "")
        self._newest_restored[alert.zone_id] = max(newest, alert.first_crossing)
        self._dirty = True

    def stands(self, told: list[Told], watched_from: int) -> None:
        """Take in which alarms the days give; what crossed before day ``watched_from`` they cannot tell."""
        self._watched_from = date.fromordinal(watched_from).isoformat()
        self._stands = {}
        for one in told:
            alert = one.alert(1)
            self._stands.setdefault(one.zone_id, {})[alert.spike_id] = alert
        self._dirty = True

    def standing(self) -> list[SpikeAlert]:
        """Return the alerts that the days give, zone by zone, the city last, the oldest first in each."""
        zones = sorted(self._stands, key=lambda zone: (zone == CITY, zone))
        return [alert for zone in zones for alert in _by_age(self._stands[zone])]

    def changes(self) -> list[SpikeAlert]:
        """Return what puts right what was said, and take it as said."""
        if not self._dirty or not self._watched_from:
            return []
        self._dirty = False
        zones = sorted(self._stands.keys() | self._said.keys(), key=lambda zone: (zone == CITY, zone))
        return [alert for zone in zones for alert in self._changes(zone)]

    def _changes(self, zone: str) -> list[SpikeAlert]:
        said, stands = self._said.setdefault(zone, {}), self._stands.get(zone, {})
        changed = []
        for alert in _by_age({**said, **stands}):
            corrected = self._corrected(said.get(alert.spike_id), stands.get(alert.spike_id), zone)
            if corrected is not None:
                said[corrected.spike_id] = corrected
                changed.append(corrected)
        if changed:
            newest = max(_by_age(said), key=lambda alert: (alert.status != "withdrawn", alert.first_crossing))
            if newest is not changed[-1]:
                said[newest.spike_id] = structs.replace(newest, revision=newest.revision + 1)
                changed.append(said[newest.spike_id])
        return changed

    def _corrected(self, said: SpikeAlert | None, stands: SpikeAlert | None, zone: str) -> SpikeAlert | None:
        if said is None:
            assert stands is not None
            # one before the newest that was left of the topic was said at its time, and compacted since
            return stands if stands.first_crossing >= self._newest_restored.get(zone, "") else None
        if stands is None:
            # what another said of days that no tally tells of any more is not taken back
            untold = said.spike_id in self._restored and said.first_crossing < self._watched_from
            if said.status == "withdrawn" or untold:
                return None
            return structs.replace(said, revision=said.revision + 1, status="withdrawn")
        same = structs.replace(stands, revision=said.revision) == said
        return None if same else structs.replace(stands, revision=said.revision + 1)


def _by_age(alerts: dict[str, SpikeAlert]) -> list[SpikeAlert]:
    return sorted(alerts.values(), key=lambda alert: alert.first_crossing)
