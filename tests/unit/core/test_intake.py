"""Intake: the order of rejection reasons and the limits of what is admitted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streams.core.events import InvalidRecord, Record
from streams.core.intake import Admitted, Intake
from streams.core.rules import JoinRules
from streams.core.site import Ramp, Site
from streams.core.topics import ACTIONS, HITS, READS, SHOTS

AT_MS = 1_780_012_800_000
RULES = JoinRules()
RAMP = Ramp(ramp_id="ramp-1", road="Example Road", exit="1", direction="off", lat=41.7, lon=-72.7)
SITE = Site(name="example", time_zone="America/New_York", ramps={"ramp-1": RAMP})
SHOT = {"alert_id": "EXAMPLE-SHOT", "kind": "single_gunshot", "occurred_at_ms": AT_MS, "lat": 41.7, "lon": -72.7}
HIT = {"hit_id": "EXAMPLE-HIT", "plate": "TEST 123", "reported_at_ms": AT_MS}
READ = {
    "read_id": "EXAMPLE-READ",
    "plate": "TEST 123",
    "captured_at_ms": AT_MS,
    "ramp_id": "ramp-1",
    "camera_id": "camera-1",
    "confidence": 0.9,
}
ACTION = {"action_id": "EXAMPLE-ACTION", "incident_id": "0" * 32, "kind": "dismiss", "by": "someone", "at_ms": AT_MS}


def admit(topic: str, fields: dict[str, Any], stamp_ms: int = AT_MS, rules: JoinRules = RULES) -> Admitted:
    value = json.dumps(fields).encode()
    return Intake(SITE, rules).admit(Record(topic=topic, partition=3, offset=17, stamp_ms=stamp_ms, value=value))


def rejection(topic: str, fields: dict[str, Any], stamp_ms: int = AT_MS, rules: JoinRules = RULES) -> tuple[str, str]:
    with pytest.raises(InvalidRecord) as rejected:
        admit(topic, fields, stamp_ms, rules)
    return rejected.value.reason, rejected.value.field


def test_an_admitted_record_keeps_its_partition_offset_and_stamp():
    admitted = admit(READS, READ, AT_MS + 5)
    assert (admitted.topic, admitted.record.partition, admitted.record.offset, admitted.stamp_ms) == (
        READS,
        3,
        17,
        AT_MS + 5,
    )


@pytest.mark.parametrize(("topic", "fields"), [(HITS, HIT), (READS, READ)])
def test_hits_and_reads_are_admitted_with_their_plate_key(topic, fields):
    assert admit(topic, fields).plate_key == "TE5T123"


@pytest.mark.parametrize(("topic", "fields"), [(SHOTS, SHOT), (ACTIONS, ACTION)])
def test_shots_and_actions_have_no_plate_key(topic, fields):
    assert admit(topic, fields).plate_key == ""


def test_a_record_with_several_faults_is_rejected_for_the_first_matching_reason():
    fields: dict[str, Any] = {**READ, "plate": "", "ramp_id": "nowhere", "captured_at_ms": AT_MS + 10**9}
    wrong = {**fields, "confidence": 2}
    assert rejection(READS, wrong) == ("schema", "confidence")
    assert rejection(READS, fields) == ("plate", "plate")
    assert rejection(READS, {**fields, "plate": "UNKNOWN"}) == ("placeholder", "plate")
    assert rejection(READS, {**fields, "plate": "TEST 123"}) == ("unknown_ramp", "ramp_id")
    assert rejection(READS, {**fields, "plate": "TEST 123", "ramp_id": "ramp-1"}) == ("future", "captured_at_ms")


@pytest.mark.parametrize(
    ("topic", "fields", "time"),
    [(SHOTS, SHOT, "occurred_at_ms"), (HITS, HIT, "reported_at_ms"), (READS, READ, "captured_at_ms")],
)
def test_a_clock_may_be_ahead_by_at_most_the_allowed_skew(topic, fields, time):
    skew_ms = RULES.max_future_skew_ms
    assert admit(topic, fields, AT_MS - skew_ms)
    assert rejection(topic, fields, AT_MS - skew_ms - 1) == ("future", time)


def test_a_read_is_admitted_up_to_its_deadline_and_late_after_it():
    deadline_ms = AT_MS + RULES.read_retention_ms
    assert admit(READS, READ, deadline_ms)
    assert rejection(READS, READ, deadline_ms + 1) == ("late", "captured_at_ms")


@pytest.mark.parametrize(("topic", "fields"), [(SHOTS, SHOT), (HITS, HIT), (ACTIONS, ACTION)])
def test_only_reads_can_be_late(topic, fields):
    assert admit(topic, fields, AT_MS + 400 * 86_400_000)


def test_an_actions_clock_is_not_checked():
    assert admit(ACTIONS, ACTION, AT_MS - 400 * 86_400_000)


@pytest.mark.parametrize("plate", RULES.placeholder_plates)
@pytest.mark.parametrize(("topic", "fields"), [(HITS, HIT), (READS, READ)])
def test_a_placeholder_plate_is_rejected_in_any_case_and_spacing(topic, fields, plate):
    spaced = " ".join(plate.lower())
    assert rejection(topic, {**fields, "plate": spaced}) == ("placeholder", "plate")


def test_a_lookalike_of_a_placeholder_is_admitted_as_a_plate():
    assert admit(READS, {**READ, "plate": "OOOOOO"}).plate_key == "000000"


def test_placeholder_plates_are_configurable_and_compared_after_normalising():
    rules = JoinRules(placeholder_plates=("no-read",))
    assert rejection(READS, {**READ, "plate": "NO READ"}, rules=rules) == ("placeholder", "plate")
    assert admit(READS, {**READ, "plate": "UNKNOWN"}, rules=rules).plate_key == "UNKN0WN"


def test_the_error_for_an_unknown_ramp_names_the_ramp_the_site_and_the_remedy():
    with pytest.raises(
        InvalidRecord, match="'nowhere' is not a ramp of site example; correct it, or add it to the site file"
    ):
        admit(READS, {**READ, "ramp_id": "nowhere"})


@pytest.mark.parametrize(
    ("unit", "captured_at", "reason"),
    [
        ("seconds", AT_MS // 1_000, "late"),
        ("microseconds", AT_MS * 1_000, "future"),
    ],
)
def test_a_time_in_another_unit_is_named_as_such(unit, captured_at, reason):
    with pytest.raises(InvalidRecord, match=f"seems to be in {unit}; send milliseconds") as rejected:
        admit(READS, {**READ, "captured_at_ms": captured_at}, AT_MS)
    assert rejected.value.reason == reason


def test_a_late_read_names_the_retention_and_a_wrong_clock_is_only_a_wrong_clock():
    with pytest.raises(InvalidRecord, match=f"longer than the {RULES.read_retention_ms} ms for which reads are"):
        admit(READS, READ, AT_MS + 2 * RULES.read_retention_ms)
    with pytest.raises(InvalidRecord, match="3600000 ms after the record reached its topic; correct the sender's"):
        admit(READS, READ, AT_MS - 3_600_000)


def test_a_placeholder_of_a_hit_is_not_called_a_read():
    with pytest.raises(InvalidRecord, match="send the plate itself, or no record"):
        admit(HITS, {**HIT, "plate": "UNKNOWN"})


def test_error_messages_never_contain_a_plate():
    for fields in ({**READ, "ramp_id": "nowhere"}, {**READ, "captured_at_ms": 0}, {**READ, "plate": "TEST 1234567"}):
        with pytest.raises(InvalidRecord) as rejected:
            admit(READS, fields)
        assert "TEST" not in str(rejected.value)


@pytest.mark.parametrize(("topic", "fields"), [(SHOTS, SHOT), (HITS, HIT), (READS, READ), (ACTIONS, ACTION)])
def test_a_record_may_have_max_record_bytes_and_not_one_more(topic, fields):
    rules = JoinRules(max_record_bytes=2_000)
    padding = "x" * (2_000 - len(json.dumps({**fields, "more": ""})))
    assert admit(topic, {**fields, "more": padding}, rules=rules)
    assert rejection(topic, {**fields, "more": padding + "x"}, rules=rules) == ("limit", "")


def test_the_size_is_checked_before_the_bytes_are_decoded():
    record = Record(topic=SHOTS, partition=0, offset=0, stamp_ms=AT_MS, value=b"[" * 65_537)
    remedy = r"65537 bytes, more than max_record_bytes \(65536\); send less, or raise the setting"
    with pytest.raises(InvalidRecord, match=remedy):
        Intake(SITE, RULES).admit(record)


def test_a_record_over_the_limit_is_left_to_admit_by_the_columns():
    value = json.dumps({**READ, "more": "x" * 65_536}).encode()
    assert Intake(SITE, RULES).admit_reads([value], [AT_MS]) is None
