"""The commands that read and write archives: the right site, whole files, what was rejected."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from streams.core.topics import SHOTS
from streams.replay.manifest import MANIFEST
from tests.drivers.command import environment, rampwatch, started
from tests.paths import ROOT

WEEK = ROOT / "deploy/samples/kansas-city-week.csv"
FULL = Path("/dev/full")
needs_a_full_device = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated day of Kansas City in ``city`` and its outcomes in ``answers``."""
    folder = tmp_path_factory.mktemp("archives")
    made = rampwatch("generate", "--site", "kansas-city", "--shots", str(WEEK), "--days", "1", "city", cwd=folder)
    assert made.returncode == 0, made.stderr
    replayed = rampwatch("replay", "city", "--site", "kansas-city", "--out", "answers", cwd=folder)
    assert replayed.returncode == 0, replayed.stderr
    (folder / "week.csv").write_bytes(WEEK.read_bytes())
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def error_of(ended: subprocess.CompletedProcess[str], code: int = 2) -> str:
    """The one sentence of a command that did nothing."""
    assert ended.returncode == code, ended.stderr
    assert ended.stdout == ""
    (sentence,) = ended.stderr.splitlines()
    return sentence


# --- the right site


@pytest.mark.parametrize(
    "line",
    [
        "counters week.csv",
        "counters city",
        "counters answers",
        "scan week.csv",
        "scan city",
        "false-alarms week.csv",
        "replay city --out elsewhere",
        "generate elsewhere --shots week.csv",
        "demo --no-broker --shots week.csv",
    ],
)
def test_another_citys_shots_are_refused_with_the_remedy(city: Path, line: str) -> None:
    sentence = error_of(rampwatch(*line.split(), "--site", "hartford", cwd=city))
    assert "hartford" in sentence
    assert sentence.endswith("use --site kansas-city")
    assert not (city / "elsewhere").exists()


def test_outcomes_of_another_site_are_refused_without_a_manifest_too(city: Path, tmp_path: Path) -> None:
    for name, text in contents(city / "answers").items():
        (tmp_path / name).write_bytes(text)
    (tmp_path / MANIFEST).unlink()
    assert rampwatch("counters", ".", "--site", "kansas-city", cwd=tmp_path).returncode == 0
    sentence = error_of(rampwatch("counters", ".", "--site", "hartford", cwd=tmp_path))
    assert "has counts of 245 zones that site hartford does not have; use --site kansas-city" in sentence


def test_expected_outcomes_of_another_site_are_refused_before_the_work(city: Path, tmp_path: Path) -> None:
    assert rampwatch("generate", "hartford", cwd=tmp_path).returncode == 0
    replayed = rampwatch("replay", "hartford", "--out", "out", "--expect", str(city / "answers"), cwd=tmp_path)
    assert "an archive of site kansas-city, not of hartford" in error_of(replayed)
    assert not (tmp_path / "out").exists()


def test_a_ramp_far_from_every_zone_is_reported(tmp_path: Path) -> None:
    site = json.loads((ROOT / "deploy/sites/hartford.geojson").read_bytes())
    ramp = next(feature for feature in site["features"] if feature["geometry"]["type"] == "Point")
    ramp["geometry"]["coordinates"][0] += 10
    (tmp_path / "typo.geojson").write_text(json.dumps(site))
    ended = rampwatch("generate", "--site", "typo.geojson", "city", cwd=tmp_path)
    assert ended.returncode == 0
    assert f"1 of 208 ramps are more than 100 km from all zones, such as {ramp['properties']['ramp_id']}" in (
        " ".join(ended.stderr.split())
    )


# --- since when is counted


def test_a_short_archive_is_not_compared_with_days_before_it(city: Path) -> None:
    for source in ("city", "answers", "week.csv"):
        shown = rampwatch("counters", source, "--site", "kansas-city", cwd=city)
        assert shown.returncode == 0, shown.stderr
        assert "Shots: counted since 2020-10-05, no comparison with earlier days" in shown.stdout
        assert "not counted then" in shown.stdout
        assert not re.search(r"\d new\b", shown.stdout)
        report = json.loads(rampwatch("counters", source, "--site", "kansas-city", "--json", cwd=city).stdout)
        assert report["counted_since"]["shots"] == "2020-10-05"
        compared = {
            period["comparison_count"] for counter in report["counters"] for period in counter["periods"].values()
        }
        assert compared == {None}


def test_the_setting_says_when_counting_began_if_the_data_do_not(city: Path) -> None:
    since = {"RAMPWATCH_COUNTERS_SHOTS_SINCE": "2019-01-01"}
    shown = rampwatch("counters", "week.csv", "--site", "kansas-city", cwd=city, **since)
    assert "Shots: counted since 2019-01-01" in shown.stdout
    assert re.search(r"\d new\b", shown.stdout)


# --- what was rejected


@pytest.mark.parametrize("command", ["counters", "scan"])
def test_refused_rows_of_a_table_are_counted_by_reason(city: Path, tmp_path: Path, command: str) -> None:
    rows = WEEK.read_text().splitlines()
    rows += [rows[1], "Single Gunshot,816-9,13/45/2020,1:00:00,Z,D,39.06,-94.55", "too,short"]
    (tmp_path / "more.csv").write_text("\n".join(rows))
    ended = rampwatch(command, "more.csv", "--site", "kansas-city", cwd=tmp_path)
    assert ended.returncode == 0
    (shown,) = ended.stderr.splitlines()
    assert (
        shown == f"more.csv: 3 of {len(rows) - 1} rows rejected: 1 cells, 1 repeated, 1 time; none of them is counted"
    )
    if command == "counters":
        report = json.loads(rampwatch(command, "more.csv", "--site", "kansas-city", "--json", cwd=tmp_path).stdout)
        assert report["rejected"] == {"cells": 1, "repeated": 1, "time": 1}


def test_refused_records_of_an_archive_are_counted_by_reason(city: Path, tmp_path: Path) -> None:
    for name, text in contents(city / "city").items():
        (tmp_path / name).write_bytes(text)
    (tmp_path / MANIFEST).unlink()
    with (tmp_path / f"{SHOTS}.jsonl").open("a") as file:
        file.write('broken\n{"value": {}}\nbroken\n')
    for line in ("replay . --out out", "counters .", "counters out"):
        ended = rampwatch(*line.split(), "--site", "kansas-city", cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        (shown,) = [row for row in ended.stderr.splitlines() if "rejected" in row]
        assert re.search(r": 3 of [\d,]+ rows rejected: 2 not_json, 1 schema; ", shown)
        as_json = rampwatch(*line.split(), "--site", "kansas-city", "--json", cwd=tmp_path)
        by_reason = {"not_json": 2, "schema": 1}
        expected = {SHOTS: by_reason} if line.startswith("replay") else by_reason
        assert json.loads(as_json.stdout)["rejected"] == expected


# --- whole or not at all


LIMITED = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, -1)); " + (
    "sys.argv[:] = ['rampwatch', *sys.argv[1:]]; runpy.run_module('streams.cli', run_name='__main__')"
)


def limited(limit: int, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command that may write no more than ``limit`` bytes to a file: as on a full disk."""
    command = [sys.executable, "-c", LIMITED.format(limit=limit), *arguments]
    return subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("generate new --site kansas-city --shots week.csv --days 1", "new/ramp-plate-reads.jsonl"),
        ("replay city --out new --site kansas-city", "new/spike-counters.jsonl"),
        ("replay city --out answers --site kansas-city", "answers/spike-counters.jsonl"),
        ("counters week.csv --site kansas-city --picture new.svg --json", "--picture new.svg"),
    ],
)
def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(city: Path, line: str, file: str) -> None:
    before = contents(city)
    ended = limited(5_000 if "new.svg" not in line else 100, *line.split(), cwd=city)
    assert error_of(ended, 1).startswith(f"rampwatch: {file}: cannot be written (File too large); free some space")
    assert contents(city) == before
    assert not (city / "new").exists()


@needs_a_full_device
@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize("line", ["counters week.csv", "replay city --out piped", "scan week.csv --permutations 19"])
def test_a_full_standard_output_is_one_sentence(city: Path, line: str, options: list[str]) -> None:
    with (
        FULL.open("w") as full,
        started(*line.split(), "--site", "kansas-city", *options, cwd=city, stdout=full) as process,
    ):
        assert process.stderr is not None
        errors = process.stderr.read().splitlines()
    assert process.returncode == 1
    assert errors[-1] == (
        "rampwatch: standard output cannot be written (No space left on device); free some space or send it elsewhere"
    )
    assert len(errors) == 1


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_closed_standard_output_ends_a_command_quietly(city: Path, options: list[str]) -> None:
    ours, its = os.pipe()
    os.close(ours)
    with started("counters", "week.csv", "--site", "kansas-city", *options, cwd=city, stdout=its) as process:
        os.close(its)
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode in (1, 141)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("generate answers --site kansas-city", "answers: holds an archive of outcomes; name another folder"),
        ("generate . --site kansas-city", ".: holds other files; name a new folder"),
        ("replay city --out city", "city: holds an archive of inputs; name another folder"),
        ("replay answers --out new", "answers: not an archive; it contains none of"),
        ("replay city --out new --expect nowhere", "nowhere: no such folder"),
        ("replay city --out new --expect week.csv", "week.csv: no such folder"),
        ("replay city --out new --expect new", "--expect new: same folder as --out"),
        ("replay city --out new --expect city", "--expect city: same folder as the archive"),
        ("replay city --out week.csv/new", "week.csv/new: cannot be written"),
        ("counters city --picture nowhere/picture.svg", "--picture nowhere/picture.svg: cannot be written"),
        ("counters city --picture answers", "--picture answers: cannot be written (it is a folder)"),
    ],
)
def test_folders_are_checked_before_the_work(city: Path, line: str, sentence: str) -> None:
    before = contents(city)
    options = [] if "--site" in line else ["--site", "kansas-city"]
    assert sentence in error_of(rampwatch(*line.split(), *options, cwd=city))
    assert contents(city) == before
    assert not (city / "new").exists()


def test_expected_outcomes_that_cannot_be_read_are_reported_before_the_work(city: Path, tmp_path: Path) -> None:
    for name, text in contents(city / "answers").items():
        (tmp_path / name).write_bytes(text + b"broken\n" if name == "linked-incidents.jsonl" else text)
    options = ["--site", "kansas-city", "--expect", str(tmp_path)]
    sentence = error_of(rampwatch("replay", "city", "--out", "new", *options, cwd=city))
    assert "is not a record with a key" in sentence
    assert not (city / "new").exists()


def test_an_archive_is_generated_again_over_itself(tmp_path: Path) -> None:
    first, second = [rampwatch("generate", "city", "--seed", "1", cwd=tmp_path) for _ in range(2)]
    assert first.returncode == second.returncode == 0


def test_brackets_in_a_folders_name_are_printed_as_they_are(city: Path) -> None:
    ended = rampwatch("replay", "city", "--out", "[bold]:car:[x]", "--site", "kansas-city", cwd=city)
    assert ended.returncode == 0, ended.stderr
    assert "written to [bold]:car:[x]" in ended.stderr


# --- progress


@pytest.mark.parametrize(
    "line",
    [
        "replay city --out seen --site kansas-city",
        "counters city --site kansas-city",
        "scan city --site kansas-city --permutations 200",
        "generate seen-too --site kansas-city --shots week.csv --days 1",
    ],
)
def test_long_work_shows_its_percentage_on_a_terminal(city: Path, line: str) -> None:
    ours, its = pty.openpty()
    with started(*line.split(), cwd=city, stderr=its, TERM="xterm-256color") as process:
        os.close(its)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65_536)
            except OSError:  # Linux raises this when the other end has closed
                break
            if not part:
                break
            shown += part
        os.close(ours)
    assert process.returncode == 0
    assert re.search(rb"\d+%", shown)
