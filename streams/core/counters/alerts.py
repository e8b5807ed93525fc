"""Alerts of one kind: what the alarms give now against what was said of them, and the revisions that put it right.

An alert is `raised` while its alarm is up and `ended` after it, `withdrawn` where its first crossing is no more. All
alerts of a zone share a key on their topic, so the newest that stands is always said last: compaction leaves that one.

Who begins where another told of alerts has not got those that compaction took, and must neither say years of them again
nor keep a new one to itself. It decides once, when it first works out what stands: an alert that it has not got, and
that ended more than a week before the oldest one left of its zone, is taken as said; any other is said, and so is one
that is up, always: had it been said it were the newest, and left. Where all that is left of a zone was withdrawn,
nothing stood, and nothing is taken as said. From then on this one knows what was said, and puts it right like its own.
"""

from __future__ import annotations

from datetime import date

from msgspec import Struct, structs

from streams.core.counters.alarms import Episode
from streams.core.counters.events import CAUTION, CUSUM, Kind, SpikeAlert, spike_id
from streams.core.counters.thresholds import FIRST_DAYS, QUIET_DAYS
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
        self._taken_over: set[str] = set()
        self._known_from: int | None = None
        self._dirty = False

    def restore(self, alert: SpikeAlert) -> None:
        """Take in an alert that was published before; of one spike the highest revision counts."""
        said = self._said.setdefault(alert.zone_id, {})
        if alert.spike_id not in said or said[alert.spike_id].revision < alert.revision:
            said[alert.spike_id] = alert
            self._restored.add(alert.spike_id)
        self._taken_over.add(alert.zone_id)
        self._dirty = True

    def stands(self, told: list[Told], known_from: int) -> None:
        """Take in which alarms the days give; of days before ``known_from`` nothing is known."""
        self._known_from = known_from
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
        if not self._dirty or self._known_from is None:
            return []
        self._dirty = False
        for zone in self._taken_over:
            self._take_as_said(zone)
        self._taken_over.clear()
        zones = sorted(self._stands.keys() | self._said.keys(), key=lambda zone: (zone == CITY, zone))
        return [alert for zone in zones for alert in self._changes(zone)]

    def _take_as_said(self, zone: str) -> None:
        """Take as said what another must have said of a zone, and compaction has taken since."""
        said = self._said[zone]
        left = [said[identifier] for identifier in said.keys() & self._restored]
        if all(alert.status == "withdrawn" for alert in left):
            return
        oldest = min(_day(alert.first_crossing) for alert in left)
        for alert in self._stands.get(zone, {}).values():
            # one whose quiet week reaches the oldest would have been one with it: they cannot have stood together
            if alert.status == "ended" and _day(alert.last_crossing) + QUIET_DAYS < oldest:
                said.setdefault(alert.spike_id, alert)

    def _changes(self, zone: str) -> list[SpikeAlert]:
        said, stands = self._said.setdefault(zone, {}), self._stands.get(zone, {})
        changed = []
        for alert in _by_age({**said, **stands}):
            corrected = self._corrected(said.get(alert.spike_id), stands.get(alert.spike_id))
            if corrected is not None:
                said[corrected.spike_id] = corrected
                changed.append(corrected)
        if changed:
            newest = max(_by_age(said), key=lambda alert: (alert.status != "withdrawn", alert.first_crossing))
            if newest is not changed[-1]:
                said[newest.spike_id] = structs.replace(newest, revision=newest.revision + 1)
                changed.append(said[newest.spike_id])
        return changed

    def _corrected(self, said: SpikeAlert | None, stands: SpikeAlert | None) -> SpikeAlert | None:
        if said is None:
            return stands
        if stands is None:
            if said.status == "withdrawn" or self._is_untold(said):
                return None
            return structs.replace(said, revision=said.revision + 1, status="withdrawn")
        same = structs.replace(stands, revision=said.revision) == said
        return None if same else structs.replace(stands, revision=said.revision + 1)

    def _is_untold(self, said: SpikeAlert) -> bool:
        """Whether another said it of days that no tally tells of any more: that is not taken back.

        What is up is, as soon as the day that crossed is known: nobody else would ever take it off the screen.
        """
        assert self._known_from is not None
        enough = self._known_from + (0 if said.status == "raised" else FIRST_DAYS)
        return said.spike_id in self._restored and _day(said.first_crossing) < enough


def _day(local_date: str) -> int:
    return date.fromisoformat(local_date).toordinal()


def _by_age(alerts: dict[str, SpikeAlert]) -> list[SpikeAlert]:
    return sorted(alerts.values(), key=lambda alert: alert.first_crossing)
