"""The score is deterministic, and monotone in every input where that is expected."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from streams.core.events import Reason, Sighting, VehicleHit
from streams.core.rules import JoinRules
from streams.core.scoring import DEFAULT, Score, score

no_deadline = settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
HOUR_MS = 3_600_000
AT_MS = 1_780_000_000_000
RULES = JoinRules()
ROUNDING = 0.0011
"""Weights and scores are rounded to thousandths, so the laws hold to within one step."""


def hit(**fields: Any) -> VehicleHit:
    return structs.replace(VehicleHit("H", "SIMB01", AT_MS - 5 * HOUR_MS, region="CT"), **fields)


def sighting(**fields: Any) -> Sighting:
    """A read five minutes after the shot, at an on-ramp 2 km away."""
    plain = Sighting(
        read_id="R",
        ramp_id="ramp",
        road="I-91",
        exit="48",
        direction="on",
        lat=41.7,
        lon=-72.6,
        captured_at_ms=AT_MS + 300_000,
        stamp_ms=AT_MS + 300_000,
        seconds_from_shot=300.0,
        distance_m=2_000,
        required_speed_mps=6.0,
        confidence=0.95,
        match="exact",
        plate_as_read="SIMB01",
        region="CT",
        make=None,
        colour=None,
    )
    return structs.replace(plain, **fields)


def scored(*sightings: Sighting, listed: VehicleHit | None = None, rules: JoinRules = RULES) -> Score:
    return score(listed or hit(), True, sightings, rules)


def reason(given: Score, code: str) -> Reason | None:
    return next((reason for reason in given.reasons if reason.code == code), None)


def fitting(distance_m: int) -> Sighting:
    """A read at exactly the delay expected for a car that has driven that far."""
    delay_s = DEFAULT.typical_pause_s + distance_m / DEFAULT.typical_speed_mps
    return sighting(distance_m=distance_m, seconds_from_shot=delay_s)


sightings = st.builds(
    sighting,
    seconds_from_shot=st.integers(-2_700_000, 1_800_000).map(lambda ms: ms / 1000),
    distance_m=st.integers(0, 8_000),
    direction=st.sampled_from(["on", "off"]),
    confidence=st.floats(0.6, 1.0),
    plate_as_read=st.sampled_from(["SIMB01", "5IMB01", "SIM801"]),
    region=st.sampled_from(["CT", None]),
)
some = st.lists(sightings, min_size=1, max_size=5)


def test_without_sightings_the_score_is_zero():
    assert scored() == Score(score=0.0, strength="low", reasons=[], warnings=[])


def test_a_close_plausible_read_scores_high_and_a_far_implausible_one_low():
    assert scored(sighting()).score > DEFAULT.medium_from
    off = sighting(distance_m=8_000, seconds_from_shot=1_800.0, direction="off")
    assert scored(off).strength == "low"


@pytest.mark.parametrize(
    ("seconds_from_shot", "direction", "agrees"), [(60, "on", 1), (60, "off", 0), (-60, "off", 1), (-60, "on", 0)]
)
def test_an_on_ramp_after_the_shot_or_an_off_ramp_before_it_agrees(seconds_from_shot, direction, agrees):
    result = reason(scored(sighting(seconds_from_shot=float(seconds_from_shot), direction=direction)), "direction")
    assert result is not None
    assert (result.value, result.weight > 0) == (agrees, bool(agrees))


@no_deadline
@given(some, st.sampled_from(["SIMB01", "5IMB01"]))
def test_a_score_is_between_0_and_1_in_thousandths_and_equals_the_sum_of_its_reasons(seen, plate):
    given_score = scored(*seen, listed=hit(plate=plate))
    assert 0 <= given_score.score <= 1
    assert given_score.score == round(given_score.score, 3)
    odds = given_score.score / (1 - given_score.score) if given_score.score < 1 else float("inf")
    log_odds = DEFAULT.prior_log_odds + sum(each.weight for each in given_score.reasons)
    from_reasons = 1 / (1 + 2.718281828459045**-log_odds)
    assert from_reasons == pytest.approx(given_score.score, abs=0.000501), odds


@no_deadline
@given(some)
def test_the_same_facts_score_the_same(seen):
    assert scored(*seen) == scored(*seen)


@no_deadline
@given(some)
def test_the_strength_is_derived_from_the_rounded_score(seen):
    result = scored(*seen)
    expected = "high" if result.score >= 0.7 else "medium" if result.score >= 0.35 else "low"
    assert result.strength == expected


# --- monotone ---


@no_deadline
@given(sightings)
def test_a_lookalike_never_scores_higher_than_the_exact_plate(seen):
    plates = ("SIMB01", "5IMB01", "51MB01", "51M801")
    scores = [scored(structs.replace(seen, plate_as_read=plate)).score for plate in plates]
    assert scores == sorted(scores, reverse=True)
    assert "lookalike" in scored(structs.replace(seen, plate_as_read="5IMB01")).warnings


@no_deadline
@given(sightings, st.floats(0, 1), st.floats(0, 1))
def test_a_lower_confidence_never_scores_higher(seen, one, other):
    low, high = sorted((one, other))
    assert scored(structs.replace(seen, confidence=low)).score <= scored(structs.replace(seen, confidence=high)).score


@no_deadline
@given(some, st.integers(-(10**9), 10**10), st.integers(0, 10**10))
def test_an_older_list_never_scores_higher(seen, age_ms, older_by_ms):
    young = hit(list_updated_at_ms=AT_MS - age_ms)
    old = hit(list_updated_at_ms=AT_MS - age_ms - older_by_ms)
    assert scored(*seen, listed=old).score <= scored(*seen, listed=young).score


@no_deadline
@given(st.integers(0, 8_000), st.integers(0, 8_000))
def test_a_greater_distance_never_scores_higher_at_the_expected_delay(one, other):
    near, far = sorted((one, other))
    assert scored(fitting(far)).score <= scored(fitting(near)).score


@no_deadline
@given(sightings, st.integers(0, 8_000))
def test_a_greater_distance_never_scores_higher_at_the_same_delay(seen, farther_by_m):
    far = structs.replace(seen, distance_m=seen.distance_m + farther_by_m)
    assert scored(far).score <= scored(seen).score + ROUNDING


@no_deadline
@given(sightings, st.integers(0, 3_000_000), st.integers(0, 3_000_000), st.sampled_from([-1, 1]))
def test_a_less_plausible_delay_never_scores_higher(seen, one, other, sign):
    expected_s = DEFAULT.typical_pause_s + seen.distance_m / DEFAULT.typical_speed_mps
    better, worse = sorted((one, other))
    scores = [
        scored(structs.replace(seen, seconds_from_shot=sign * (expected_s + off_ms / 1000))).score
        for off_ms in (better, worse)
    ]
    assert scores[1] <= scores[0]


@no_deadline
@given(some, sightings)
def test_a_corroborating_read_never_lowers_the_score(seen, another):
    assert scored(*seen, another).score >= scored(*seen).score - ROUNDING


@no_deadline
@given(some, sightings)
def test_an_unknown_region_never_scores_higher_than_a_matching_one(seen, another):
    assert scored(*seen, listed=hit(region=None)).score <= scored(*seen).score
    nowhere = [structs.replace(s, region="Ontario") for s in seen]
    known = [structs.replace(s, region="US-CT") for s in seen]
    assert scored(*nowhere).score <= scored(*known).score


@pytest.mark.parametrize(
    ("field", "listed", "same", "other"), [("make", "Ford", " FORD", "Kia"), ("colour", "Grün", "GRÜN", "red")]
)
def test_a_different_make_or_colour_lowers_the_score_and_a_missing_one_does_not(field, listed, same, other):
    car = hit(**{field: listed})
    agreeing, missing = scored(sighting(**{field: same}), listed=car), scored(sighting(), listed=car)
    differing = scored(sighting(**{field: other}), listed=car)
    assert agreeing == missing
    assert differing.score < missing.score
    assert differing.warnings == [f"{field}_differs"]
    assert scored(sighting(**{field: other}), sighting(**{field: same}), listed=car).warnings == []


# --- warnings ---


@pytest.mark.parametrize(("confidence", "warned"), [(0.8, False), (0.7999, True)])
def test_a_confidence_below_four_fifths_warns(confidence, warned):
    assert ("low_confidence" in scored(sighting(confidence=confidence)).warnings) is warned


@pytest.mark.parametrize(("age_ms", "warned"), [(12 * HOUR_MS, False), (12 * HOUR_MS + 1_000, True), (-1, False)])
def test_a_list_older_than_twelve_hours_at_the_read_warns(age_ms, warned):
    seen = sighting()
    result = scored(seen, listed=hit(list_updated_at_ms=seen.captured_at_ms - age_ms))
    assert ("list_age" in result.warnings) is warned


def test_the_penalty_for_list_age_is_capped():
    result = reason(scored(sighting(), listed=hit(list_updated_at_ms=0)), "list_age")
    assert result is not None
    assert result.weight == DEFAULT.list_age_least


@pytest.mark.parametrize(("plate", "warned"), [("T0-Y", True), ("SIMB", True), ("SIMB0", False)])
def test_a_short_plate_warns(plate, warned):
    result = scored(sighting(plate_as_read=plate), listed=hit(plate=plate))
    assert ("plate_short" in result.warnings) is warned


def test_an_unconfirmed_shot_warns():
    assert score(hit(), False, [sighting()], RULES).warnings == ["unreviewed"]
    assert score(hit(), True, [sighting()], RULES).warnings == []


def test_every_penalty_is_a_warning_and_no_evidence_is():
    result = scored(
        sighting(confidence=0.6, region=None, plate_as_read="5IMB01"),
        sighting(confidence=0.6, region=None, plate_as_read="5IMB01"),
    )
    assert set(result.warnings) == {"lookalike", "region_unknown", "low_confidence"}
    assert {r.code for r in result.reasons} - set(result.warnings) == {
        "delay",
        "distance",
        "direction",
        "corroboration",
    }


def test_the_weight_of_further_reads_is_capped():
    result = reason(scored(*[sighting(read_id=f"R{n}") for n in range(50)]), "corroboration")
    assert result is not None
    assert (result.value, result.weight) == (49.0, 2.0)


# --- extremes ---

extreme = st.builds(
    sighting,
    captured_at_ms=st.integers(-(2**53), 2**53),
    seconds_from_shot=st.integers(-(2**54), 2**54).map(lambda ms: ms / 1000),
    distance_m=st.integers(0, 20_015_115),
    confidence=st.floats(0, 1),
    required_speed_mps=st.none() | st.floats(0, 1e12),
)


@no_deadline
@given(st.lists(extreme, max_size=50), st.integers(-(2**53), 2**53), st.integers(0, 2**53), st.integers(0, 2**53))
def test_extreme_numbers_can_be_scored(seen, list_updated_at_ms, before_ms, after_ms):
    rules = JoinRules(before_ms=before_ms, after_ms=after_ms)
    result = scored(*seen, listed=hit(list_updated_at_ms=list_updated_at_ms), rules=rules)
    assert 0 <= result.score <= 1


def test_a_window_of_three_days_can_be_scored():
    """A ``before_ms`` of three days is allowed; the read is at the far end of the window."""
    rules = JoinRules(before_ms=3 * 24 * HOUR_MS)
    assert scored(sighting(seconds_from_shot=-3 * 24 * 3_600.0), rules=rules).score == 0.0
