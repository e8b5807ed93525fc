"""JOIN.md, "Evidence", edge by edge."""

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


def shot(**said: Any) -> ShotAlert:
    return structs.replace(ShotAlert("S", "single_gunshot", AT_MS, 41.76, -72.67), **said)


def hit(**said: Any) -> VehicleHit:
    return structs.replace(VehicleHit("H", "SIMB01", AT_MS - HOUR_MS), **said)


def read(after_ms: int = 0, **said: Any) -> PlateRead:
    return structs.replace(PlateRead("R", "SIMB01", AT_MS + after_ms, "here", "camera", 0.9), **said)


def near(after_ms: int, ramp: Ramp = HERE, uncertainty_m: int = 25, **rules: Any) -> bool:
    changed = structs.replace(RULES, **rules)
    return is_near(shot(uncertainty_m=uncertainty_m), read(after_ms), ramp, changed)


# --- covers ---


@pytest.mark.parametrize(
    ("said", "begins_ms", "ends_ms"),
    [
        ({"stolen_at_ms": AT_MS - 5}, AT_MS - 5, AT_MS + 30 * DAY_MS),
        ({"stolen_at_ms": None}, AT_MS - 12 * HOUR_MS, AT_MS + 30 * DAY_MS),
        ({"status": "recovered", "cleared_at_ms": AT_MS + 7}, AT_MS - 12 * HOUR_MS, AT_MS + 7),
        ({"status": "recovered", "cleared_at_ms": AT_MS + 31 * DAY_MS}, AT_MS - 12 * HOUR_MS, AT_MS + 30 * DAY_MS),
        ({"status": "active", "cleared_at_ms": AT_MS + 7}, AT_MS - 12 * HOUR_MS, AT_MS + 30 * DAY_MS),
    ],
)
def test_a_hit_covers_from_its_beginning_up_to_but_not_including_its_end(said, begins_ms, ends_ms):
    listed = hit(reported_at_ms=AT_MS, **said)
    edges = (begins_ms - 1, begins_ms, ends_ms - 1, ends_ms)
    assert [covers(listed, at_ms, RULES) for at_ms in edges] == [False, True, True, False]


@pytest.mark.parametrize("at_ms", [AT_MS - HOUR_MS, AT_MS, AT_MS + HOUR_MS])
def test_a_cancelled_hit_covers_nothing(at_ms):
    assert not covers(hit(status="cancelled", stolen_at_ms=AT_MS - HOUR_MS), at_ms, RULES)


def test_a_car_recovered_before_it_was_stolen_is_covered_at_no_time():
    listed = hit(status="recovered", stolen_at_ms=AT_MS, cleared_at_ms=AT_MS)
    assert not any(covers(listed, AT_MS + ms, RULES) for ms in (-1, 0, 1))


# --- sightings ---


@pytest.mark.parametrize(("confidence", "seen"), [(0.6, True), (0.5999, False), (1.0, True), (0.0, False)])
def test_a_read_of_the_least_confidence_still_counts(confidence, seen):
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
def test_only_two_known_states_that_differ_rule_a_read_out(listed, as_read, seen):
    assert is_sighting(hit(region=listed), read(region=as_read), RULES) is seen


@pytest.mark.parametrize(
    ("as_read", "differ"), [("SIMB01", 0), ("sim-b01", 0), ("5IMB01", 1), ("51MB01", 2), ("51M8OI", 5)]
)
@pytest.mark.parametrize("max_lookalikes", [0, 1, 2])
def test_a_lookalike_may_differ_in_as_many_characters_as_the_setting_says(as_read, differ, max_lookalikes):
    rules = JoinRules(max_lookalikes=max_lookalikes)
    assert plate_differences(hit(), read(plate=as_read)) == differ
    assert is_sighting(hit(), read(plate=as_read), rules) is (differ <= max_lookalikes)
    assert match_of(hit(), read(plate=as_read)) == ("lookalike" if differ else "exact")


def test_a_car_is_seen_only_while_it_is_listed():
    assert not is_sighting(hit(stolen_at_ms=AT_MS), read(-1), RULES)
    assert is_sighting(hit(stolen_at_ms=AT_MS), read(0), RULES)


def test_a_theft_reported_after_the_read_is_seen_all_the_same():
    assert is_sighting(hit(reported_at_ms=AT_MS + 5 * HOUR_MS, stolen_at_ms=AT_MS - HOUR_MS), read(), RULES)


# --- nearness ---


@pytest.mark.parametrize(
    ("after_ms", "inside"),
    [(-45 * MINUTE_MS, True), (-45 * MINUTE_MS - 1, False), (30 * MINUTE_MS, True), (30 * MINUTE_MS + 1, False)],
)
def test_both_ends_of_the_window_count(after_ms, inside):
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
def test_the_car_must_have_been_able_to_make_it(uncertainty_m, after_ms, could):
    assert near(after_ms, THERE, uncertainty_m) is could


def test_uncertainty_does_not_stretch_the_greatest_distance():
    assert not near(10 * MINUTE_MS, THERE, uncertainty_m=5_560, max_distance_m=5_559)


def test_no_evidence_without_all_three_shot_car_and_place():
    assert is_evidence(shot(), hit(), read(), HERE, RULES)
    assert is_evidence(shot(status="confirmed"), hit(), read(), HERE, RULES)
    assert not is_evidence(shot(status="dismissed"), hit(), read(), HERE, RULES)
    assert not is_evidence(shot(), hit(status="cancelled"), read(), HERE, RULES)
    assert not is_evidence(shot(), hit(), read(), THERE, RULES)
    assert not is_evidence(shot(), hit(), read(confidence=0.5), HERE, RULES)


# --- speed ---


def test_the_speed_required_takes_off_the_uncertainty_and_the_slack():
    assert required_speed_mps(shot(), 5_560, 300_000, RULES) == pytest.approx((5_560 - 25 - 150) / 300)
    assert required_speed_mps(shot(), 5_560, -300_000, RULES) == pytest.approx((5_560 - 25 - 150) / 300)


@pytest.mark.parametrize(("away_m", "delay_ms", "speed_mps"), [(175, 0, 0.0), (176, 0, None), (0, 5, 0.0)])
def test_no_speed_is_required_where_the_slack_covers_it_and_none_would_do_at_the_very_time(away_m, delay_ms, speed_mps):
    assert required_speed_mps(shot(), away_m, delay_ms, RULES) == speed_mps
