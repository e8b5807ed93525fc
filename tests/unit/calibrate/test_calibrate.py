"""Fitting and measuring: checked by hand, reproducible, better than the baselines out of sample."""

from __future__ import annotations

import json
import random

import msgspec
import pytest
from msgspec import structs

from streams.calibrate.calibrate import CHECK_SEEDS, FIRST_HELD_OUT, FIRST_SEED, as_json, calibrate, threshold
from streams.calibrate.evaluate import Evaluation, evaluate
from streams.calibrate.examples import ANYWHERE, label_week, simulate_week
from streams.calibrate.logistic import probability, regress, solve
from streams.calibrate.measure import average_precision, quality
from streams.calibrate.table import BEGIN, END, markdown, write_tables
from streams.core.errors import RampwatchError
from streams.core.rules import JoinRules
from streams.core.site import Site
from streams.resources.calibration import FILE, Fitted, digest, load_calibration, read_calibration, shipped_path
from streams.resources.paths import resource_path
from streams.resources.sites import load_site
from streams.simulate.city import City
from tests.drivers.command import rampwatch

TRAINING = range(FIRST_SEED, FIRST_SEED + CHECK_SEEDS)
HELD_OUT = range(FIRST_HELD_OUT, FIRST_HELD_OUT + 4)


def quiet(_: str, __: float) -> None:
    """Discard progress messages."""


@pytest.fixture(scope="module")
def hartford() -> Site:
    return load_site("hartford")


@pytest.fixture(scope="module")
def fitted(hartford: Site) -> Fitted:
    return calibrate(hartford, TRAINING, quiet)


@pytest.fixture(scope="module")
def week(hartford: Site) -> City:
    return simulate_week(hartford, FIRST_HELD_OUT)


# --- measures ---


def test_average_precision_matches_a_ranking_worked_by_hand():
    """True, false, true, and a third true one never ranked: (1/1 + 2/3 + 0) / 3."""
    ranking = [(0.9, True), (0.8, False), (0.7, True)]
    assert average_precision(ranking, 3) == pytest.approx((1 + 2 / 3) / 3)
    assert average_precision([], 3) == 0.0


def test_ties_count_as_one_step_in_any_order():
    tied = [(0.5, True), (0.5, False), (0.5, False), (0.5, True)]
    assert average_precision(tied, 2) == average_precision(tied[::-1], 2) == 0.5


def test_recall_includes_true_links_that_were_never_proposed():
    measured = quality([True, False, True, False], 8)
    assert (measured.precision, measured.recall) == (0.5, 0.25)


def test_a_threshold_is_the_lowest_score_that_reaches_the_required_precision():
    ranking = [(0.905, True), (0.7, True), (0.5, False), (0.3, True), (0.1, False)]
    assert threshold(ranking, 1.0) == 0.51
    assert threshold(ranking, 0.75) == 0.11
    assert threshold(ranking, 0.6) == 0.0
    assert threshold([(0.4, False)], 0.9) == 1.0


# --- the regression ---


def test_a_system_of_equations_with_a_zero_pivot_is_solved():
    assert solve([[0.0, 2.0], [3.0, 1.0]], [4.0, 5.0]) == pytest.approx([1.0, 2.0])


def test_a_regression_recovers_the_coefficients_that_generated_the_verdicts():
    rng = random.Random(1)
    rows = [[1.0, rng.uniform(-2, 2), rng.uniform(0, 3)] for _ in range(5_000)]
    verdicts = [rng.random() < probability(-1.0 + 1.5 * row[1] + 0.5 * row[2]) for row in rows]
    assert regress(rows, verdicts) == pytest.approx([-1.0, 1.5, 0.5], abs=0.12)


def test_a_coefficient_with_the_wrong_sign_is_set_to_zero():
    rng = random.Random(1)
    rows = [[1.0, rng.uniform(-2, 2), rng.uniform(0, 3)] for _ in range(5_000)]
    verdicts = [rng.random() < probability(1.5 * row[1] - 0.5 * row[2]) for row in rows]
    free, fits, against = regress(rows, verdicts)
    assert against == 0.0
    assert fits > 1
    assert free < 0


# --- labelled weeks ---


def test_a_week_has_more_false_incidents_than_true_ones_and_not_every_true_link_is_found(hartford: Site, week: City):
    labelled = label_week(hartford, week, JoinRules(), load_calibration())
    true = sum(example.linked for example in labelled.examples)
    assert 3 <= true <= labelled.true_links
    assert len(labelled.examples) > 2 * true
    anywhere = label_week(hartford, week, ANYWHERE, load_calibration())
    assert len(anywhere.examples) > len(labelled.examples)


def test_no_incident_of_a_dismissed_shot_remains_after_its_review(hartford: Site, week: City):
    dismissed = {record.key for record in week.records if record.value.get("status") == "dismissed"}
    assert dismissed
    labelled = label_week(hartford, week, JoinRules(), load_calibration())
    assert not dismissed & {example.incident.shot.alert_id for example in labelled.examples}


# --- fitting and evaluating, small ---


def test_the_shipped_file_matches_what_the_command_writes(fitted: Fitted):
    """Refitted to the first few of its seeds.

    If this fails, the code has changed since: run rampwatch calibrate.
    """
    shipped_file = read_calibration(resource_path("calibration", FILE))
    assert fitted.check == shipped_file.check
    assert fitted.calibration != shipped_file.calibration  # the shipped one is fitted on more weeks


def test_a_written_calibration_reads_back_unchanged(tmp_path, fitted: Fitted):
    path = tmp_path / FILE
    path.write_bytes(as_json(fitted))
    assert read_calibration(path) == fitted
    assert fitted.seeds == (1, CHECK_SEEDS)
    assert fitted.precision["high"] >= 0.9
    assert fitted.precision["medium"] >= 0.75


def test_a_small_fit_is_close_to_the_shipped_one(fitted: Fitted):
    large, small = load_calibration(), fitted.calibration
    assert small.typical_speed_mps == pytest.approx(large.typical_speed_mps, rel=0.5)
    assert small.prior_log_odds == pytest.approx(large.prior_log_odds, abs=1.5)
    assert small.distance_scale_m == pytest.approx(large.distance_scale_m, rel=0.6)


def test_the_score_ranks_better_than_each_baseline_on_held_out_weeks(hartford: Site, fitted: Fitted):
    evaluated = evaluate(hartford, hartford, HELD_OUT, 0, fitted.calibration, quiet)
    for lines in (evaluated.with_lookalikes, evaluated.without_lookalikes):
        anything, nearest, unscored, scored, medium, high = lines
        assert scored.average_precision is not None
        for simpler in (anything, nearest, unscored):
            assert simpler.average_precision is not None
            assert simpler.error is not None
            assert scored.average_precision > simpler.average_precision + 2 * simpler.error
        assert unscored.quality.precision > anything.quality.precision
        assert high.quality.precision > medium.quality.precision > unscored.quality.precision
        assert high.quality.recall <= medium.quality.recall <= scored.quality.recall == unscored.quality.recall
    assert evaluated.with_lookalikes[2].quality.correct >= evaluated.without_lookalikes[2].quality.correct
    assert sum(band.incidents for band in evaluated.bands) == evaluated.with_lookalikes[3].quality.proposed


# --- the tables ---


def evaluation() -> Evaluation:
    return Evaluation("hartford", "0123", (1_001, 1_006), (1_001, 1_002), [], [], [], [])


def test_the_tables_in_the_docs_match_the_shipped_calibration():
    """If this fails, the calibration is newer: run rampwatch evaluate as the document describes."""
    text = resource_path("calibration", "README.md").read_text()
    assert f"calibration `{digest(load_calibration())}`" in text
    assert "the join, by score" in text


def test_tables_replace_only_the_text_between_the_markers(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    write_tables(markdown(evaluation()), path)
    write_tables(markdown(evaluation()), path)
    text = path.read_text()
    assert text.startswith(f"before\n\n{BEGIN}\n\nHartford, simulated weeks with seeds 1001 to 1006")
    assert text.endswith(f"{END}\n\nafter\n")
    assert "old" not in text
    assert text.count(BEGIN) == 1


def test_a_document_without_markers_is_unchanged_and_a_new_one_gets_them(tmp_path):
    path = tmp_path / "other.md"
    path.write_text("mine\n")
    with pytest.raises(RampwatchError, match="so nothing was replaced"):
        write_tables("table", path)
    assert path.read_text() == "mine\n"
    write_tables("table\n", tmp_path / "out" / "new.md")
    assert (tmp_path / "out" / "new.md").read_text() == f"{BEGIN}\n\ntable\n\n{END}\n"


def test_an_invalid_or_unknown_plan_field_is_rejected(hartford: Site):
    with pytest.raises(ValueError, match="misread_share"):
        simulate_week(hartford, 1, misread_share=2.0)
    with pytest.raises(TypeError, match="luck"):
        simulate_week(hartford, 1, luck=1.0)


def test_rules_for_anywhere_differ_from_the_join_rules_only_in_distance_and_speed():
    assert structs.replace(ANYWHERE, max_distance_m=8_000, max_speed_mps=45) == JoinRules()


# --- the commands ---


def test_calibrate_writes_a_usable_file(tmp_path):
    ended = rampwatch("calibrate", "--seeds", "2", "--out", "mine.json", cwd=tmp_path)
    assert ended.returncode == 0
    assert "simulated incidents" in ended.stderr
    assert read_calibration(tmp_path / "mine.json").seeds == (1, 2)


def test_calibrate_rejects_held_out_weeks(tmp_path):
    ended = rampwatch("calibrate", "--seeds", str(FIRST_HELD_OUT), "--out", "mine.json", cwd=tmp_path)
    assert ended.returncode != 0
    assert not (tmp_path / "mine.json").exists()


def test_evaluate_rejects_a_document_without_markers_before_it_starts(tmp_path):
    (tmp_path / "notes.md").write_text("mine\n")
    ended = rampwatch("evaluate", "--markdown", "notes.md", cwd=tmp_path)
    assert ended.returncode == 2
    assert "so nothing was replaced" in ended.stderr


def test_calibrate_without_a_file_prints_the_calibration_and_leaves_the_shipped_one(tmp_path):
    shipped = shipped_path().read_bytes()
    ended = rampwatch("calibrate", "--seeds", "2", cwd=tmp_path)
    assert ended.returncode == 0
    (tmp_path / "printed.json").write_text(ended.stdout)
    assert read_calibration(tmp_path / "printed.json").seeds == (1, 2)
    assert shipped_path().read_bytes() == shipped
    assert [file.name for file in tmp_path.iterdir()] == ["printed.json"]


@pytest.mark.parametrize("out", ["shipped", "link", "notes.md", "folder", "gone/mine.json"])
def test_calibrate_asks_first_whether_its_file_can_be_written(tmp_path, out):
    (tmp_path / "notes.md").write_text("mine\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(shipped_path())
    shipped = shipped_path().read_bytes()
    path = str(shipped_path()) if out == "shipped" else out
    ended = rampwatch("calibrate", "--seeds", "1000", "--out", path, cwd=tmp_path, timeout_s=20)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"rampwatch: --out {path}: ")
    assert ended.stderr.count("\n") == 1
    assert (tmp_path / "notes.md").read_text() == "mine\n"
    assert shipped_path().read_bytes() == shipped


def test_calibrate_replaces_an_older_calibration_of_ours(tmp_path):
    (tmp_path / "mine.json").write_bytes(shipped_path().read_bytes())
    assert rampwatch("calibrate", "--seeds", "2", "--out", "mine.json", cwd=tmp_path).returncode == 0
    assert read_calibration(tmp_path / "mine.json").seeds == (1, 2)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.json"]


@pytest.fixture
def cautious(tmp_path) -> str:
    """The path of a calibration that calls nothing high."""
    content = msgspec.json.decode(shipped_path().read_bytes())
    content["calibration"] |= {"high_from": 1.0, "medium_from": 1.0, "prior_log_odds": -9.0}
    path = tmp_path / "cautious.json"
    path.write_bytes(msgspec.json.encode(content))
    return str(path)


def strengths(lines: str) -> set[str]:
    return {incident["strength"] for incident in map(json.loads, lines.splitlines())}


def test_the_setting_calibration_is_used_by_a_replay_and_is_in_the_digest(tmp_path, cautious):
    assert rampwatch("generate", "--seed", "7", "city", cwd=tmp_path).returncode == 0
    digests, found = [], []
    for out, variables in (("shipped", {}), ("other", {"RAMPWATCH_CALIBRATION": cautious})):
        assert rampwatch("replay", "city", "--out", out, cwd=tmp_path, **variables).returncode == 0
        lines = [json.loads(line) for line in (tmp_path / out / "linked-incidents.jsonl").read_text().splitlines()]
        digests.append({line["headers"]["rampwatch-digest"] for line in lines})
        found.append({line["value"]["strength"] for line in lines})
        checked = json.loads(rampwatch("check", "--json", cwd=tmp_path, **variables).stdout)
        assert {checked["results_digest"]} == digests[-1]
    assert digests[0] != digests[1]
    assert "high" in found[0]
    assert found[1] == {"low"}


def test_the_setting_calibration_is_used_by_the_demo_and_by_evaluate(tmp_path, cautious):
    demo = ["demo", "--no-broker", "--json", "--speed", "1000000"]
    assert "high" in strengths(rampwatch(*demo, cwd=tmp_path).stdout)
    assert strengths(rampwatch(*demo, cwd=tmp_path, RAMPWATCH_CALIBRATION=cautious).stdout) == {"low"}
    printed = rampwatch("evaluate", "--seeds", "2", cwd=tmp_path, RAMPWATCH_CALIBRATION=cautious).stdout
    assert f"calibration `{digest(load_calibration(cautious))}`" in printed


@pytest.mark.parametrize("command", ["check", "demo --no-broker --speed 1e9", "evaluate", "replay . --out out"])
def test_a_calibration_that_is_missing_is_reported_with_the_setting(tmp_path, command):
    (tmp_path / "shot-spotter-alerts.jsonl").touch()
    ended = rampwatch(*command.split(), cwd=tmp_path, RAMPWATCH_CALIBRATION="gone.json")
    assert ended.returncode == 2
    assert "gone.json: the file that the setting calibration names cannot be read (No such file" in ended.stderr
    assert "Traceback" not in ended.stderr
