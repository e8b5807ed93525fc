"""The rules in JOIN.md, section "Evidence", tested at their limits."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from streams.core.events import PlateRead, ShotAlert, VehicleHit
from streams.core.linking import (
    covers,
    distance_to,
    is_evidence,
    is_near,
    is_sighting,
    match_of,
    plate_differences,
    required_speed_mps,
)
from streams.core.rules import JoinRules
from streams.core.site import Ramp

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
AT_MS = 1_780_000_000_000
RULES = JoinRules()
HERE = Ramp("here", "I-91", "48", "on", 41.76, -72.67)
# A degree of the meridian is 6 371 008.8 m * pi / 180 = 111 195.08 m: 0.05 degrees are 5 559.75 m,
# so 5 560 m.
THERE = Ramp("there", "I-91", "50", "on", 41.81, -72.67)


def shot(**fields: Any) -> ShotAlert:
    return structs.replace(ShotAlert("S", "single_gunshot", AT_MS, 41.76, -72.67), **fields)


def hit(**fields: Any) -> VehicleHit:
    return structs.replace(VehicleHit("H", "SIMB01", AT_MS - HOUR_MS), **fields)


def read(after_ms: int = 0, **fields: Any) -> PlateRead:
    return structs.replace(PlateRead("R", "SIMB01", AT_MS + after_ms, "here", "camera", 0.9), **fields)


def near(after_ms: int, ramp: Ramp = HERE, uncertainty_m: int = 25, **rules: Any) -> bool:
    changed = structs.replace(RULES, **rules)
    return is_near(shot(uncertainty_m=uncertainty_m), read(after_ms), ramp, changed)


# --- covers ---


@pytest.mark.parametrize(
    ("fields", "begins_ms", "ends_ms"),
    [
        ({"stolen_at_ms": AT_MS - 5}, AT_MS - 5, AT_MS + 30 * DAY_MS),
        ({"stolen_at_ms": None}, AT_MS - 12 * HOUR_MS, AT_MS + 30 * DAY_MS),
        ({"status": "recovered", "cleared_at_ms": AT_MS + 7}, AT_MS - 12 * HOUR_MS, AT_MS + 7),
        ({"status": "recovered", "cleared_at_ms": AT_MS + 31 * DAY_MS}, AT_MS - 12 * HOUR_MS, AT_MS + 30 * DAY_MS),
        ({"status": "active", "cleared_at_ms": AT_MS + 7}, AT_MS - 12 * HOUR_MS, AT_MS + 30 * DAY_MS),
    ],
)
def test_a_hit_covers_times_from_its_start_up_to_but_not_including_its_end(fields, begins_ms, ends_ms):
    listed = hit(reported_at_ms=AT_MS, **fields)
    edges = (begins_ms - 1, begins_ms, ends_ms - 1, ends_ms)
    assert [covers(listed, at_ms, RULES) for at_ms in edges] == [False, True, True, False]


@pytest.mark.parametrize("at_ms", [AT_MS - HOUR_MS, AT_MS, AT_MS + HOUR_MS])
def test_a_cancelled_hit_covers_nothing(at_ms):
    assert not covers(hit(status="cancelled", stolen_at_ms=AT_MS - HOUR_MS), at_ms, RULES)


def test_a_car_recovered_no_later_than_it_was_stolen_is_never_covered():
    listed = hit(status="recovered", stolen_at_ms=AT_MS, cleared_at_ms=AT_MS)
    assert not any(covers(listed, AT_MS + ms, RULES) for ms in (-1, 0, 1))


# --- sightings ---


@pytest.mark.parametrize(("confidence", "seen"), [(0.6, True), (0.5999, False), (1.0, True), (0.0, False)])
def test_a_read_at_the_minimum_confidence_is_a_sighting(confidence, seen):
    assert is_sighting(hit(), read(confidence=confidence), RULES) is seen


@pytest.mark.parametrize(
    ("listed", "as_read", "seen"),
    [
        ("CT", "CT", True),
        (" us-ct", "CT ", True),
        ("CT", "NY", False),
        ("US-CT", "ny", False),
        (None, "NY", True),
        ("CT", None, True),
        ("Ontario", "NY", True),
        ("CT", "Connecticut", True),
        ("", "NY", True),
    ],
)
def test_only_two_known_and_different_states_rule_a_read_out(listed, as_read, seen):
    assert is_sighting(hit(region=listed), read(region=as_read), RULES) is seen


@pytest.mark.parametrize(
    ("as_read", "differ"), [("SIMB01", 0), ("sim-b01", 0), ("5IMB01", 1), ("51MB01", 2), ("51M8OI", 5)]
)
@pytest.mark.parametrize("max_lookalikes", [0, 1, 2])
def test_a_lookalike_may_differ_in_at_most_max_lookalikes_characters(as_read, differ, max_lookalikes):
    rules = JoinRules(max_lookalikes=max_lookalikes)
    assert plate_differences(hit(), read(plate=as_read)) == differ
    assert is_sighting(hit(), read(plate=as_read), rules) is (differ <= max_lookalikes)
    assert match_of(hit(), read(plate=as_read)) == ("lookalike" if differ else "exact")


def test_a_read_is_a_sighting_only_while_the_car_is_listed():
    assert not is_sighting(hit(stolen_at_ms=AT_MS), read(-1), RULES)
    assert is_sighting(hit(stolen_at_ms=AT_MS), read(0), RULES)


def test_a_read_before_the_theft_was_reported_is_still_a_sighting():
    assert is_sighting(hit(reported_at_ms=AT_MS + 5 * HOUR_MS, stolen_at_ms=AT_MS - HOUR_MS), read(), RULES)


# --- nearness ---


@pytest.mark.parametrize(
    ("after_ms", "inside"),
    [(-45 * MINUTE_MS, True), (-45 * MINUTE_MS - 1, False), (30 * MINUTE_MS, True), (30 * MINUTE_MS + 1, False)],
)
def test_both_ends_of_the_time_window_are_inclusive(after_ms, inside):
    assert near(after_ms) is inside


@pytest.mark.parametrize(("max_distance_m", "inside"), [(5_560, True), (5_559, False)])
def test_distance_is_rounded_to_metres_before_it_is_compared(max_distance_m, inside):
    assert distance_to(shot(), THERE) == 5_560
    assert near(10 * MINUTE_MS, THERE, max_distance_m=max_distance_m) is inside


@pytest.mark.parametrize(
    ("uncertainty_m", "after_ms", "could"),
    [
        (10, 120_000, True),  # 5 560 - 10 - 150 = 5 400 m at 45 m/s: two minutes to the millisecond
        (10, 119_999, False),
        (10, -120_000, True),
        (10, -119_999, False),
        (25, 119_667, True),
        (25, 119_666, False),
        (5_410, 0, True),
        (5_409, 0, False),
        (2**53, 0, True),
    ],
)
def test_the_car_must_have_been_able_to_cover_the_distance_in_time(uncertainty_m, after_ms, could):
    assert near(after_ms, THERE, uncertainty_m) is could


def test_uncertainty_does_not_extend_the_maximum_distance():
    assert not near(10 * MINUTE_MS, THERE, uncertainty_m=5_560, max_distance_m=5_559)


def test_evidence_requires_a_valid_shot_a_sighting_and_a_nearby_ramp():
    assert is_evidence(shot(), hit(), read(), HERE, RULES)
    assert is_evidence(shot(status="confirmed"), hit(), read(), HERE, RULES)
    assert not is_evidence(shot(status="dismissed"), hit(), read(), HERE, RULES)
    assert not is_evidence(shot(), hit(status="cancelled"), read(), HERE, RULES)
    assert not is_evidence(shot(), hit(), read(), THERE, RULES)
    assert not is_evidence(shot(), hit(), read(confidence=0.5), HERE, RULES)


# --- speed ---


def test_the_required_speed_deducts_the_uncertainty_and_the_slack():
    assert required_speed_mps(shot(), 5_560, 300_000, RULES) == pytest.approx((5_560 - 25 - 150) / 300)
    assert required_speed_mps(shot(), 5_560, -300_000, RULES) == pytest.approx((5_560 - 25 - 150) / 300)


@pytest.mark.parametrize(("away_m", "delay_ms", "speed_mps"), [(175, 0, 0.0), (176, 0, None), (0, 5, 0.0)])
def test_required_speed_is_zero_within_the_slack_and_undefined_beyond_it_without_delay(away_m, delay_ms, speed_mps):
    assert required_speed_mps(shot(), away_m, delay_ms, RULES) == speed_mps
