"""What comes in and what goes out: the wire's types, one Struct a topic, and the codec that validates them.

Times are integer milliseconds since the Unix epoch, UTC. A field that may be null may be absent; a null elsewhere, an
integer written as ``1.0``, a NaN or a text that is too long is an error that names the field. Unknown fields are
ignored, so producers may add some. ``schemas/`` is generated from these types.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, cast

import msgspec
from msgspec import Meta, Struct

SHOTS: Final = "shot-spotter-alerts"
HITS: Final = "stolen-vehicle-hits"
READS: Final = "ramp-plate-reads"
ACTIONS: Final = "incident-actions"
INCIDENTS: Final = "linked-incidents"
TALLIES: Final = "tallies"
COUNTERS: Final = "spike-counters"
ALERTS: Final = "spike-alerts"
DEAD_LETTERS: Final = "dead-letters"

FORWARDED_HEADER: Final = "rampwatch-forwarded"
"""Of a record sent on from a wrong partition of its topic: where it lay, as ``partition:offset``."""

INPUTS: Final = (SHOTS, HITS, READS, ACTIONS)
JOINED: Final = (HITS, READS)
BROADCAST: Final = (SHOTS, ACTIONS)
COUNTED: Final = (TALLIES, COUNTERS, ALERTS)

CAUTION: Final = (
    "Lead only, not grounds for a stop. Confirm the plate and its state by eye, and the listing with the entering "
    "agency, before acting."
)

_WHOLE: Final = 2**53

Id = Annotated[str, Meta(min_length=1, max_length=128)]
Text = Annotated[str, Meta(max_length=500)]
Whole = Annotated[int, Meta(ge=-_WHOLE, le=_WHOLE)]
Millis = Annotated[int, Meta(ge=-_WHOLE, le=_WHOLE, description="milliseconds since the Unix epoch, UTC")]
Revision = Annotated[int, Meta(ge=0, le=_WHOLE)]
Metres = Annotated[int, Meta(ge=0, le=_WHOLE)]
Latitude = Annotated[float, Meta(ge=-90, le=90)]
Longitude = Annotated[float, Meta(ge=-180, le=180)]
Share = Annotated[float, Meta(ge=0, le=1)]
Direction = Literal["on", "off"]


class ShotAlert(Struct, frozen=True, gc=False):
    """A gunshot alert; a higher revision of the same ``alert_id`` replaces it (review, reclassification)."""

    alert_id: Id
    kind: Literal["single_gunshot", "multiple_gunshots", "probable_gunfire"]
    occurred_at_ms: Millis
    lat: Latitude
    lon: Longitude
    revision: Revision = 0
    status: Literal["unreviewed", "confirmed", "dismissed"] = "unreviewed"
    uncertainty_m: Metres = 25
    rounds: Whole | None = None
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
    year: Whole | None = None
    ori: Text | None = None
    oca: Text | None = None
    list_updated_at_ms: Millis | None = None
    lat: Latitude | None = None
    lon: Longitude | None = None
    caution: Text | None = None


class PlateRead(Struct, frozen=True, gc=False):
    """A plate as a camera at a ramp read it."""

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
    """What a dispatcher did with an incident."""

    action_id: Id
    incident_id: Id
    kind: Literal["acknowledge", "plate_verified", "listing_confirmed", "dismiss", "outcome"]
    by: Text
    at_ms: Millis
    reason: Text | None = None
    note: Text | None = None


Event = ShotAlert | VehicleHit | PlateRead | IncidentAction
EVENT_TYPES: Final[dict[str, type[Event]]] = {
    SHOTS: ShotAlert,
    HITS: VehicleHit,
    READS: PlateRead,
    ACTIONS: IncidentAction,
}


class LinkedShot(ShotAlert, frozen=True, kw_only=True, gc=False):
    """The shot of an incident: the alert as it stands, and when that content first reached its topic."""

    stamp_ms: Millis


class LinkedVehicle(VehicleHit, frozen=True, kw_only=True, gc=False):
    """The stolen vehicle of an incident: the hit as it stands, and when that content reached its topic."""

    stamp_ms: Millis


class ReviewedAction(IncidentAction, frozen=True, kw_only=True, gc=False):
    """An action folded into an incident's review, and when it reached its topic."""

    stamp_ms: Millis


class Sighting(Struct, frozen=True, gc=False):
    """A plate read at a ramp, as evidence for one shot: where, when, how far, and what it would have taken."""

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
        Meta(description="null: no speed would have done, in a read set aside at the very time of the shot"),
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
    """Something that counted in the score: a number, its unit, and by how much it moved the log-odds."""

    code: ReasonCode | WarningCode
    value: float
    unit: Literal["s", "m", "reads", "differences", "share", "h", "agrees"]
    weight: Annotated[float, Meta(description="added to the natural logarithm of the odds")]


class LinkedIncident(Struct, frozen=True, gc=False):
    """A pair of a shot and a stolen vehicle with reads attached: its whole present state, one revision a change."""

    incident_id: Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
    revision: Annotated[int, Meta(ge=1, le=_WHOLE)]
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
    frozen_at_ms: Annotated[int, Meta(description="milliseconds since the Unix epoch, UTC: then it changes no more")]
    caution: str


DeadReason = Literal["not_json", "schema", "plate", "placeholder", "unknown_ramp", "future", "late", "limit"]
Outcome = Literal["used", "duplicate", "superseded", "conflict", "forwarded", "late", "dead"]


class InvalidRecord(Exception):
    """A record that cannot be used: ``reason`` and, where one field is to blame, its name and what was wrong."""

    def __init__(self, reason: DeadReason, field: str, detail: str) -> None:
        super().__init__(f"{reason}: {field}: {detail}" if field else f"{reason}: {detail}")
        self.reason: DeadReason = reason
        self.field = field
        self.detail = detail

    @property
    def outcome(self) -> Outcome:
        """How the record is counted."""
        return "late" if self.reason == "late" else "dead"


class Record(Struct, frozen=True, gc=False):
    """One record of an input topic as it lies in the log; ``stamp_ms`` is when it reached its topic.

    ``forwarded_from``: where a record lay that was sent on from a wrong partition, as ``partition:offset``; else empty.
    """

    topic: str
    partition: int
    offset: int
    stamp_ms: int
    value: bytes | None
    forwarded_from: str = ""


_DECODERS: Final = {topic: msgspec.json.Decoder(kind) for topic, kind in EVENT_TYPES.items()}
_READ_DECODER: Final = msgspec.json.Decoder(PlateRead)
_DEEPEST: Final = 256
"""Levels of nesting. How deep a decoder gets depends on its caller's stack; what is refused must not."""
_LONGEST_DETAIL: Final = 200
_BRACKETS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{\]}]', re.DOTALL)
_ANYTHING: Final = msgspec.json.Decoder()
ENCODER: Final = msgspec.json.Encoder()


def decode(topic: str, value: bytes | None) -> Event:
    """Return the event in ``value``, a record's bytes on the input topic ``topic``.

    Raises `InvalidRecord` with reason ``not_json`` or ``schema``, never anything else, whatever the bytes are.
    """
    if not value:
        raise InvalidRecord("not_json", "", "the record is empty; send one JSON object")
    if len(value) > 2 * _DEEPEST:
        _refuse_deep(value)
    try:
        if not value.isascii():
            value.decode()  # msgspec does not look into the texts of fields it ignores
        event: Event = _DECODERS[topic].decode(value)
    except msgspec.ValidationError as error:
        raise _refusal(value, error) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRecord("not_json", "", f"not JSON in UTF-8: {error}") from None
    if type(event) is VehicleHit and event.status == "recovered" and event.cleared_at_ms is None:
        raise InvalidRecord("schema", "cleared_at_ms", "required when the status is recovered")
    return event


def decode_reads(values: Sequence[bytes | None]) -> list[PlateRead] | None:
    """Return the plate reads in records' bytes; None where one is unusable or unusual: `decode` looks at each then."""
    if not all(values):
        return None
    filled = cast(Sequence[bytes], values)
    if max(map(len, filled), default=0) > 2 * _DEEPEST or not b"".join(filled).isascii():
        return None
    try:
        return list(map(_READ_DECODER.decode, filled))
    except msgspec.DecodeError:
        return None


def _refusal(value: bytes, error: msgspec.ValidationError) -> InvalidRecord:
    """Tell a wrong field from bytes that are no JSON at all: the decoder stops at the first of either."""
    try:
        _ANYTHING.decode(value)
    except msgspec.ValidationError:
        pass  # JSON, with a number no float can hold
    except (msgspec.DecodeError, UnicodeDecodeError) as broken:
        return InvalidRecord("not_json", "", f"not JSON in UTF-8: {broken}")
    what, _, path = str(error).rpartition(" - at `$.")
    if not what:
        what, path = path, ""
    field = path.rstrip("`")
    if not field and "`" in what and "field" in what:
        field = what.split("`")[1]
    return InvalidRecord("schema", field, what if len(what) <= _LONGEST_DETAIL else what[:_LONGEST_DETAIL] + "…")


def _refuse_deep(value: bytes) -> None:
    """Refuse what is nested too deep, by the brackets outside texts; it may be no JSON at all."""
    if value.count(b"[") + value.count(b"{") <= _DEEPEST:
        return
    depth = deepest = 0
    for bracket in _BRACKETS.finditer(value):
        if bracket[0] in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif bracket[0] in b"]}":
            depth -= 1
    if deepest > _DEEPEST:
        if depth != 0:
            raise InvalidRecord("not_json", "", "not JSON: its brackets do not match")
        raise InvalidRecord("schema", "", f"nested more than {_DEEPEST} deep; send one flat JSON object")


def identity_of(event: Event) -> tuple[str, ...]:
    """Return what a revision of ``event`` has in common with it, apart from the plate key (JOIN.md, Identity)."""
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
    """Return when the event says it happened."""
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
    """Return the canonical JSON of an event's known fields (JOIN.md, The fact): what ties between contents go by."""
    fields: dict[str, Any] = msgspec.structs.asdict(event)
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
