"""Builds published incidents from their facts, and reads the facts back from published incidents.

The same facts give the same incident, byte for byte: no clock, no order of arrival, no state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from msgspec import Struct, structs
from msgspec import json as msgspec_json

from streams.core.events import (
    CAUTION,
    IncidentAction,
    LinkedIncident,
    LinkedShot,
    LinkedVehicle,
    PlateRead,
    ReviewedAction,
    ShotAlert,
    Sighting,
    VehicleHit,
)
from streams.core.linking import distance_to, is_evidence, match_of, required_speed_mps
from streams.core.rules import JoinRules
from streams.core.scoring import Calibration, score
from streams.core.site import Site

T = TypeVar("T", bound=Struct)

MAX_READS: Final = 50
MAX_ACTIONS: Final = 50


def incident_id(alert_id: str, hit_id: str, plate_key: str) -> str:
    """Return the id of an incident: 32 hexadecimal digits (JOIN.md, Incidents)."""
    return hashlib.sha256(msgspec_json.encode([alert_id, hit_id, plate_key])).hexdigest()[:32]


class StampedRead(Struct, frozen=True, gc=False):
    """A read, and the smallest stamp of its content."""

    read: PlateRead
    stamp_ms: int

    @property
    def order(self) -> tuple[int, str]:
        """The sort key of reads in an incident."""
        return self.read.captured_at_ms, self.read.read_id


class IncidentFacts(Struct, frozen=True):
    """The facts of an incident: the present ones, and the attached reads in order, at most 50."""

    incident_id: str
    shot: ShotAlert
    shot_stamp_ms: int
    hit: VehicleHit
    hit_stamp_ms: int
    attached: Sequence[StampedRead]
    left_out_from_ms: int | None
    review: Sequence[tuple[IncidentAction, int]]
    frozen_at_ms: int


class IncidentBuilder:
    """Builds incidents for one site, one set of rules and one calibration."""

    def __init__(self, site: Site, rules: JoinRules, calibration: Calibration) -> None:
        self._site = site
        self._rules = rules
        self._calibration = calibration

    def build(self, facts: IncidentFacts, revision: int) -> LinkedIncident:
        """Return the incident these facts make, as the given revision."""
        sightings: list[Sighting] = []
        set_aside: list[Sighting] = []
        for stamped in facts.attached:
            ramp = self._site.ramps[stamped.read.ramp_id]
            is_supported = is_evidence(facts.shot, facts.hit, stamped.read, ramp, self._rules)
            (sightings if is_supported else set_aside).append(self._sighting(facts, stamped))
        scored = score(facts.hit, facts.shot.status == "confirmed", sightings, self._rules, self._calibration)
        return LinkedIncident(
            incident_id=facts.incident_id,
            revision=revision,
            status="open" if sightings else "retracted",
            shot=LinkedShot(**structs.asdict(facts.shot), stamp_ms=facts.shot_stamp_ms),
            vehicle=LinkedVehicle(**structs.asdict(facts.hit), stamp_ms=facts.hit_stamp_ms),
            sightings=sightings,
            set_aside=set_aside,
            left_out_from_ms=facts.left_out_from_ms,
            score=scored.score,
            strength=scored.strength,
            reasons=scored.reasons,
            warnings=scored.warnings,
            zone_id=self._site.zone_at(facts.shot.lat, facts.shot.lon),
            review=[ReviewedAction(**structs.asdict(action), stamp_ms=stamp) for action, stamp in facts.review],
            frozen_at_ms=facts.frozen_at_ms,
            caution=CAUTION,
        )

    def _sighting(self, facts: IncidentFacts, stamped: StampedRead) -> Sighting:
        read = stamped.read
        ramp = self._site.ramps[read.ramp_id]
        away_m = distance_to(facts.shot, ramp)
        delay_ms = read.captured_at_ms - facts.shot.occurred_at_ms
        return Sighting(
            read_id=read.read_id,
            ramp_id=ramp.ramp_id,
            road=ramp.road,
            exit=ramp.exit,
            direction=ramp.direction,
            lat=ramp.lat,
            lon=ramp.lon,
            captured_at_ms=read.captured_at_ms,
            stamp_ms=stamped.stamp_ms,
            seconds_from_shot=delay_ms / 1000,
            distance_m=away_m,
            required_speed_mps=required_speed_mps(facts.shot, away_m, delay_ms, self._rules),
            confidence=read.confidence,
            match=match_of(facts.hit, read),
            plate_as_read=read.plate,
            region=read.region,
            make=read.make,
            colour=read.colour,
        )


def same_content(one: LinkedIncident, other: LinkedIncident) -> bool:
    """Return whether two revisions differ in nothing but ``revision`` and the vehicle's stamp."""
    vehicle = structs.replace(one.vehicle, stamp_ms=other.vehicle.stamp_ms)
    return structs.replace(one, revision=other.revision, vehicle=vehicle) == other


def rests_on_same_facts(incident: LinkedIncident, published: LinkedIncident, finalized_through_ms: int) -> bool:
    """Return whether an incident has the facts of a published one, whatever follows from them.

    Only reads stamped at or after ``finalized_through_ms`` can be new: the publisher knew the rest.
    """
    vehicle = structs.replace(incident.vehicle, stamp_ms=published.vehicle.stamp_ms)
    if (incident.shot, vehicle, incident.review) != (published.shot, published.vehicle, published.review):
        return False
    known = {(read.read_id, read.captured_at_ms) for read in (*published.sightings, *published.set_aside)}
    reads = (*incident.sightings, *incident.set_aside)
    return all((r.read_id, r.captured_at_ms) in known or r.stamp_ms < finalized_through_ms for r in reads)


# ------------------------------------------------------------------ facts of a published incident

RENAMED_IN_SIGHTING: Final = {"plate": "plate_as_read"}
"""Fields of a read that a sighting has under another name."""
NOT_IN_SIGHTING: Final[dict[str, Any]] = {"camera_id": "", "direction": None}
"""Fields of a read that linking and scoring do not use, and what a restored read has instead."""


def shot_of(incident: LinkedIncident) -> ShotAlert:
    """Return the shot of a published incident."""
    return _part(ShotAlert, incident.shot)


def hit_of(incident: LinkedIncident) -> VehicleHit:
    """Return the hit of a published incident."""
    return _part(VehicleHit, incident.vehicle)


def actions_of(incident: LinkedIncident) -> list[tuple[IncidentAction, int]]:
    """Return the actions of a published incident, each with its stamp."""
    return [(_part(IncidentAction, action), action.stamp_ms) for action in incident.review]


def reads_of(incident: LinkedIncident) -> list[StampedRead]:
    """Return the reads of a published incident, with all that linking and scoring use."""
    sightings = (*incident.sightings, *incident.set_aside)
    return [StampedRead(_read_of(sighting), sighting.stamp_ms) for sighting in sightings]


def _read_of(sighting: Sighting) -> PlateRead:
    fields = {
        name: getattr(sighting, RENAMED_IN_SIGHTING.get(name, name))
        for name in PlateRead.__struct_fields__
        if name not in NOT_IN_SIGHTING
    }
    return PlateRead(**fields, **NOT_IN_SIGHTING)


def _part(kind: type[T], whole: Struct) -> T:
    """Return the event that a linked shot, vehicle or action was made from."""
    return kind(**{name: getattr(whole, name) for name in kind.__struct_fields__})
