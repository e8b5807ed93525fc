"""The score: monotone where common sense expects it, and deterministic."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from streams.core.events import Reason, Sighting, VehicleHit
from streams.core.rules import JoinRules
from streams.core.scoring import DEFAULT, Score, score

unhurried = settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
HOUR_MS = 3_600_000
AT_MS = 1_780_000_000_000
RULES = JoinRules()
ROUNDING = 0.0011
"""Weights are told in thousandths, and so is the score: laws hold up to one step."""


def hit(**said: Any) -> VehicleHit:
    return structs.replace(VehicleHit("H", "SIMB01", AT_MS - 5 * HOUR_MS, region="CT"), **said)


def sighting(**said: Any) -> Sighting:
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
    return structs.replace(plain, **said)


def scored(*sightings: Sighting, listed: VehicleHit | None = None, rules: JoinRules = RULES) -> Score:
    return score(listed or hit(), True, sightings, rules)


def reason(given: Score, code: str) -> Reason | None:
    return next((reason for reason in given.reasons if reason.code == code), None)


def fitting(distance_m: int) -> Sighting:
    """A read just when a car would be expected to have driven that far."""
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


def test_without_sightings_there_is_nothing_to_score():
    assert scored() == Score(score=0.0, strength="low", reasons=[], warnings=[])


def test_a_close_read_that_fits_is_strong_and_a_far_one_that_does_not_is_weak():
    assert scored(sighting()).score > DEFAULT.medium_from
    off = sighting(distance_m=8_000, seconds_from_shot=1_800.0, direction="off")
    assert scored(off).strength == "low"


@pytest.mark.parametrize(
    ("seconds_from_shot", "direction", "agrees"), [(60, "on", 1), (60, "off", 0), (-60, "off", 1), (-60, "on", 0)]
)
def test_on_after_the_shot_and_off_before_it_agree(seconds_from_shot, direction, agrees):
    told = reason(scored(sighting(seconds_from_shot=float(seconds_from_shot), direction=direction)), "direction")
    assert told is not None
    assert (told.value, told.weight > 0) == (agrees, bool(agrees))


@unhurried
@given(some, st.sampled_from(["SIMB01", "5IMB01"]))
def test_a_score_is_a_number_of_thousandths_from_0_to_1_and_its_reasons_add_up_to_it(seen, plate):
    given_score = scored(*seen, listed=hit(plate=plate))
    assert 0 <= given_score.score <= 1
    assert given_score.score == round(given_score.score, 3)
    odds = given_score.score / (1 - given_score.score) if given_score.score < 1 else float("inf")
    log_odds = DEFAULT.prior_log_odds + sum(told.weight for told in given_score.reasons)
    from_reasons = 1 / (1 + 2.718281828459045**-log_odds)
    assert from_reasons == pytest.approx(given_score.score, abs=0.000501), odds


@unhurried
@given(some)
def test_the_same_facts_score_the_same(seen):
    assert scored(*seen) == scored(*seen)


@unhurried
@given(some)
def test_the_strength_is_derived_from_the_rounded_score(seen):
    told = scored(*seen)
    expected = "high" if told.score >= 0.7 else "medium" if told.score >= 0.35 else "low"
    assert told.strength == expected


# --- monotone ---


@unhurried
@given(sightings)
def test_a_lookalike_never_scores_higher_than_the_exact_plate(seen):
    plates = ("SIMB01", "5IMB01", "51MB01", "51M801")
    told = [scored(structs.replace(seen, plate_as_read=plate)).score for plate in plates]
    assert told == sorted(told, reverse=True)
    assert "lookalike" in scored(structs.replace(seen, plate_as_read="5IMB01")).warnings


@unhurried
@given(sightings, st.floats(0, 1), st.floats(0, 1))
def test_a_lower_confidence_never_scores_higher(seen, one, other):
    low, high = sorted((one, other))
    assert scored(structs.replace(seen, confidence=low)).score <= scored(structs.replace(seen, confidence=high)).score


@unhurried
@given(some, st.integers(-(10**9), 10**10), st.integers(0, 10**10))
def test_an_older_list_never_scores_higher(seen, age_ms, older_by_ms):
    young = hit(list_updated_at_ms=AT_MS - age_ms)
    old = hit(list_updated_at_ms=AT_MS - age_ms - older_by_ms)
    assert scored(*seen, listed=old).score <= scored(*seen, listed=young).score


@unhurried
@given(st.integers(0, 8_000), st.integers(0, 8_000))
def test_farther_away_never_scores_higher_at_the_delay_that_fits(one, other):
    near, far = sorted((one, other))
    assert scored(fitting(far)).score <= scored(fitting(near)).score


@unhurried
@given(sightings, st.integers(0, 8_000))
def test_farther_away_never_scores_higher_at_the_same_delay(seen, farther_by_m):
    far = structs.replace(seen, distance_m=seen.distance_m + farther_by_m)
    assert scored(far).score <= scored(seen).score + ROUNDING


@unhurried
@given(sightings, st.integers(0, 3_000_000), st.integers(0, 3_000_000), st.sampled_from([-1, 1]))
def test_a_delay_that_fits_worse_never_scores_higher(seen, one, other, sign):
    expected_s = DEFAULT.typical_pause_s + seen.distance_m / DEFAULT.typical_speed_mps
    better, worse = sorted((one, other))
    told = [
        scored(structs.replace(seen, seconds_from_shot=sign * (expected_s + off_ms / 1000))).score
        for off_ms in (better, worse)
    ]
    assert told[1] <= told[0]


@unhurried
@given(some, sightings)
def test_a_corroborating_read_never_lowers(seen, another):
    assert scored(*seen, another).score >= scored(*seen).score - ROUNDING


@unhurried
@given(some, sightings)
def test_an_unknown_region_never_scores_higher_than_one_that_agrees(seen, another):
    assert scored(*seen, listed=hit(region=None)).score <= scored(*seen).score
    nowhere = [structs.replace(s, region="Ontario") for s in seen]
    known = [structs.replace(s, region="US-CT") for s in seen]
    assert scored(*nowhere).score <= scored(*known).score


@pytest.mark.parametrize(
    ("field", "listed", "same", "other"), [("make", "Ford", " FORD", "Kia"), ("colour", "Grün", "GRÜN", "red")]
)
def test_a_make_or_colour_that_differs_lowers_and_one_not_told_does_not(field, listed, same, other):
    car = hit(**{field: listed})
    agreeing, silent = scored(sighting(**{field: same}), listed=car), scored(sighting(), listed=car)
    differing = scored(sighting(**{field: other}), listed=car)
    assert agreeing == silent
    assert differing.score < silent.score
    assert differing.warnings == [f"{field}_differs"]
    assert scored(sighting(**{field: other}), sighting(**{field: same}), listed=car).warnings == []


# --- warnings ---


@pytest.mark.parametrize(("confidence", "warned"), [(0.8, False), (0.7999, True)])
def test_a_confidence_below_four_fifths_warns(confidence, warned):
    assert ("low_confidence" in scored(sighting(confidence=confidence)).warnings) is warned


@pytest.mark.parametrize(("age_ms", "warned"), [(12 * HOUR_MS, False), (12 * HOUR_MS + 1_000, True), (-1, False)])
def test_a_list_older_than_twelve_hours_at_the_read_warns(age_ms, warned):
    seen = sighting()
    told = scored(seen, listed=hit(list_updated_at_ms=seen.captured_at_ms - age_ms))
    assert ("list_age" in told.warnings) is warned


def test_the_age_of_a_list_lowers_no_more_than_the_least():
    told = reason(scored(sighting(), listed=hit(list_updated_at_ms=0)), "list_age")
    assert told is not None
    assert told.weight == DEFAULT.list_age_least


@pytest.mark.parametrize(("plate", "warned"), [("T0-Y", True), ("SIMB", True), ("SIMB0", False)])
def test_a_short_plate_warns(plate, warned):
    told = scored(sighting(plate_as_read=plate), listed=hit(plate=plate))
    assert ("plate_short" in told.warnings) is warned


def test_a_shot_that_nobody_confirmed_warns():
    assert score(hit(), False, [sighting()], RULES).warnings == ["unreviewed"]
    assert score(hit(), True, [sighting()], RULES).warnings == []


def test_every_doubt_that_counted_is_a_warning_and_no_evidence_is():
    told = scored(
        sighting(confidence=0.6, region=None, plate_as_read="5IMB01"),
        sighting(confidence=0.6, region=None, plate_as_read="5IMB01"),
    )
    assert set(told.warnings) == {"lookalike", "region_unknown", "low_confidence"}
    assert {r.code for r in told.reasons} - set(told.warnings) == {"delay", "distance", "direction", "corroboration"}


def test_further_reads_count_for_no_more_than_a_cap():
    told = reason(scored(*[sighting(read_id=f"R{n}") for n in range(50)]), "corroboration")
    assert told is not None
    assert (told.value, told.weight) == (49.0, 2.0)


# --- extremes ---

extreme = st.builds(
    sighting,
    captured_at_ms=st.integers(-(2**53), 2**53),
    seconds_from_shot=st.integers(-(2**54), 2**54).map(lambda ms: ms / 1000),
    distance_m=st.integers(0, 20_015_115),
    confidence=st.floats(0, 1),
    required_speed_mps=st.none() | st.floats(0, 1e12),
)


@unhurried
@given(st.lists(extreme, max_size=50), st.integers(-(2**53), 2**53), st.integers(0, 2**53), st.integers(0, 2**53))
def test_no_numbers_are_too_extreme_to_be_scored(seen, list_updated_at_ms, before_ms, after_ms):
    rules = JoinRules(before_ms=before_ms, after_ms=after_ms)
    told = scored(*seen, listed=hit(list_updated_at_ms=list_updated_at_ms), rules=rules)
    assert 0 <= told.score <= 1


def test_a_window_of_three_days_can_be_scored():
    """A setting that is allowed: ``before_ms`` of three days, a read at its far end."""
    rules = JoinRules(before_ms=3 * 24 * HOUR_MS)
    assert scored(sighting(seconds_from_shot=-3 * 24 * 3_600.0), rules=rules).score == 0.0
