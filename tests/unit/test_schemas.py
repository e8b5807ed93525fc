"""The contract in ``schemas/``: generated from the types, and consistent with admission."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema_rs
import msgspec
import pytest

from streams.core.codec import decode
from streams.core.events import DeadReason, InvalidRecord, LinkedIncident, Record, event_time_ms
from streams.core.incidents import incident_id
from streams.core.intake import Intake
from streams.core.plates import plate_key
from streams.core.rules import JoinRules
from streams.core.site import Ramp, Site
from streams.core.topics import EVENT_TYPES, INCIDENTS, OUTPUTS
from streams.resources.sites import load_site
from streams.schemas import DESCRIPTIONS, TOPIC_TYPES, as_text, file_name, main, schema_of
from tests.paths import ROOT

SCHEMAS = ROOT / "schemas"
EXAMPLES = SCHEMAS / "examples"
RAMP = Ramp(ramp_id="I-84-E-48-off", road="I-84", exit="48", direction="off", lat=41.765825, lon=-72.686744)
INTAKE = Intake(Site(name="example", time_zone="America/New_York", ramps={RAMP.ramp_id: RAMP}), JoinRules())
VALIDATORS = {topic: jsonschema_rs.Draft202012Validator(schema_of(topic)) for topic in TOPIC_TYPES}

BAD: list[dict[str, Any]] = json.loads((EXAMPLES / "bad.json").read_text(encoding="utf-8"))
BAD_INPUTS = [entry for entry in BAD if entry["topic"] in EVENT_TYPES]
BAD_OUTPUTS = [entry for entry in BAD if entry["topic"] in OUTPUTS]
GOOD = sorted(EXAMPLES.glob("*/good/*"))
GOOD_INPUTS = [path for path in GOOD if path.parts[-3] in EVENT_TYPES]


def path_of(entry: dict[str, Any]) -> Path:
    return EXAMPLES / entry["topic"] / "bad" / entry["file"]


def name_of(example: dict[str, Any] | Path) -> str:
    path = example if isinstance(example, Path) else path_of(example)
    return "/".join((path.parts[-3], path.name))


def admit(topic: str, value: bytes, stamp_ms: int) -> Any:
    return INTAKE.admit(Record(topic=topic, partition=0, offset=0, stamp_ms=stamp_ms, value=value))


def objects_in(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {schema["title"]: schema, **schema.get("$defs", {})}


def kinds_of(schema: dict[str, Any]) -> set[str]:
    kinds = schema.get("type", [])
    return {kinds} if isinstance(kinds, str) else set(kinds)


# The schemas


@pytest.mark.parametrize("topic", TOPIC_TYPES)
def test_the_committed_schema_matches_the_one_generated_from_the_types(topic):
    committed = (SCHEMAS / file_name(topic)).read_text(encoding="utf-8")
    assert committed == as_text(schema_of(topic)), f"schemas/{file_name(topic)} is not up to date: run `make schemas`"


def test_every_schema_file_belongs_to_a_topic_with_a_type():
    assert {path.name for path in SCHEMAS.glob("*.schema.json")} == {file_name(topic) for topic in TOPIC_TYPES}


def test_the_command_writes_every_schema_to_the_given_folder(tmp_path, capsys):
    main([str(tmp_path / "out")])
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == sorted(file_name(topic) for topic in TOPIC_TYPES)
    assert len(capsys.readouterr().out.splitlines()) == len(written)


@pytest.mark.parametrize("arguments", [[], ["one", "two"]])
def test_the_command_prints_its_usage_unless_given_one_folder(arguments):
    with pytest.raises(SystemExit, match="Name one folder"):
        main(arguments)


@pytest.mark.parametrize("topic", TOPIC_TYPES)
def test_a_schema_is_valid_with_an_id_titles_and_descriptions(topic):
    schema = schema_of(topic)
    assert jsonschema_rs.meta.is_valid(schema)
    assert schema["$id"] == f"urn:rampwatch:schema:{topic}:1"
    for name, found in objects_in(schema).items():
        assert found["title"] == name
        assert found["description"].endswith(".")
        assert "``" not in found["description"]


@pytest.mark.parametrize("topic", TOPIC_TYPES)
def test_a_schema_has_exactly_the_fields_of_its_type(topic):
    fields = set(schema_of(topic)["properties"])
    assert fields == set(TOPIC_TYPES[topic].__struct_fields__)


@pytest.mark.parametrize("topic", TOPIC_TYPES)
def test_every_number_has_its_unit_in_its_name_or_a_description(topic):
    for name, found in objects_in(schema_of(topic)).items():
        for field, what in found["properties"].items():
            if {"number", "integer"} & kinds_of(what):
                assert re.search(r"_(s|m|mps)$", field) or what.get("description"), f"{name}.{field}"


def test_every_description_belongs_to_an_existing_field():
    fields = {
        known
        for topic in TOPIC_TYPES
        for name, found in objects_in(schema_of(topic)).items()
        for field in found["properties"]
        for known in (field, f"{name}.{field}")
    }
    assert set(DESCRIPTIONS) <= fields


@pytest.mark.parametrize("topic", [topic for topic in OUTPUTS if topic in TOPIC_TYPES])
def test_every_field_of_an_output_is_required(topic):
    for name, found in objects_in(schema_of(topic)).items():
        assert found["required"] == list(found["properties"]), name


# Validators that are strict about types, as ajv is by default

TYPE_OF_KEYWORD = {
    **dict.fromkeys(("items", "minItems", "maxItems", "uniqueItems", "prefixItems", "contains"), "array"),
    **dict.fromkeys(("minLength", "maxLength", "pattern", "format"), "string"),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), "number"),
    **dict.fromkeys(("additionalProperties", "minProperties", "maxProperties", "patternProperties"), "object"),
}


def subschemas(schema: Any) -> Iterator[dict[str, Any]]:
    """A schema and all schemas in it, the branches of choices and conditions included."""
    if isinstance(schema, list):
        for one in schema:
            yield from subschemas(one)
    elif isinstance(schema, dict):
        yield schema
        for keyword, inner in schema.items():
            if keyword in ("properties", "$defs"):
                yield from subschemas(list(inner.values()))
            elif keyword not in ("const", "enum", "default"):
                yield from subschemas(inner)


def mismatches(schema: dict[str, Any]) -> list[str]:
    """The keywords that stand without their type beside them."""
    return [
        f"{keyword} in {json.dumps(found)}"
        for found in subschemas(schema)
        for keyword, kind in TYPE_OF_KEYWORD.items()
        if keyword in found and not ({kind} | ({"integer"} if kind == "number" else set())) & kinds_of(found)
    ]


@pytest.mark.parametrize("topic", TOPIC_TYPES)
def test_every_limit_has_its_type_beside_it(topic):
    assert mismatches(schema_of(topic)) == []


def test_a_limit_without_its_type_is_found_in_every_branch():
    lone = {"minItems": 1}
    for schema in (lone, {"anyOf": [lone]}, {"then": {"properties": {"a": lone}}}, {"$defs": {"a": {"items": lone}}}):
        assert "minItems" in "".join(mismatches(schema))
    assert mismatches({"type": ["array", "null"], "minItems": 1}) == []


# The good examples


@pytest.mark.parametrize("path", GOOD_INPUTS, ids=name_of)
def test_a_good_input_matches_its_schema_and_is_admitted(path):
    topic, value = path.parts[-3], path.read_bytes()
    VALIDATORS[topic].validate(json.loads(value))
    event = decode(topic, value)
    assert admit(topic, value, event_time_ms(event)).event == event


@pytest.mark.parametrize("path", sorted((EXAMPLES / INCIDENTS / "good").iterdir()), ids=name_of)
def test_a_good_incident_matches_its_schema_and_type_and_has_the_id_of_its_shot_and_hit(path):
    VALIDATORS[INCIDENTS].validate(json.loads(path.read_bytes()))
    incident = msgspec.json.decode(path.read_bytes(), type=LinkedIncident)
    key = plate_key(incident.vehicle.plate)
    assert incident.incident_id == incident_id(incident.shot.alert_id, incident.vehicle.hit_id, key)


@pytest.mark.parametrize("path", sorted((EXAMPLES / INCIDENTS / "good").iterdir()), ids=name_of)
def test_an_encoded_incident_matches_the_schema(path):
    incident = msgspec.json.decode(path.read_bytes(), type=LinkedIncident)
    written = json.loads(msgspec.json.encode(incident))
    VALIDATORS[INCIDENTS].validate(written)
    assert written == json.loads(path.read_bytes())


GOOD_OUTPUTS = [path for path in GOOD if path.parts[-3] in OUTPUTS]


@pytest.mark.parametrize("path", GOOD_OUTPUTS, ids=name_of)
def test_a_good_output_matches_its_schema_and_its_type_encodes_it_unchanged(path):
    topic, value = path.parts[-3], json.loads(path.read_bytes())
    VALIDATORS[topic].validate(value)
    written = msgspec.json.encode(msgspec.json.decode(path.read_bytes(), type=TOPIC_TYPES[topic]))
    assert json.loads(written) == value


def test_the_good_incidents_include_an_open_and_a_retracted_one():
    found = [json.loads(path.read_bytes()) for path in (EXAMPLES / INCIDENTS / "good").iterdir()]
    assert {incident["status"] for incident in found} == {"open", "retracted"}


def test_every_ramp_in_the_good_examples_is_on_the_hartford_site():
    ramps = load_site("hartford").ramps
    reads = [json.loads(path.read_bytes()) for path in (EXAMPLES / "ramp-plate-reads" / "good").iterdir()]
    assert {read["ramp_id"] for read in reads} <= set(ramps)


# The bad examples


@pytest.mark.parametrize("entry", BAD_INPUTS, ids=name_of)
def test_a_bad_input_is_rejected_with_the_stated_reason_and_field(entry):
    with pytest.raises(InvalidRecord) as raised:
        admit(entry["topic"], path_of(entry).read_bytes(), entry.get("stamp_ms", 0))
    assert (raised.value.reason, raised.value.field) == (entry["reason"], entry["field"])


@pytest.mark.parametrize("entry", [entry for entry in BAD_INPUTS if entry["reason"] != "not_json"], ids=name_of)
def test_schema_and_decoder_agree_on_a_bad_input(entry):
    accepts = VALIDATORS[entry["topic"]].is_valid(json.loads(path_of(entry).read_bytes()))
    assert accepts == (entry["reason"] != "schema" or entry.get("json_schema") == "accepts")


@pytest.mark.parametrize("entry", BAD_OUTPUTS, ids=name_of)
def test_a_bad_output_violates_the_schema_at_the_stated_field(entry):
    errors = list(VALIDATORS[entry["topic"]].iter_errors(json.loads(path_of(entry).read_bytes())))
    assert len(errors) == 1
    assert entry["field"] in errors[0].instance_path or f'"{entry["field"]}"' in errors[0].message


@pytest.mark.parametrize("entry", [entry for entry in BAD if "stamp_ms" in entry], ids=name_of)
def test_a_bad_example_has_a_stamp_only_if_its_reason_depends_on_time_or_site_and_it_decodes(entry):
    assert entry["reason"] in ("future", "late", "unknown_ramp")
    assert decode(entry["topic"], path_of(entry).read_bytes())


def test_every_bad_file_is_listed_and_every_listed_file_exists():
    assert sorted(map(path_of, BAD)) == sorted(EXAMPLES.glob("*/bad/*"))


def test_files_that_are_not_json_do_not_end_in_json():
    assert {path_of(entry).suffix for entry in BAD if entry["reason"] == "not_json"} == {".bin", ".txt"}
    assert {path_of(entry).suffix for entry in BAD if entry["reason"] != "not_json"} == {".json"}


@pytest.mark.parametrize("topic", TOPIC_TYPES)
def test_every_topic_has_good_and_bad_examples(topic):
    assert any(path.parts[-3] == topic for path in GOOD)
    assert any(entry["topic"] == topic for entry in BAD)


def test_every_reason_of_a_value_has_a_bad_example():
    """``limit`` needs state, and a record that is unreadable has no value."""
    assert {entry["reason"] for entry in BAD} == set(get_args(DeadReason)) - {"limit", "unreadable"}
