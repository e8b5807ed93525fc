"""The records: one Struct for each topic's values, and the record and error types around them.

Times are integer milliseconds since the Unix epoch, UTC. A field that may be null may be absent. A
null elsewhere, an integer written as ``1.0``, a NaN or a text that is too long is an error that
names the field. Unknown fields are ignored, so producers may add fields. ``schemas/`` is generated
from these types; `streams.core.topics` says which type is on which topic.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

CAUTION: Final = (
    "Lead only, not grounds for a stop. Confirm the plate and its state by eye, and the listing with the entering "
    "agency, before acting."
)

_INTEGER_MAX: Final = 2**53

Id = Annotated[str, Meta(min_length=1, max_length=128)]
Text = Annotated[str, Meta(max_length=500)]
Integer = Annotated[int, Meta(ge=-_INTEGER_MAX, le=_INTEGER_MAX)]
Millis = Annotated[int, Meta(ge=-_INTEGER_MAX, le=_INTEGER_MAX, description="milliseconds since the Unix epoch, UTC")]
Revision = Annotated[int, Meta(ge=0, le=_INTEGER_MAX)]
Metres = Annotated[int, Meta(ge=0, le=_INTEGER_MAX)]
Latitude = Annotated[float, Meta(ge=-90, le=90)]
Longitude = Annotated[float, Meta(ge=-180, le=180)]
Share = Annotated[float, Meta(ge=0, le=1)]
Direction = Literal["on", "off"]


class ShotAlert(Struct, frozen=True, gc=False):
    """A gunshot alert; a higher revision of the same ``alert_id`` replaces it."""

    alert_id: Id
    kind: Literal["single_gunshot", "multiple_gunshots", "probable_gunfire"]
    occurred_at_ms: Millis
    lat: Latitude
    lon: Longitude
    revision: Revision = 0
    status: Literal["unreviewed", "confirmed", "dismissed"] = "unreviewed"
    uncertainty_m: Metres = 25
    rounds: Integer | None = None
    source: Text | None = None


class VehicleHit(Struct, frozen=True, gc=False):
    """A vehicle listed as stolen; ``hit_id`` is the number of the listing (NCIC)."""

    hit_id: Id
    plate: Text
    reported_at_ms: Millis
    revision: Revision = 0
    status: Literal["active", "recovered", "cancelled"] = "active"
    region: Text | None = None
    stolen_at_ms: Millis | None = None
    cleared_at_ms: Millis | None = None
    make: Text | None = None
    model: Text | None = None
    colour: Text | None = None
    style: Text | None = None
    year: Integer | None = None
    ori: Text | None = None
    oca: Text | None = None
    list_updated_at_ms: Millis | None = None
    lat: Latitude | None = None
    lon: Longitude | None = None
    caution: Text | None = None


class PlateRead(Struct, frozen=True, gc=False):
    """A plate read by a camera at a ramp."""

    read_id: Id
    plate: Text
    captured_at_ms: Millis
    ramp_id: Id
    camera_id: Id
    confidence: Share
    region: Text | None = None
    direction: Direction | None = None
    make: Text | None = None
    colour: Text | None = None


class IncidentAction(Struct, frozen=True, gc=False):
    """A dispatcher's action on an incident."""

    action_id: Id
    incident_id: Id
    kind: Literal["acknowledge", "plate_verified", "listing_confirmed", "dismiss", "outcome"]
    by: Text
    at_ms: Millis
    reason: Text | None = None
    note: Text | None = None


Event = ShotAlert | VehicleHit | PlateRead | IncidentAction


class LinkedShot(ShotAlert, frozen=True, kw_only=True, gc=False):
    """The shot of an incident: the current alert, and when this content first reached its topic."""

    stamp_ms: Millis


class LinkedVehicle(VehicleHit, frozen=True, kw_only=True, gc=False):
    """The vehicle of an incident: the current hit, and when this content reached its topic."""

    stamp_ms: Millis


class ReviewedAction(IncidentAction, frozen=True, kw_only=True, gc=False):
    """An action in an incident's review, and when it reached its topic."""

    stamp_ms: Millis


class Sighting(Struct, frozen=True, gc=False):
    """A plate read as evidence for one shot: place, time, distance and required speed."""

    read_id: Id
    ramp_id: Id
    road: Text
    exit: Text
    direction: Direction
    lat: Latitude
    lon: Longitude
    captured_at_ms: Millis
    stamp_ms: Millis
    seconds_from_shot: Annotated[float, Meta(description="negative: before the shot")]
    distance_m: Metres
    required_speed_mps: Annotated[
        float | None,
        Meta(description="null: no speed suffices; a read set aside that was captured at the time of the shot"),
    ]
    confidence: Share
    match: Literal["exact", "lookalike"]
    plate_as_read: Text
    region: Text | None
    make: Text | None
    colour: Text | None


ReasonCode = Literal["delay", "distance", "direction", "corroboration"]
WarningCode = Literal[
    "lookalike",
    "region_unknown",
    "low_confidence",
    "list_age",
    "make_differs",
    "colour_differs",
    "unreviewed",
    "plate_short",
]


class Reason(Struct, frozen=True, gc=False):
    """One term of the score: what was measured, its unit, and its weight in the log-odds."""

    code: ReasonCode | WarningCode
    value: float
    unit: Literal["s", "m", "reads", "differences", "share", "h", "agrees"]
    weight: Annotated[float, Meta(description="added to the natural logarithm of the odds")]


class LinkedIncident(Struct, frozen=True, gc=False):
    """A shot and a stolen vehicle that plate reads link: the whole current state."""

    incident_id: Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
    revision: Annotated[int, Meta(ge=1, le=_INTEGER_MAX)]
    status: Literal["open", "retracted"]
    shot: LinkedShot
    vehicle: LinkedVehicle
    sightings: list[Sighting]
    set_aside: list[Sighting]
    left_out_from_ms: Millis | None
    score: Share
    strength: Literal["low", "medium", "high"]
    reasons: list[Reason]
    warnings: list[WarningCode]
    zone_id: Id
    review: list[ReviewedAction]
    frozen_at_ms: Annotated[int, Meta(description="milliseconds since the Unix epoch, UTC; no change after this")]
    caution: str


DeadReason = Literal[
    "unreadable", "not_json", "schema", "plate", "placeholder", "unknown_ramp", "future", "late", "limit"
]
Outcome = Literal["used", "duplicate", "superseded", "conflict", "finalized", "forwarded", "late", "dead"]


class InvalidRecord(Exception):
    """A record that cannot be used: the reason, the field at fault if any, and the detail."""

    def __init__(self, reason: DeadReason, field: str, detail: str) -> None:
        super().__init__(f"{reason}: {field}: {detail}" if field else f"{reason}: {detail}")
        self.reason: DeadReason = reason
        self.field = field
        self.detail = detail

    @property
    def outcome(self) -> Outcome:
        """Return the outcome the record is counted under."""
        return "late" if self.reason == "late" else "dead"


Headers = Sequence[tuple[str, bytes | None]]
"""Names and values of a record's headers, in order; a name may occur several times."""


class Record(Struct, frozen=True, gc=False):
    """One record of an input topic as stored in the log; ``stamp_ms`` is when it reached its topic.

    ``forwarded_from``: where a record was before it was forwarded from the wrong partition, as
    ``partition:offset``; empty for a record that was not forwarded. ``key`` and ``headers`` are the
    producer's, kept so that a dead letter can be sent again as it was; nothing is decided by them.
    ``moves_watermark``: whether the broker vouches for the stamp. A producer's own stamp may lie in
    the future.

    ``unreadable``: why the record's value could not be read from the log; empty if it was read.
    ``value`` is then what was found in its place, and ``stands_for`` how many records are in it.
    """

    topic: str
    partition: int
    offset: int
    stamp_ms: int
    value: bytes | None
    forwarded_from: str = ""
    key: bytes | None = None
    headers: Headers = ()
    moves_watermark: bool = True
    unreadable: str = ""
    stands_for: int = 1


def identity_of(event: Event) -> tuple[str, ...]:
    """Return what all revisions of an event share, apart from the plate key (JOIN.md, Identity)."""
    match event:
        case ShotAlert():
            return (event.alert_id,)
        case VehicleHit():
            return (event.hit_id,)
        case PlateRead():
            return (event.read_id, str(event.captured_at_ms))
        case IncidentAction():
            return (event.incident_id, event.action_id)


def event_time_ms(event: Event) -> int:
    """Return the event's own time, in milliseconds since the Unix epoch."""
    match event:
        case ShotAlert():
            return event.occurred_at_ms
        case VehicleHit():
            return event.reported_at_ms
        case PlateRead():
            return event.captured_at_ms
        case IncidentAction():
            return event.at_ms


def canonical(event: Event) -> bytes:
    """Return the canonical JSON of an event's known fields (JOIN.md, The fact)."""
    return canonical_json(msgspec.structs.asdict(event))


def canonical_json(fields: dict[str, Any]) -> bytes:
    """Return fields as JSON in the one way in which they are compared."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


# ---------------------------------------------------------------------- contradictions

_SAFER: Final = {
    # A dismissal drops a lead, and a review that is in doubt should not read as confirmed.
    "dismissed": 0,
    "confirmed": 1,
    "unreviewed": 2,
    # A vehicle that is back with its owner must not be treated as stolen.
    "active": 0,
    "recovered": 1,
    "cancelled": 2,
}
_DISMISS: Final = -1


def safety(status: str) -> int:
    """Return how safe a status is to believe in doubt; the greater of two wins a tie."""
    return _SAFER.get(status, 0)


def content_digest(event: Event) -> str:
    """Return 32 hexadecimal digits of an event's content without its plate.

    With the plate, trying all plates would find the one in a plate-free tally.
    """
    fields = msgspec.structs.asdict(event)
    fields.pop("plate", None)
    return hashlib.sha256(canonical_json(fields)).hexdigest()[:32]


TieRank = tuple[int, str, bytes]


def tie_rank(event: Event) -> TieRank:
    """Return what decides between equal revisions with different content: the greatest wins.

    First the safer status, then the digest, then the canonical JSON: contents with one digest
    differ in the spelling of the plate. The join, the counters and the scan all use it (JOIN.md,
    The fact).
    """
    if isinstance(event, IncidentAction):
        first = _DISMISS if event.kind == "dismiss" else 0
    else:
        first = safety(getattr(event, "status", ""))
    return first, content_digest(event), canonical(event)
