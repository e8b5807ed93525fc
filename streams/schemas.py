"""Writes the contract for everybody else: one JSON Schema (2020-12) a topic, from the types in `streams.core.events`.

``python -m streams.schemas OUT_FOLDER`` writes ``<topic>.schema.json`` for each topic. Inputs may carry unknown fields
and may leave out what has a default. Outputs are written whole: every field is there. What the types alone do not say
is added here, so that a producer in another language can check before sending.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from streams.core.counters.events import CAUTION as SPIKE_CAUTION
from streams.core.counters.events import SpikeAlert, SpikeCounter, Tally
from streams.core.events import ALERTS, CAUTION, COUNTERS, EVENT_TYPES, INCIDENTS, TALLIES, LinkedIncident
from streams.core.incidents import MAX_ACTIONS, MAX_READS
from streams.core.plates import MAX_LENGTH

Schema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
VERSION: Final = 1
"""Part of every ``$id``; grows when a producer or a subscriber would have to change."""

OUTPUT_TYPES: Final[dict[str, type[Struct]]] = {
    INCIDENTS: LinkedIncident,
    TALLIES: Tally,
    COUNTERS: SpikeCounter,
    ALERTS: SpikeAlert,
}
TOPIC_TYPES: Final[dict[str, type[Struct]]] = {**EVENT_TYPES, **OUTPUT_TYPES}

DESCRIPTIONS: Final = {
    "revision": "a higher one replaces a lower one of the same id",
    "lat": "degrees north, WGS 84",
    "lon": "degrees east, WGS 84",
    "rounds": "number of rounds, where the source counts them",
    "plate": "as received; upper-cased and without anything but A-Z and 0-9 it must have 1 to "
    f"{MAX_LENGTH} characters (plate-keys.json)",
    "region": "issuing state: US-CT, or CT; anything else counts as unknown",
    "confidence": "share, 0 to 1, that the camera gives its reading",
    "camera_id": "which camera, of those at the ramp",
    "ramp_id": "a ramp of the site file",
    "year": "model year, four digits",
    "ori": "the entering agency: whom to ask",
    "oca": "the agency's case number: what to ask about",
    "stolen_at_ms": "null: unknown, some hours before the report are assumed",
    "cleared_at_ms": "when the vehicle was recovered; required when status is recovered",
    "list_updated_at_ms": "how fresh the list was that the hit came from",
    "uncertainty_m": "radius in which the shot lies",
    "at_ms": "when the dispatcher did it",
    "by": "who did it: a name or number that the agency knows",
    "stamp_ms": "when this content first reached its topic, by the broker's clock",
    "VehicleHit.lat": "where it was stolen: degrees north, WGS 84",
    "VehicleHit.lon": "where it was stolen: degrees east, WGS 84",
    "VehicleHit.caution": "what whoever meets the vehicle should know",
    "PlateRead.direction": "off: leaving the highway; where the site file says otherwise, the site file counts",
    "Sighting.lat": "of the ramp: degrees north, WGS 84",
    "Sighting.lon": "of the ramp: degrees east, WGS 84",
    "Sighting.direction": "off: leaving the highway",
    "Sighting.distance_m": "from the shot to the ramp, along a great circle",
    "Sighting.required_speed_mps": "speed that the car would have needed between shot and ramp",
    "Sighting.match": "lookalike: differs from the listed plate in characters that cameras confuse",
    "LinkedIncident.incident_id": "first 32 hexadecimal digits of SHA-256 over the UTF-8 bytes of the compact JSON "
    "array [alert_id, hit_id, plate key]",
    "LinkedIncident.revision": "grows by one with each published change; the highest one is the incident",
    "LinkedIncident.status": "open while it has sightings; a retracted one may open again",
    "LinkedIncident.sightings": "reads that stand, by captured_at_ms, then read_id; with those set aside at most "
    f"{MAX_READS}",
    "LinkedIncident.set_aside": "reads that stood when their time was up and that later facts no longer support",
    "LinkedIncident.left_out_from_ms": f"when the first read beyond {MAX_READS} was captured; null: none was left out",
    "LinkedIncident.score": "share, 0 to 1: a lead's rank, not a probability of guilt",
    "LinkedIncident.zone_id": "zone of the site file where the shot fell; city: in none of them",
    "LinkedIncident.review": f"what dispatchers did, by at_ms, then action_id; the first {MAX_ACTIONS}",
    "LinkedIncident.frozen_at_ms": "nothing that reaches its topic later changes the incident",
    "LinkedIncident.caution": "show it to whoever acts on the incident",
    "Reason.value": "in the unit given",
    "Tally.event_id": "alert_id, hit_id or incident_id",
    "Tally.revision": "the event's; of one event the highest counts, then the greatest canonical JSON",
    "Tally.zone_id": "zone of the site file; city: in none of them, or nobody knows where",
    "Tally.at_ms": "when the shot was fired or the vehicle reported stolen; of an incident, when its shot was fired",
    "Tally.counts": "false: dismissed, cancelled or retracted",
    "SpikeCounter.zone_id": "zone of the site file; city: everything, also what lies in no zone",
    "SpikeCounter.as_of_ms": "events before it are counted",
    "SpikeCounter.by_status": "null for what is not reviewed: hits and incidents",
    "SpikeCounter.alarm": "null: none is up",
    "Periods.last_28d_vs_prior_28d": "the 28 local days ending today, against the 28 before those",
    "Periods.ytd_vs_last_year": "from 1 January, against 1 January to the same date last year",
    "Periods.last_28d_vs_last_year": "the 28 local days ending today, against those ending on the same date last year",
    "Period.from_ms": "the midnight that begins its first local day",
    "Period.to_ms": "the midnight that ends today",
    "Period.count": "how many there were",
    "Period.comparison_count": "how many there were then; null: not all of that time was counted",
    "Period.exposure_days": "days; today counts as far as it has come",
    "Period.comparison_days": "days, all of them whole",
    "Period.difference": "count less comparison_count",
    "Period.percent": "of comparison_count, from the counts as they are; null where that is 0: say the count is new",
    "Period.rate_ratio": "of counts a day; null where comparison_count is 0",
    "Period.rate_ratio_low": "of the exact 95 % interval",
    "Period.rate_ratio_high": "of the exact 95 % interval",
    "Period.p_value": "one-sided mid-p for an increase; null where nothing was counted at all",
    "Recent.h1": "in the last hour",
    "Recent.h24": "in the last 24 hours",
    "Recent.d7": "in the last 7 times 24 hours",
    "ByStatus.unreviewed": "shots that nobody has reviewed",
    "ByStatus.confirmed": "shots that were confirmed",
    "ByStatus.dismissed": "alerts that were no shots",
    "Alarm.rule": "cusum: Poisson CUSUM of likelihood ratios over local days",
    "Alarm.since_ms": "the midnight after the day of its first crossing",
    "Alarm.statistic": "logarithm of a likelihood ratio, at the first crossing",
    "Alarm.threshold": "that it crossed: chance crosses it as seldom as the operator asked",
    "SpikeAlert.spike_id": "first 32 hexadecimal digits of SHA-256 over the UTF-8 bytes of the compact JSON array "
    "[kind, zone_id, rule, first_crossing]",
    "SpikeAlert.revision": "grows by one with each published change; the highest one is the alert",
    "SpikeAlert.status": "withdrawn: what is known now gives no such alarm; ended: seven days without a crossing",
    "SpikeAlert.zone_id": "zone of the site file; city: everything",
    "SpikeAlert.rule": "cusum: Poisson CUSUM of likelihood ratios over local days",
    "SpikeAlert.first_crossing": "local date",
    "SpikeAlert.last_crossing": "local date",
    "SpikeAlert.statistic": "logarithm of a likelihood ratio, at the first crossing",
    "SpikeAlert.threshold": "that it crossed",
    "SpikeAlert.count": "how many there were in the run of days that crossed first",
    "SpikeAlert.expected": "how many were expected in those days",
    "SpikeAlert.sentence": "what happened, and how seldom chance does it",
    "SpikeAlert.caution": "show it to whoever acts on the alert",
}
"""What names and types leave open: by field of any type, or by ``Type.field`` where the type matters."""

_RECOVERED_IS_CLEARED: Final[Schema] = {
    "if": {"properties": {"status": {"const": "recovered"}}, "required": ["status"]},
    "then": {"properties": {"cleared_at_ms": {"type": "integer"}}, "required": ["cleared_at_ms"]},
}
_OPEN_WITH_SIGHTINGS: Final[Schema] = {
    "if": {"properties": {"status": {"const": "open"}}},
    "then": {"properties": {"sightings": {"minItems": 1}}},
    "else": {"properties": {"sightings": {"maxItems": 0}}},
}
_CONDITIONS: Final[dict[str, Schema]] = {
    "VehicleHit": _RECOVERED_IS_CLEARED,
    "LinkedVehicle": _RECOVERED_IS_CLEARED,
    "LinkedIncident": _OPEN_WITH_SIGHTINGS,
}
_LIMITS: Final[dict[str, Schema]] = {
    "LinkedIncident.sightings": {"maxItems": MAX_READS},
    "LinkedIncident.set_aside": {"maxItems": MAX_READS},
    "LinkedIncident.review": {"maxItems": MAX_ACTIONS},
    "LinkedIncident.caution": {"const": CAUTION},
    "SpikeAlert.caution": {"const": SPIKE_CAUTION},
}


def file_name(topic: str) -> str:
    """Return what a topic's schema is called in ``schemas/``."""
    return f"{topic}.schema.json"


def schema_of(topic: str) -> Schema:
    """Return the JSON Schema of the values on ``topic``, one of `TOPIC_TYPES`."""
    kind = TOPIC_TYPES[topic]
    _, components = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    for name, component in components.items():
        _complete(name, component, whole=topic in OUTPUT_TYPES)
    root = components.pop(kind.__name__)
    schema = {"$schema": DIALECT, "$id": f"urn:rampwatch:schema:{topic}:{VERSION}", **root}
    return {**schema, "$defs": components} if components else schema


def _complete(name: str, component: Schema, *, whole: bool) -> None:
    """Add to a type's schema what the type does not say; ``whole``: it is written with every field."""
    component["description"] = component["description"].replace("``", "`")
    fields: Schema = component["properties"]
    for field, what in fields.items():
        fields[field] = _field(name, field, what, whole=whole)
    if whole:
        component["required"] = list(fields)
    component.update(_CONDITIONS.get(name, {}))


def _field(name: str, field: str, what: Schema, *, whole: bool) -> Schema:
    flat = _flat(what)
    if whole:
        flat.pop("default", None)
    parts = [_description(name, field), flat.pop("description", "")]
    described = {"description": "; ".join(filter(None, parts))} if any(parts) else {}
    return {**described, **flat, **_LIMITS.get(f"{name}.{field}", {})}


def _description(name: str, field: str) -> str:
    # A linked shot, vehicle or action has the fields of the event it holds.
    event = {"LinkedVehicle": "VehicleHit"}.get(name, name)
    return DESCRIPTIONS.get(f"{event}.{field}") or DESCRIPTIONS.get(field, "")


def _flat(what: Schema) -> Schema:
    """Return a schema in which "this or null" is one schema rather than a choice of two, which is easier to read."""
    choices = what.get("anyOf", [])
    if len(choices) != 2 or choices[1] != {"type": "null"} or "$ref" in choices[0]:
        return dict(what)
    one, rest = choices[0], {key: value for key, value in what.items() if key != "anyOf"}
    if "enum" in one:
        return {"enum": [*one["enum"], None], **rest}
    return {**one, "type": [one["type"], "null"], **rest}


def write_schemas(folder: Path) -> list[Path]:
    """Write every topic's schema into ``folder``, made if it is not there, and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for topic in TOPIC_TYPES:
        path = folder / file_name(topic)
        path.write_text(as_text(schema_of(topic)), encoding="utf-8")
        written.append(path)
    return written


def as_text(schema: Schema) -> str:
    """Return a schema as it lies in its file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Write the schemas into the folder named by the only argument."""
    if len(arguments) != 1:
        raise SystemExit("Name one folder to write the schemas into: python -m streams.schemas OUT_FOLDER")
    for path in write_schemas(Path(arguments[0])):
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
