"""The door: the order of refusals, and the edges of what still comes in."""

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


def refusal(topic: str, fields: dict[str, Any], stamp_ms: int = AT_MS, rules: JoinRules = RULES) -> tuple[str, str]:
    with pytest.raises(InvalidRecord) as refused:
        admit(topic, fields, stamp_ms, rules)
    return refused.value.reason, refused.value.field


def test_what_is_admitted_keeps_its_place_in_the_log():
    admitted = admit(READS, READ, AT_MS + 5)
    assert (admitted.topic, admitted.record.partition, admitted.record.offset, admitted.stamp_ms) == (
        READS,
        3,
        17,
        AT_MS + 5,
    )


@pytest.mark.parametrize(("topic", "fields"), [(HITS, HIT), (READS, READ)])
def test_hits_and_reads_come_in_with_their_plate_key(topic, fields):
    assert admit(topic, fields).plate_key == "TE5T123"


@pytest.mark.parametrize(("topic", "fields"), [(SHOTS, SHOT), (ACTIONS, ACTION)])
def test_shots_and_actions_have_no_plate_key(topic, fields):
    assert admit(topic, fields).plate_key == ""


def test_the_first_reason_that_matches_is_the_one_given():
    fields: dict[str, Any] = {**READ, "plate": "", "ramp_id": "nowhere", "captured_at_ms": AT_MS + 10**9}
    wrong = {**fields, "confidence": 2}
    assert refusal(READS, wrong) == ("schema", "confidence")
    assert refusal(READS, fields) == ("plate", "plate")
    assert refusal(READS, {**fields, "plate": "UNKNOWN"}) == ("placeholder", "plate")
    assert refusal(READS, {**fields, "plate": "TEST 123"}) == ("unknown_ramp", "ramp_id")
    assert refusal(READS, {**fields, "plate": "TEST 123", "ramp_id": "ramp-1"}) == ("future", "captured_at_ms")


@pytest.mark.parametrize(
    ("topic", "fields", "time"),
    [(SHOTS, SHOT, "occurred_at_ms"), (HITS, HIT, "reported_at_ms"), (READS, READ, "captured_at_ms")],
)
def test_a_clock_may_be_ahead_by_the_skew_allowed_and_no_more(topic, fields, time):
    skew_ms = RULES.max_future_skew_ms
    assert admit(topic, fields, AT_MS - skew_ms)
    assert refusal(topic, fields, AT_MS - skew_ms - 1) == ("future", time)


def test_a_read_may_come_until_its_deadline_and_not_after():
    deadline_ms = AT_MS + RULES.read_retention_ms
    assert admit(READS, READ, deadline_ms)
    assert refusal(READS, READ, deadline_ms + 1) == ("late", "captured_at_ms")


@pytest.mark.parametrize(("topic", "fields"), [(SHOTS, SHOT), (HITS, HIT), (ACTIONS, ACTION)])
def test_only_reads_can_be_late(topic, fields):
    assert admit(topic, fields, AT_MS + 400 * 86_400_000)


def test_an_actions_clock_is_not_judged():
    assert admit(ACTIONS, ACTION, AT_MS - 400 * 86_400_000)


@pytest.mark.parametrize("plate", RULES.placeholder_plates)
@pytest.mark.parametrize(("topic", "fields"), [(HITS, HIT), (READS, READ)])
def test_what_stands_for_no_plate_is_refused_however_it_is_written(topic, fields, plate):
    spaced = " ".join(plate.lower())
    assert refusal(topic, {**fields, "plate": spaced}) == ("placeholder", "plate")


def test_a_lookalike_of_a_placeholder_is_a_plate():
    assert admit(READS, {**READ, "plate": "OOOOOO"}).plate_key == "000000"


def test_placeholders_are_a_setting_and_are_compared_after_normalising():
    rules = JoinRules(placeholder_plates=("no-read",))
    assert refusal(READS, {**READ, "plate": "NO READ"}, rules=rules) == ("placeholder", "plate")
    assert admit(READS, {**READ, "plate": "UNKNOWN"}, rules=rules).plate_key == "UNKN0WN"


def test_an_unknown_ramp_is_named_with_its_site_and_the_remedy():
    with pytest.raises(InvalidRecord, match="'nowhere' is not a ramp of site example; add it to the site file"):
        admit(READS, {**READ, "ramp_id": "nowhere"})


def test_no_refusal_repeats_a_plate():
    for fields in ({**READ, "ramp_id": "nowhere"}, {**READ, "captured_at_ms": 0}, {**READ, "plate": "TEST 1234567"}):
        with pytest.raises(InvalidRecord) as refused:
            admit(READS, fields)
        assert "TEST" not in str(refused.value)
