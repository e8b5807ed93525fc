"""The oracle's outcomes and comparisons against results computed by hand."""

from __future__ import annotations

import pytest

from tests.oracle.compare import differences, outcome_differences
from tests.oracle.join import judge
from tests.oracle.records import HITS, READS, SHOTS, Value
from tests.worlds.cases import (
    DAY_MS,
    FREEZE_MS,
    HOUR_MS,
    JOIN,
    MINUTE_MS,
    SHOT_MS,
    SITE,
    action,
    hit,
    incident,
    read,
    shot,
    verdict,
)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (read(plate="--"), "plate"),
        (read(plate="ABCDEFGHIJK"), "plate"),
        (read(plate="ABCDEFGHIJ"), None),
        (read(plate="un-known", ramp_id="nowhere"), "placeholder"),
        (read(plate="UNKN0WN"), None),
        (hit(plate="None"), "placeholder"),
        (read(0, -120_001, ramp_id="nowhere"), "unknown_ramp"),
        (read(0, -120_001), "future"),
        (read(0, -120_000), None),
        (shot(SHOT_MS - 120_001), "future"),
        (hit(SHOT_MS - HOUR_MS - 120_001), "future"),
        (action(SHOT_MS, at_ms=SHOT_MS + DAY_MS), None),
        (read(0, DAY_MS), None),
        (read(0, DAY_MS + 1), "late"),
        (read(0, DAY_MS + 1, ramp_id="nowhere"), "unknown_ramp"),
        (read(captured_at_ms=1.0), "schema"),
        (read(confidence=True), "schema"),
        (read(confidence=1.0000001), "schema"),
        (read(direction="up"), "schema"),
        (read(read_id="x" * 129, plate=""), "schema"),
        (read(read_id="x" * 128, region="x" * 500, unknown=[]), None),
        (read(region="x" * 501), "schema"),
        (shot(revision=None), "schema"),
        (shot(uncertainty_m=-1), "schema"),
        (shot(uncertainty_m=25.0), "schema"),
        (shot(rounds=2**53), None),
        (shot(rounds=2**53 + 1), "schema"),
        (shot(lat=float("nan")), "schema"),
        (shot(lat=-90, lon=180), None),
        (shot(alert_id=""), "schema"),
        (hit(status="recovered"), "schema"),
        (hit(stolen_at_ms=None, lat=None), None),
        (action(SHOT_MS, kind=None), "schema"),
    ],
)
def test_an_invalid_record_is_dead_for_the_first_reason_that_applies(line: Value, reason: str | None) -> None:
    assert [first for _, _, first in verdict(line).dead] == ([reason] if reason else [])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"value_base64": ""}, "not_json"),
        ({"value_base64": "ew=="}, "not_json"),  # the bytes of "{"
        ({"value_base64": "TmFO"}, "not_json"),  # NaN
        ({"value_base64": "/w=="}, "not_json"),  # not UTF-8
        ({"value_base64": "e30="}, "schema"),  # {}
        ({"value": None}, "schema"),
        ({"value": []}, "schema"),
    ],
)
def test_a_value_that_is_not_an_object_is_dead(line: Value, reason: str) -> None:
    assert judge({READS: [line]}, SITE, JOIN).dead == [(READS, 0, reason)]


def test_without_stamps_the_event_time_is_the_stamp() -> None:
    lines = [shot(), hit(), read(MINUTE_MS)]
    for line in lines:
        del line["timestamp_ms"]
    got = incident(*lines)
    assert got is not None
    assert got["sightings"][0]["stamp_ms"] == SHOT_MS + MINUTE_MS


def test_every_record_has_exactly_one_outcome() -> None:
    stamps = iter(range(SHOT_MS, SHOT_MS + 99))
    hits = [
        hit(next(stamps), revision=revision, make=make)
        for revision, make in [(1, "a"), (0, "a"), (1, "b"), (1, "a"), (0, "a"), (2, "a")]
    ]
    assert verdict(*reversed(hits)).outcomes[HITS] == {
        "used": 2,
        "superseded": 1,
        "conflict": 1,
        "duplicate": 2,
    }
    late = verdict(read(0, DAY_MS + 1), read(plate=""), read())
    assert late.outcomes[READS] == {"late": 1, "dead": 1, "used": 1}


def test_a_repeated_read_of_an_unlisted_plate_may_count_as_used() -> None:
    unlisted = verdict(read(), read(0, 1))
    assert unlisted.bounds(READS, "used") == (1, 2)
    assert unlisted.bounds(READS, "duplicate") == (0, 1)
    assert verdict(hit(), read(), read(0, 1)).bounds(READS, "duplicate") == (1, 1)
    assert outcome_differences(unlisted, {READS: {"used": 2}}) == []
    assert len(outcome_differences(unlisted, {READS: {"used": 1}})) == 1
    assert len(outcome_differences(unlisted, {READS: {"conflict": 1, "used": 1}})) == 1


def test_the_content_of_a_frozen_shot_may_be_forgotten() -> None:
    again = verdict(shot(), shot(FREEZE_MS + 1))
    assert again.outcomes[SHOTS] == {"used": 1, "duplicate": 1}
    assert again.bounds(SHOTS, "used") == (1, 2)
    assert verdict(shot(), shot(FREEZE_MS)).bounds(SHOTS, "used") == (1, 1)


def test_each_difference_is_one_sentence() -> None:
    want = verdict(shot(), hit(), read(5 * MINUTE_MS, ramp_id="far"))
    (name, right), *_ = want.incidents.items()
    sighting = right["sightings"][0]
    assert differences(want, {name: right | {"score": 0.5, "revision": 7}}) == []
    nearly = sighting | {"required_speed_mps": sighting["required_speed_mps"] * (1 + 1e-12)}
    assert differences(want, {name: right | {"sightings": [nearly]}}) == []
    assert differences(want, {}) == [f"Incident {name} is missing."]
    wrong = {name: right | {"sightings": [sighting | {"distance_m": 1}]}}
    assert differences(want, wrong) == [f"Incident {name}: sightings[0].distance_m is 1, should be 5560."]
    empty = right | {"status": "retracted", "sightings": []}
    assert differences(want, {name: right, "other": empty}) == []
    assert differences(want, {name: right, "other": right}) == ["Incident other was produced (open) and should not be."]


def test_there_is_no_verdict_beyond_the_limits() -> None:
    with pytest.raises(ValueError, match="no verdict holds"):
        verdict(hit(), hit(hit_id="H2"), max_hits_per_plate=1)
