"""The records of the counters: tallies, which are the plate-free facts; counters; spike alerts.

`streams.core.events` defines all other records. The JSON Schemas in ``schemas/`` are generated from
both.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from streams.core.events import (
    Id,
    LinkedIncident,
    Millis,
    Revision,
    ShotAlert,
    TieRank,
    VehicleHit,
    canonical_json,
    content_digest,
    safety,
)
from streams.core.site import CITY, Site

Kind = Literal["shots", "stolen_vehicle_hits", "linked_incidents"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
PeriodName = Literal["last_28d_vs_prior_28d", "ytd_vs_last_year", "last_28d_vs_last_year"]
"""The fields of `Periods`. `calendar.periods` and `analysis.table` have an entry for each."""
CUSUM: Final = "cusum"

CAUTION: Final = (
    "A rise in what was recorded, not its cause. Chance, a holiday or a sensor can make one: look at the events before "
    "acting on it."
)

Count = Annotated[int, Meta(ge=0, le=2**53)]
Days = Annotated[float, Meta(ge=0)]
LocalDate = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
Name = Annotated[str, Meta(min_length=1, max_length=500)]


class Tally(Struct, frozen=True, gc=False):
    """One revision of a counted event: when, where, and whether it counts. It holds no plate."""

    kind: Kind
    event_id: Id
    revision: Revision
    zone_id: Id
    at_ms: Millis
    status: Literal["unreviewed", "confirmed", "dismissed", "active", "recovered", "cancelled", "open", "retracted"]
    counts: bool
    content_digest: Annotated[str, Meta(pattern="^([0-9a-f]{32})?$")] = ""
    """Of a shot or a hit, to decide as the join does between equal revisions; else empty."""


class Period(Struct, frozen=True, gc=False):
    """The count of a period, compared with another period; null where it cannot be compared."""

    from_ms: Millis
    to_ms: Millis
    count: Count
    comparison_count: Count | None
    exposure_days: Days
    comparison_days: Days
    difference: int | None
    percent: float | None
    rate_ratio: float | None
    rate_ratio_low: float | None
    rate_ratio_high: float | None
    p_value: float | None


class Periods(Struct, frozen=True, gc=False):
    """The three comparisons, in local days including today."""

    last_28d_vs_prior_28d: Period
    ytd_vs_last_year: Period
    last_28d_vs_last_year: Period


class Recent(Struct, frozen=True, gc=False):
    """The counts of the last hour, day and week before ``as_of_ms``."""

    h1: Count
    h24: Count
    d7: Count


class ByStatus(Struct, frozen=True, gc=False):
    """The shots of the last 28 local days by review status; dismissed shots count nowhere else."""

    unreviewed: Count
    confirmed: Count
    dismissed: Count


class Alarm(Struct, frozen=True, gc=False):
    """An alarm that is up."""

    rule: Name
    since_ms: Millis
    statistic: float
    threshold: float
    sentence: Name


class SpikeCounter(Struct, frozen=True, gc=False):
    """The counts of one kind in one zone, as of a time."""

    kind: Kind
    zone_id: Id
    as_of_ms: Millis
    periods: Periods
    recent: Recent
    by_status: ByStatus | None
    alarm: Alarm | None


class SpikeAlert(Struct, frozen=True, gc=False):
    """A rise that chance alone rarely makes: its whole current state, one revision per change."""

    spike_id: Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
    revision: Annotated[int, Meta(ge=1, le=2**53)]
    status: Literal["raised", "withdrawn", "ended"]
    kind: Kind
    zone_id: Id
    rule: Name
    first_crossing: LocalDate
    last_crossing: LocalDate
    statistic: float
    threshold: float
    count: Count
    expected: float
    sentence: Name
    caution: str


# ---------------------------------------------------------------------- tallies of events


def tally_of_shot(shot: ShotAlert, site: Site) -> Tally:
    """Return the tally of a shot, by the day it was fired and the zone of its place."""
    zone_id = site.zone_at(shot.lat, shot.lon)
    counts = shot.status != "dismissed"
    at_ms, digest = shot.occurred_at_ms, content_digest(shot)
    return Tally("shots", shot.alert_id, shot.revision, zone_id, at_ms, shot.status, counts, digest)


def tally_of_hit(hit: VehicleHit, site: Site) -> Tally:
    """Return the tally of a hit, by the day it was reported and its zone, if its place is known."""
    zone_id = CITY if hit.lat is None or hit.lon is None else site.zone_at(hit.lat, hit.lon)
    counts = hit.status != "cancelled"
    at_ms, digest = hit.reported_at_ms, content_digest(hit)
    return Tally("stolen_vehicle_hits", hit.hit_id, hit.revision, zone_id, at_ms, hit.status, counts, digest)


def tally_of_incident(incident: LinkedIncident) -> Tally:
    """Return the tally of an incident, by the day and the zone of its shot."""
    at_ms, counts = incident.shot.occurred_at_ms, incident.status == "open"
    identifier, zone_id = incident.incident_id, incident.zone_id
    return Tally("linked_incidents", identifier, incident.revision, zone_id, at_ms, incident.status, counts)


def canonical_tally(tally: Tally) -> bytes:
    """Return the canonical JSON of a tally."""
    return canonical_json(msgspec.structs.asdict(tally))


def tally_tie_rank(tally: Tally) -> TieRank:
    """Return what decides between equal revisions: as `tie_rank` of the events they are of.

    Tallies of one content differ only if the site's zones changed; then canonical JSON decides.
    """
    return safety(tally.status), tally.content_digest, canonical_tally(tally)


# ---------------------------------------------------------------------- keys


def tally_key(tally: Tally) -> str:
    """Return a tally's key, which differs with its content: compaction keeps the tally in force."""
    digest = hashlib.sha256(canonical_tally(tally)).hexdigest()[:16]
    return f"{tally.kind}/{tally.event_id}/{tally.revision}/{digest}"


def counter_key(counter: SpikeCounter) -> str:
    """Return a counter's key: kind and zone."""
    return f"{counter.kind}/{counter.zone_id}"


def alert_key(alert: SpikeAlert) -> str:
    """Return an alert's key, its `spike_id`: compaction keeps the last revision of every alert."""
    return alert.spike_id


def spike_id(kind: Kind, zone_id: str, rule: str, first_crossing: str) -> str:
    """Return the id of a spike: 32 hexadecimal digits; ``first_crossing`` is a local date."""
    return hashlib.sha256(msgspec.json.encode([kind, zone_id, rule, first_crossing])).hexdigest()[:32]
