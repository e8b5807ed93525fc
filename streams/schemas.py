"""Writes the JSON Schemas (2020-12): one for each topic, from the types in the table of topics.

``python -m streams.schemas OUT_FOLDER`` writes ``<topic>.schema.json`` for each topic. Input values
may have unknown fields and may leave out fields with defaults. Output values have every field.
Rules that the types cannot express are added here, so that a producer in another language can
validate before sending.
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
from streams.core.events import CAUTION
from streams.core.incidents import MAX_ACTIONS, MAX_READS
from streams.core.plates import MAX_LENGTH
from streams.core.topics import OUTPUTS, TOPICS

Schema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
VERSION: Final = 1
"""Part of every ``$id``; grows when a producer or a subscriber has to change something."""

TOPIC_TYPES: Final[dict[str, type[Struct]]] = {topic.name: topic.type for topic in TOPICS if topic.type is not None}
"""The type of each topic's values; dead letters hold other topics' bytes and have none."""

DESCRIPTIONS: Final = {
    "revision": "a higher revision replaces lower ones with the same id",
    "lat": "degrees north, WGS 84",
    "lon": "degrees east, WGS 84",
    "rounds": "number of rounds, if the source counts them",
    "plate": "as received; in upper case and with only A-Z and 0-9 kept, it must have 1 to "
    f"{MAX_LENGTH} characters (plate-keys.json)",
    "region": "issuing state, US-CT or CT; anything else counts as unknown",
    "confidence": "the camera's confidence in its reading, 0 to 1",
    "camera_id": "the camera at the ramp",
    "ramp_id": "a ramp of the site file",
    "year": "model year, four digits",
    "ori": "the entering agency, which confirms the hit",
    "oca": "the agency's case number",
    "stolen_at_ms": "null: unknown; some hours before the report are assumed",
    "cleared_at_ms": "when the vehicle was recovered; required when status is recovered",
    "list_updated_at_ms": "when the list that the hit came from was last updated",
    "uncertainty_m": "radius around the place that contains the shot",
    "at_ms": "when the dispatcher acted",
    "by": "who acted: a name or number known to the agency",
    "stamp_ms": "when this content first reached its topic, by the broker's clock",
    "LinkedVehicle.stamp_ms": "when this content reached its topic, by the broker's clock: the first time that counts "
    "for the incident",
    "ReviewedAction.stamp_ms": "when this content reached its topic, by the broker's clock: the first time from the "
    "shot's first stamp to frozen_at_ms",
    "VehicleHit.lat": "place of the theft: degrees north, WGS 84",
    "VehicleHit.lon": "place of the theft: degrees east, WGS 84",
    "VehicleHit.caution": "what anyone who meets the vehicle should know",
    "PlateRead.direction": "off: leaving the highway; the site file takes precedence",
    "Sighting.lat": "of the ramp: degrees north, WGS 84",
    "Sighting.lon": "of the ramp: degrees east, WGS 84",
    "Sighting.direction": "off: leaving the highway",
    "Sighting.distance_m": "from the shot to the ramp, along a great circle",
    "Sighting.required_speed_mps": "average speed needed between the shot and the ramp",
    "Sighting.match": "lookalike: differs from the listed plate only in characters that cameras confuse",
    "LinkedIncident.incident_id": "first 32 hexadecimal digits of SHA-256 over the UTF-8 bytes of the compact JSON "
    "array [alert_id, hit_id, plate key]",
    "LinkedIncident.revision": "grows by one with each published change; the highest one is current",
    "LinkedIncident.status": "open while it has sightings; a retracted one may open again",
    "LinkedIncident.sightings": "supported reads, by captured_at_ms, then read_id; together with set_aside at "
    f"most {MAX_READS}",
    "LinkedIncident.set_aside": "reads that were evidence at their deadline and that later facts do not support",
    "LinkedIncident.left_out_from_ms": f"when the first read beyond {MAX_READS} was captured; null: none left out",
    "LinkedIncident.score": "0 to 1: ranks leads; not a probability of guilt",
    "LinkedIncident.zone_id": "first zone of the site file that covers the shot, its border included; city: none does",
    "LinkedIncident.review": f"dispatchers' actions, by at_ms, then action_id; the first {MAX_ACTIONS}",
    "LinkedIncident.frozen_at_ms": "records that reach their topic later do not change the incident",
    "LinkedIncident.caution": "show it to anyone who acts on the incident",
    "Reason.value": "in the unit given",
    "Tally.event_id": "alert_id, hit_id or incident_id",
    "Tally.revision": "the event's revision; of one event the highest counts, then as JOIN.md decides",
    "Tally.zone_id": "first zone of the site file that covers the place, its border included; city: none does, or the "
    "place is unknown",
    "Tally.at_ms": "when the shot was fired, or the vehicle reported stolen; for an incident, its shot's time",
    "Tally.counts": "false: dismissed, cancelled or retracted",
    "Tally.content_digest": "first 32 hexadecimal digits of SHA-256 over the canonical JSON of the shot or hit without "
    "its plate; empty for an incident, and in tallies that earlier versions wrote",
    "SpikeCounter.zone_id": "zone of the site file; city: everything, including events in no zone",
    "SpikeCounter.as_of_ms": "events before it are counted",
    "SpikeCounter.by_status": "null for hits and incidents, which are not reviewed",
    "SpikeCounter.alarm": "null: no alarm is up",
    "Periods.last_28d_vs_prior_28d": "the 28 local days that end today, compared with the 28 before them",
    "Periods.ytd_vs_last_year": "from 1 January to today, compared with 1 January to the same date last year",
    "Periods.last_28d_vs_last_year": "the 28 local days that end today, compared with those that end a year earlier",
    "Period.from_ms": "midnight at the start of the first local day",
    "Period.to_ms": "midnight at the end of today",
    "Period.count": "number of events",
    "Period.comparison_count": "number of events in the comparison period; null: not all of it was counted",
    "Period.exposure_days": "days; today counts for the part that has elapsed",
    "Period.comparison_days": "whole days",
    "Period.difference": "count minus comparison_count",
    "Period.percent": "percent of comparison_count, from raw counts; null if that is 0: show the count as new",
    "Period.rate_ratio": "ratio of daily rates; null if comparison_count is 0",
    "Period.rate_ratio_low": "bound of the exact 95 % interval",
    "Period.rate_ratio_high": "bound of the exact 95 % interval",
    "Period.p_value": "one-sided mid-p for an increase; null if both counts are 0",
    "Recent.h1": "events in the last hour",
    "Recent.h24": "events in the last 24 hours",
    "Recent.d7": "events in the last 7 times 24 hours",
    "ByStatus.unreviewed": "shots not reviewed yet",
    "ByStatus.confirmed": "confirmed shots",
    "ByStatus.dismissed": "alerts dismissed as not gunfire",
    "Alarm.rule": "cusum: Poisson CUSUM of likelihood ratios over local days",
    "Alarm.since_ms": "midnight at the end of the day of the first crossing",
    "Alarm.statistic": "the CUSUM at the first crossing: a logarithm of a likelihood ratio",
    "Alarm.threshold": "the threshold it crossed, measured for the false alarms a year that the operator accepts",
    "SpikeAlert.spike_id": "first 32 hexadecimal digits of SHA-256 over the UTF-8 bytes of the compact JSON array "
    "[kind, zone_id, rule, first_crossing]",
    "SpikeAlert.revision": "grows by one with each published change; the highest one is current",
    "SpikeAlert.status": "withdrawn: the present data give no such alarm; ended: seven days without a crossing",
    "SpikeAlert.zone_id": "zone of the site file; city: everything",
    "SpikeAlert.rule": "cusum: Poisson CUSUM of likelihood ratios over local days",
    "SpikeAlert.first_crossing": "local date",
    "SpikeAlert.last_crossing": "local date",
    "SpikeAlert.statistic": "the CUSUM at the first crossing: a logarithm of a likelihood ratio",
    "SpikeAlert.threshold": "the threshold it crossed",
    "SpikeAlert.count": "number of events in the run of days up to the first crossing",
    "SpikeAlert.expected": "number of events expected in those days",
    "SpikeAlert.sentence": "what happened, and how seldom chance does that",
    "SpikeAlert.caution": "show it to anyone who acts on the alert",
}
"""Descriptions of fields: by name, or by ``Type.field`` where the type matters."""

_RECOVERED_IS_CLEARED: Final[Schema] = {
    "if": {"properties": {"status": {"const": "recovered"}}, "required": ["status"]},
    "then": {"properties": {"cleared_at_ms": {"type": "integer"}}, "required": ["cleared_at_ms"]},
}
_OPEN_WITH_SIGHTINGS: Final[Schema] = {
    "if": {"properties": {"status": {"const": "open"}}},
    "then": {"properties": {"sightings": {"type": "array", "minItems": 1}}},
    "else": {"properties": {"sightings": {"type": "array", "maxItems": 0}}},
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
    """Return the name of a topic's schema file in ``schemas/``."""
    return f"{topic}.schema.json"


def schema_of(topic: str) -> Schema:
    """Return the JSON Schema of the values on ``topic``, one of `TOPIC_TYPES`."""
    kind = TOPIC_TYPES[topic]
    _, components = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    for name, component in components.items():
        _complete(name, component, whole=topic in OUTPUTS)
    root = components.pop(kind.__name__)
    schema = {"$schema": DIALECT, "$id": f"urn:rampwatch:schema:{topic}:{VERSION}", **root}
    return {**schema, "$defs": components} if components else schema


def _complete(name: str, component: Schema, *, whole: bool) -> None:
    """Add to a type's schema what the type cannot express; ``whole``: values have every field."""
    component["description"] = component["description"].replace("``", "`")
    fields: Schema = component["properties"]
    for field, schema in fields.items():
        fields[field] = _field(name, field, schema, whole=whole)
    if whole:
        component["required"] = list(fields)
    component.update(_CONDITIONS.get(name, {}))


def _field(name: str, field: str, schema: Schema, *, whole: bool) -> Schema:
    flat = _flat(schema)
    if whole:
        flat.pop("default", None)
    parts = [_description(name, field), flat.pop("description", "")]
    described = {"description": "; ".join(filter(None, parts))} if any(parts) else {}
    return {**described, **flat, **_LIMITS.get(f"{name}.{field}", {})}


def _description(name: str, field: str) -> str:
    # A linked shot, vehicle or action has the fields of its event.
    event = {"LinkedVehicle": "VehicleHit"}.get(name, name)
    for key in (f"{name}.{field}", f"{event}.{field}", field):
        if key in DESCRIPTIONS:
            return DESCRIPTIONS[key]
    return ""


def _flat(schema: Schema) -> Schema:
    """Return a schema in which "this or null" is one type list instead of a choice."""
    choices = schema.get("anyOf", [])
    if len(choices) != 2 or choices[1] != {"type": "null"} or "$ref" in choices[0]:
        return dict(schema)
    one, rest = choices[0], {key: value for key, value in schema.items() if key != "anyOf"}
    if "enum" in one:
        return {"enum": [*one["enum"], None], **rest}
    return {**one, "type": [one["type"], "null"], **rest}


def write_schemas(folder: Path) -> list[Path]:
    """Write every topic's schema into ``folder``, created if necessary; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for topic in TOPIC_TYPES:
        path = folder / file_name(topic)
        path.write_text(as_text(schema_of(topic)), encoding="utf-8")
        written.append(path)
    return written


def as_text(schema: Schema) -> str:
    """Return a schema as the text of its file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Write the schemas into the folder named by the only argument."""
    if len(arguments) != 1:
        raise SystemExit("Name one folder to write the schemas into: python -m streams.schemas OUT_FOLDER")
    for path in write_schemas(Path(arguments[0])):
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
