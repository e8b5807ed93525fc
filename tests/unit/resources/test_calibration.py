"""The built-in calibration: it names its basis, and its scores agree with common sense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from streams.core.digest import results_digest
from streams.core.engine import Engine
from streams.core.events import Sighting, VehicleHit
from streams.core.rules import JoinRules
from streams.core.scoring import DEFAULT, Calibration, Score, score
from streams.replay.run import new_pipeline
from streams.resources.calibration import FILE, CalibrationError, load_calibration, read_calibration
from streams.resources.paths import resource_path
from streams.resources.sites import load_site

unhurried = settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
SHIPPED = load_calibration()
RULES = JoinRules()
AT_MS = 1_780_000_000_000
ROUNDING = 0.0011
PLAIN = Sighting(
    read_id="R",
    ramp_id="ramp",
    road="I-91",
    exit="48",
    direction="on",
    lat=41.7,
    lon=-72.6,
    captured_at_ms=AT_MS,
    stamp_ms=AT_MS,
    seconds_from_shot=200.0,
    distance_m=1_500,
    required_speed_mps=6.0,
    confidence=0.95,
    match="exact",
    plate_as_read="SIMB01",
    region="CT",
    make=None,
    colour=None,
)
reads = st.builds(
    lambda ms, metres, direction, confidence, plate: structs.replace(
        PLAIN,
        seconds_from_shot=ms / 1000,
        distance_m=metres,
        direction=direction,
        confidence=confidence,
        plate_as_read=plate,
    ),
    st.integers(-2_700_000, 1_800_000),
    st.integers(0, 8_000),
    st.sampled_from(["on", "off"]),
    st.floats(0.6, 1.0),
    st.sampled_from(["SIMB01", "5IMB01"]),
)


def scored(*sightings: Sighting, **listed: Any) -> Score:
    hit = structs.replace(VehicleHit("H", "SIMB01", AT_MS - 3_600_000, region="CT"), **listed)
    return score(hit, True, sightings, RULES, SHIPPED)


def as_file(folder: Path, **changed: Any) -> Path:
    fitted = read_calibration(resource_path("calibration", FILE))
    path = folder / "score.json"
    content = msgspec.to_builtins(fitted)
    content["calibration"] |= changed
    path.write_bytes(msgspec.json.encode(content))
    return path


# --- the file ---


def test_the_shipped_calibration_records_its_basis():
    fitted = read_calibration(resource_path("calibration", FILE))
    assert fitted.site == "hartford"
    assert fitted.seeds[1] < 1_001  # seeds from there on are held out
    assert 200 < fitted.linked < fitted.incidents
    assert fitted.precision["high"] >= 0.9
    assert fitted.precision["medium"] >= 0.75
    assert 0 < SHIPPED.medium_from < SHIPPED.high_from < 1
    assert fitted.recall["high"] < fitted.recall["medium"] < 1


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"about": "nothing else"}', b"\xff\xfe"])
def test_a_broken_file_is_rejected_in_one_sentence(tmp_path, content):
    path = tmp_path / "score.json"
    path.write_bytes(content)
    with pytest.raises(
        CalibrationError,
        match=r"score\.json: this calibration cannot be used .*; write one with rampwatch calibrate --out",
    ):
        read_calibration(path)


def test_a_missing_file_is_reported_in_one_sentence(tmp_path):
    with pytest.raises(CalibrationError, match=r"none\.json: this calibration cannot be read .*No such file"):
        read_calibration(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("lookalike", 0.5),
        ("make_differs", 0.1),
        ("list_age_per_day", 0.01),
        ("direction_against", 1.0),
        ("direction_fits", -0.1),
        ("further_read_share", -1.0),
        ("distance_scale_m", 0.0),
        ("late_spread_s", 0.0),
        ("distance_scale_m", 8_000.0),
        ("typical_speed_mps", -1.0),
        ("early_spread_s_per_m", 1.0),
    ],
)
def test_a_calibration_that_could_defy_common_sense_is_rejected(tmp_path, field, wrong):
    assert read_calibration(as_file(tmp_path)).calibration == SHIPPED
    with pytest.raises(CalibrationError, match=field):
        read_calibration(as_file(tmp_path, **{field: wrong}))


def test_a_calibration_with_an_unknown_field_is_rejected(tmp_path):
    with pytest.raises(CalibrationError, match="luck"):
        read_calibration(as_file(tmp_path, luck=1.0))


def test_the_results_digest_differs_between_calibrations():
    site = load_site("hartford")
    assert results_digest(site, RULES, SHIPPED) != results_digest(site, RULES, DEFAULT)
    assert results_digest(site, RULES, SHIPPED) == results_digest(site, RULES, structs.replace(SHIPPED))


def test_a_replay_scores_with_the_shipped_calibration_unless_given_another():
    site = load_site("hartford")
    shipped, other = new_pipeline(site, RULES), new_pipeline(site, RULES, DEFAULT)
    assert isinstance(shipped._engine, Engine)
    assert shipped._engine._builder._calibration == SHIPPED
    assert other._engine._builder._calibration == DEFAULT


# --- common sense, under the shipped numbers ---


@unhurried
@given(reads, st.integers(0, 8_000))
def test_farther_away_never_scores_higher_at_the_same_delay(read, farther_by_m):
    far = structs.replace(read, distance_m=read.distance_m + farther_by_m)
    assert scored(far).score <= scored(read).score + ROUNDING


@unhurried
@given(reads, st.integers(0, 1_800_000), st.integers(0, 1_800_000), st.sampled_from([-1, 1]), st.booleans())
def test_a_less_typical_delay_never_scores_higher(read, one, other, sign, later):
    pause_s = SHIPPED.typical_pause_s if sign > 0 else SHIPPED.typical_pause_before_s
    expected_ms = 1000 * (pause_s + read.distance_m / SHIPPED.typical_speed_mps)
    scores = []
    for off_ms in sorted((one, other)):
        delay_ms = expected_ms + off_ms if later else max(1.0, expected_ms - off_ms)
        scores.append(scored(structs.replace(read, seconds_from_shot=sign * delay_ms / 1000)).score)
    assert scores[1] <= scores[0] + ROUNDING


@unhurried
@given(st.lists(reads, min_size=1, max_size=5), reads)
def test_another_read_never_lowers_the_score(seen, another):
    assert scored(*seen, another).score >= scored(*seen).score - ROUNDING


@unhurried
@given(reads, st.floats(0, 1), st.floats(0, 1), st.integers(0, 10**10), st.integers(0, 10**10))
def test_lower_confidence_an_older_list_or_a_lookalike_never_scores_higher(read, one, other, age_ms, older_by_ms):
    low, high = (structs.replace(read, confidence=confidence) for confidence in sorted((one, other)))
    assert scored(low).score <= scored(high).score
    young, old = AT_MS - age_ms, AT_MS - age_ms - older_by_ms
    assert scored(read, list_updated_at_ms=old).score <= scored(read, list_updated_at_ms=young).score
    exact, lookalike = (structs.replace(read, plate_as_read=plate) for plate in ("SIMB01", "SIM801"))
    assert scored(lookalike).score <= scored(exact).score


@unhurried
@given(st.lists(reads, min_size=1, max_size=5))
def test_the_reasons_add_up_to_the_score(seen):
    result = scored(*seen)
    log_odds = SHIPPED.prior_log_odds + sum(reason.weight for reason in result.reasons)
    assert 1 / (1 + 2.718281828459045**-log_odds) == pytest.approx(result.score, abs=0.000501)


def test_a_getaway_scores_high_and_a_car_passing_later_and_far_away_scores_low():
    assert scored(PLAIN).strength == "high"
    passing = structs.replace(PLAIN, seconds_from_shot=1_500.0, distance_m=7_000, direction="off")
    assert scored(passing).strength == "low"


def test_arriving_too_early_scores_lower_than_arriving_too_late():
    """A minute too early is harder to explain than a minute too late: cars wait, but do not fly."""
    expected_s = SHIPPED.typical_pause_s + PLAIN.distance_m / SHIPPED.typical_speed_mps
    early, late = (structs.replace(PLAIN, seconds_from_shot=expected_s + by) for by in (-60.0, 60.0))
    assert scored(early).score < scored(late).score < scored(PLAIN).score + 0.05


def test_the_defaults_are_a_valid_calibration():
    assert Calibration() == DEFAULT
