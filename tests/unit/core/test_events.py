"""The codec: what decodes, what is rejected and why, and the canonical form that breaks ties."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.core.codec import decode
from streams.core.events import (
    Event,
    IncidentAction,
    InvalidRecord,
    PlateRead,
    ShotAlert,
    VehicleHit,
    canonical,
    event_time_ms,
    identity_of,
)
from streams.core.topics import ACTIONS, HITS, INPUTS, READS, SHOTS

# The machine may be busy with other tests, so the duration of one example means nothing.
no_deadline = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
WHOLE = 2**53
SHOT = {"alert_id": "EXAMPLE-SHOT", "kind": "single_gunshot", "occurred_at_ms": 1_000, "lat": 41.5, "lon": -72.5}
HIT = {"hit_id": "EXAMPLE-HIT", "plate": "TEST 123", "reported_at_ms": 2_000}
READ = {
    "read_id": "EXAMPLE-READ",
    "plate": "TEST 123",
    "captured_at_ms": 3_000,
    "ramp_id": "ramp",
    "camera_id": "camera",
    "confidence": 0.9,
}
ACTION = {
    "action_id": "EXAMPLE-ACTION",
    "incident_id": "0" * 32,
    "kind": "acknowledge",
    "by": "someone",
    "at_ms": 4_000,
}
MINIMAL = {SHOTS: SHOT, HITS: HIT, READS: READ, ACTIONS: ACTION}

texts = st.text(max_size=500)
ids = st.text(min_size=1, max_size=128)
whole_numbers = st.integers(-WHOLE, WHOLE)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)

shots = st.fixed_dictionaries(
    {
        "alert_id": ids,
        "kind": st.sampled_from(["single_gunshot", "multiple_gunshots", "probable_gunfire"]),
        "occurred_at_ms": whole_numbers,
        "lat": st.floats(-90, 90) | st.integers(-90, 90),
        "lon": st.floats(-180, 180) | st.integers(-180, 180),
    },
    optional={
        "revision": st.integers(0, WHOLE),
        "status": st.sampled_from(["unreviewed", "confirmed", "dismissed"]),
        "uncertainty_m": st.integers(0, WHOLE),
        "rounds": st.none() | whole_numbers,
        "source": st.none() | texts,
    },
)
reads = st.fixed_dictionaries(
    {
        "read_id": ids,
        "plate": texts,
        "captured_at_ms": whole_numbers,
        "ramp_id": ids,
        "camera_id": ids,
        "confidence": st.floats(0, 1) | st.integers(0, 1),
    },
    optional={
        "region": st.none() | texts,
        "direction": st.sampled_from(["on", "off", None]),
        "make": st.none() | texts,
        "colour": st.none() | texts,
    },
)
any_event = st.tuples(st.just(SHOTS), shots) | st.tuples(st.just(READS), reads)


def as_bytes(value: object) -> bytes:
    return json.dumps(value).encode()


def rejection_of(topic: str, value: bytes | None) -> InvalidRecord:
    with pytest.raises(InvalidRecord) as rejection:
        decode(topic, value)
    return rejection.value


def decoded_or_rejected(topic: str, value: bytes) -> Event | InvalidRecord:
    try:
        return decode(topic, value)
    except InvalidRecord as rejection:
        return rejection


# What decodes


def test_omitted_fields_get_their_defaults():
    shot = decode(SHOTS, as_bytes(SHOT))
    assert isinstance(shot, ShotAlert)
    assert (shot.revision, shot.status, shot.uncertainty_m, shot.rounds) == (0, "unreviewed", 25, None)
    hit = decode(HITS, as_bytes(HIT))
    assert isinstance(hit, VehicleHit)
    assert (hit.revision, hit.status, hit.stolen_at_ms) == (0, "active", None)


@pytest.mark.parametrize("topic", INPUTS)
def test_unknown_fields_are_ignored(topic):
    more = {**MINIMAL[topic], "vendor": {"number": 10**400, "list": [[[]]]}}
    assert decode(topic, as_bytes(more)) == decode(topic, as_bytes(MINIMAL[topic]))


@no_deadline
@given(any_event)
def test_any_valid_record_decodes_to_the_fields_sent(topic_and_fields):
    topic, fields = topic_and_fields
    event = decode(topic, as_bytes(fields))
    assert {name: getattr(event, name) for name in fields} == fields


def test_text_length_is_measured_in_characters_not_bytes():
    assert decode(SHOTS, as_bytes({**SHOT, "alert_id": "😀" * 128}))
    assert rejection_of(SHOTS, as_bytes({**SHOT, "alert_id": "😀" * 129})).field == "alert_id"


# What is rejected


@pytest.mark.parametrize("value", [None, b""])
def test_an_empty_record_is_not_json(value):
    assert rejection_of(READS, value).reason == "not_json"


@pytest.mark.parametrize("topic", INPUTS)
def test_a_missing_or_null_required_field_is_named(topic):
    for field in MINIMAL[topic]:
        without = {name: value for name, value in MINIMAL[topic].items() if name != field}
        for fields in (without, {**without, field: None}):
            rejection = rejection_of(topic, as_bytes(fields))
            assert (rejection.reason, rejection.field) == ("schema", field)


@pytest.mark.parametrize("number", [b"1.0", b"1e0", b"true", b'"1"', b"9007199254740993", b"1" * 400])
def test_integer_fields_accept_only_json_integers_in_range(number):
    value = as_bytes({**SHOT, "revision": "HERE"}).replace(b'"HERE"', number)
    rejection = rejection_of(SHOTS, value)
    assert (rejection.reason, rejection.field) == ("schema", "revision")


def test_malformed_json_is_reported_as_not_json_even_after_an_invalid_field():
    assert rejection_of(SHOTS, b'{"alert_id": 1, "kind": nonsense}').reason == "not_json"
    assert rejection_of(SHOTS, b'{"alert_id": 1, "kind": "caf\xe9"}').reason == "not_json"
    assert rejection_of(SHOTS, b'{"alert_id": 1, "kind": "k"').reason == "not_json"


def test_a_number_too_large_for_a_float_is_a_schema_error():
    rejection = rejection_of(SHOTS, as_bytes({**SHOT, "lat": "HERE"}).replace(b'"HERE"', b"1e400"))
    assert (rejection.reason, rejection.field) == ("schema", "lat")


def test_a_recovered_hit_requires_the_time_it_was_cleared():
    rejection = rejection_of(HITS, as_bytes({**HIT, "status": "recovered"}))
    assert (rejection.reason, rejection.field) == ("schema", "cleared_at_ms")
    assert decode(HITS, as_bytes({**HIT, "status": "recovered", "cleared_at_ms": 5}))


@pytest.mark.parametrize("opening", [b"[", b'{"alert_id":', b'{"more":'])
def test_excessive_nesting_is_rejected(opening):
    closing = {b"[": b"]"}.get(opening, b"}")
    assert rejection_of(SHOTS, opening * 100_000 + b"1" + closing * 100_000).reason == "schema"
    assert rejection_of(SHOTS, opening * 100_000).reason == "not_json"


def test_a_rejected_record_counts_as_dead_or_if_late_as_late():
    assert InvalidRecord("schema", "lat", "wrong").outcome == "dead"
    assert InvalidRecord("late", "captured_at_ms", "too old").outcome == "late"


def test_the_error_message_has_the_reason_the_field_if_any_and_the_detail():
    assert str(InvalidRecord("schema", "lat", "wrong")) == "schema: lat: wrong"
    assert str(InvalidRecord("not_json", "", "empty")) == "not_json: empty"


@no_deadline
@given(st.sampled_from(INPUTS), st.binary(max_size=200))
def test_arbitrary_bytes_raise_only_invalid_record(topic, value):
    rejection = rejection_of(topic, value)
    assert rejection.reason in ("not_json", "schema")


@no_deadline
@given(st.sampled_from(INPUTS), st.data())
def test_a_damaged_record_raises_only_invalid_record(topic, data):
    value = bytearray(as_bytes(MINIMAL[topic]))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(value) - 1))
        value[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    result = decoded_or_rejected(topic, bytes(value))
    if isinstance(result, InvalidRecord):
        assert result.reason in ("not_json", "schema")
    else:
        assert json.loads(canonical(result))


@no_deadline
@given(st.sampled_from(INPUTS), st.data(), json_values)
def test_arbitrary_json_in_a_field_raises_only_invalid_record_naming_the_field(topic, data, value):
    field = data.draw(st.sampled_from(sorted(MINIMAL[topic])))
    result = decoded_or_rejected(topic, as_bytes({**MINIMAL[topic], field: value}))
    if isinstance(result, InvalidRecord):
        assert (result.reason, result.field) == ("schema", field)
    else:
        assert getattr(result, field) == value


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        (b"\xef\xbb\xbf{}", "begins with a byte order mark; send UTF-8 without one"),
        ("{}".encode("utf-16"), "is in UTF-16; send UTF-8"),
        (b'{"read_id":"\\ud83d"}', "Input data was truncated, or ends in half of a surrogate pair"),
        (b"{'a':1}", "object keys must be strings"),
    ],
)
def test_what_is_not_json_is_named_by_its_cause(value, detail):
    with pytest.raises(InvalidRecord, match=detail) as rejected:
        decode(READS, value)
    assert rejected.value.reason == "not_json"


# The canonical form (JOIN.md, The fact)


def test_the_canonical_form_has_sorted_fields_with_defaults_and_no_whitespace():
    sent = '{"lon": -72, "kind": "single_gunshot", "alert_id": "EXÄMPLE", "more": 1, "occurred_at_ms": 7, "lat": 41}'
    assert (
        canonical(decode(SHOTS, sent.encode()))
        == (
            '{"alert_id":"EXÄMPLE","kind":"single_gunshot","lat":41.0,"lon":-72.0,"occurred_at_ms":7,"revision":0,'
            '"rounds":null,"source":null,"status":"unreviewed","uncertainty_m":25}'
        ).encode()
    )


def test_the_canonical_form_keeps_the_plate_as_received():
    assert b'"plate":"test-123"' in canonical(decode(READS, as_bytes({**READ, "plate": "test-123"})))


@no_deadline
@given(any_event, st.randoms())
def test_the_canonical_form_ignores_order_whitespace_escapes_and_unknown_fields(topic_and_fields, random):
    topic, fields = topic_and_fields
    shuffled = [*fields.items(), ("unknown", [1])]
    random.shuffle(shuffled)
    one = json.dumps(fields, ensure_ascii=True).encode()
    other = json.dumps(dict(shuffled), ensure_ascii=False, indent=1).encode()
    assert canonical(decode(topic, one)) == canonical(decode(topic, other))


@no_deadline
@given(any_event)
def test_the_canonical_form_decodes_to_the_same_event_and_is_idempotent(topic_and_fields):
    topic, fields = topic_and_fields
    event = decode(topic, as_bytes(fields))
    assert decode(topic, canonical(event)) == event
    assert canonical(decode(topic, canonical(event))) == canonical(event)


@no_deadline
@given(any_event)
def test_an_explicit_default_does_not_change_the_canonical_form(topic_and_fields):
    topic, fields = topic_and_fields
    event = decode(topic, as_bytes(fields))
    spelled_out = {name: getattr(event, name) for name in event.__struct_fields__}
    assert canonical(decode(topic, as_bytes(spelled_out))) == canonical(event)


# Identity, time and type


def test_revisions_share_their_identity():
    shot = decode(SHOTS, as_bytes(SHOT))
    assert identity_of(decode(SHOTS, as_bytes({**SHOT, "revision": 3, "occurred_at_ms": 9}))) == identity_of(shot)
    hit = decode(HITS, as_bytes(HIT))
    assert identity_of(decode(HITS, as_bytes({**HIT, "revision": 3, "status": "cancelled"}))) == identity_of(hit)


def test_reads_with_the_same_id_and_different_times_are_distinct():
    read = decode(READS, as_bytes(READ))
    assert identity_of(decode(READS, as_bytes({**READ, "captured_at_ms": 3_001}))) != identity_of(read)
    assert identity_of(decode(READS, as_bytes({**READ, "confidence": 0.1}))) == identity_of(read)


def test_actions_with_the_same_id_on_two_incidents_are_distinct():
    action = decode(ACTIONS, as_bytes(ACTION))
    assert identity_of(decode(ACTIONS, as_bytes({**ACTION, "incident_id": "1" * 32}))) != identity_of(action)


def test_event_time_is_when_the_event_happened_or_was_reported():
    times = {topic: event_time_ms(decode(topic, as_bytes(MINIMAL[topic]))) for topic in INPUTS}
    assert times == {SHOTS: 1_000, HITS: 2_000, READS: 3_000, ACTIONS: 4_000}


def test_each_topic_decodes_to_its_own_type():
    types = {topic: type(decode(topic, as_bytes(MINIMAL[topic]))) for topic in INPUTS}
    assert types == {SHOTS: ShotAlert, HITS: VehicleHit, READS: PlateRead, ACTIONS: IncidentAction}
