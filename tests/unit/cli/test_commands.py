from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.core.topics import INCIDENTS, INPUTS
from tests.drivers.command import rampwatch, started

COMMANDS = [
    "demo",
    "replay",
    "generate",
    "examples",
    "bench",
    "calibrate",
    "evaluate",
    "acls",
    "counters",
    "scan",
    "false-alarms",
    "broker",
    "check",
    "worker",
    "topics create",
    "topics check",
]
NOBODY = "127.0.0.1:1"


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated day in ``city`` and its outcomes in ``answers``."""
    folder = tmp_path_factory.mktemp("cli")
    assert rampwatch("generate", "--seed", "7", "city", cwd=folder).returncode == 0
    assert rampwatch("replay", "city", "--out", "answers", cwd=folder).returncode == 0
    return folder


# --- help


def test_every_command_is_tested_here(tmp_path: Path) -> None:
    shown = rampwatch("--help", cwd=tmp_path, COLUMNS="200").stdout
    names = {words[1] for line in shown.splitlines() if len(words := line.split()) > 2 and words[0] == "│"}
    assert names - {"--help", "--version"} == {command.split()[0] for command in COMMANDS}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_explains_every_parameter(command: str, tmp_path: Path) -> None:
    shown = rampwatch(*command.split(), "--help", cwd=tmp_path, COLUMNS="200")
    assert shown.returncode == 0
    assert len(shown.stdout.split("\n\n")[1]) > 20, "the command itself is not explained"
    rows = [line.strip("│ ").removeprefix("*").strip() for line in shown.stdout.splitlines() if line.startswith("│")]
    assert rows
    for row in rows:
        name, *help_text = re.split(r"  +", re.sub(r"\[(required|default: .*)\]", "", row).strip())
        assert help_text, f"{name} is not explained"
        assert len(help_text[0]) > 5, f"{name} is not explained"


# --- invalid values


# the command line and the text that its error message must contain
SLIPS = {
    "demo --site atlantis": "atlantis",
    "demo --config nowhere.toml": "nowhere.toml",
    "demo --config no.toml": "no.toml: not valid TOML",
    "demo --config unknown-key.toml": "brokr: no such setting",
    "demo --config unknown-rule.toml": "join.befor_ms: no such setting",
    "demo --config .": "cannot be read",
    "demo --shots list.csv": "expected CSV",
    "demo --shots nowhere.csv": "nowhere.csv",
    "demo --speed 0": "--speed",
    "demo --speed -3": "--speed",
    "demo --speed nan": "--speed",
    "demo --speed inf": "--speed",
    "demo --for -1": "--for",
    "demo --for 0": "--for",
    "demo --for nan": "--for",
    "demo --for soon": "--for",
    "demo --seed 1.5": "--seed",
    "demo hartford": "rampwatch demo: unexpected argument; see rampwatch demo --help",
    "generate city --days 0": "--days",
    "generate city --days 1.5": "--days",
    "generate city --days -1": "--days",
    "generate city --begin yesterday": "'yesterday': expected a date",
    "generate city --begin 2026-02-30": "'2026-02-30': expected a date",
    "generate city --shots list.csv": "expected CSV",
    "generate list.csv": "list.csv: cannot be written",
    "generate": "--out",
    "replay nowhere --out answers": "nowhere: no such folder",
    "replay . --out answers": "not an archive",
    "replay list.csv --out answers": "list.csv",
    "replay nowhere": "--out",
    "replay . --out answers --expect answers": "--expect",
    "broker --port 99999": "port 99999: not a port number",
    "broker --port 0": "port 0: not a port number",
    "broker --port 1.5": "--port",
    "worker --site atlantis": "atlantis",
    "worker --prefix a/b": "a/b",
    "topics make": "make",
    "dmo": "demo",
}


@pytest.mark.parametrize("line", SLIPS)
def test_an_invalid_value_is_reported_in_one_sentence(line: str, tmp_path: Path) -> None:
    (tmp_path / "no.toml").write_text("broker = = 1\n")
    (tmp_path / "unknown-key.toml").write_text('brokr = "127.0.0.1:9092"\n')
    (tmp_path / "unknown-rule.toml").write_text("[join]\nbefor_ms = 1\n")
    (tmp_path / "list.csv").write_text("some,other,list\n1,2,3\n")
    before = sorted(tmp_path.iterdir())
    ended = rampwatch(*line.split(), cwd=tmp_path, COLUMNS="300")
    assert_one_sentence(ended, SLIPS[line])
    assert sorted(tmp_path.iterdir()) == before, "something was written all the same"


@pytest.mark.parametrize(
    ("name", "text"),
    [("RAMPWATCH_BROKR", "x"), ("RAMPWATCH_PARTITIONS", "many"), ("RAMPWATCH_JOIN_BEFORE_MS", "-1")],
)
def test_an_invalid_variable_is_reported_in_one_sentence(name: str, text: str, tmp_path: Path) -> None:
    assert_one_sentence(rampwatch("demo", "--no-broker", cwd=tmp_path, COLUMNS="300", **{name: text}), name)


@pytest.mark.parametrize("command", ["topics create", "topics check"])
def test_an_unreachable_broker_is_reported_in_one_sentence(command: str, tmp_path: Path) -> None:
    ended = rampwatch(*command.split(), cwd=tmp_path, COLUMNS="300", RAMPWATCH_BROKER=NOBODY)
    assert_one_sentence(ended, f"{NOBODY}: no Kafka broker responds")


def assert_one_sentence(ended: subprocess.CompletedProcess[str], named: str) -> None:
    assert ended.returncode == 2, ended.stderr
    assert ended.stdout == ""
    assert named in ended.stderr
    sentences = [line for line in ended.stderr.splitlines() if line.strip(" ╭╮╰╯─") not in ("", "Error")]
    assert len(sentences) == 1, "more, or less, than a sentence"


def test_a_command_group_alone_lists_its_commands(tmp_path: Path) -> None:
    shown = rampwatch("topics", cwd=tmp_path).stdout
    assert "create" in shown
    assert "check" in shown


# --- stdout, stderr and terminals


def test_the_demo_prints_json_incidents_to_stdout_and_everything_else_to_stderr(tmp_path: Path) -> None:
    ended = rampwatch("demo", "--no-broker", "--speed", "5000", "--json", cwd=tmp_path)
    assert ended.returncode == 0
    incidents = [json.loads(line) for line in ended.stdout.splitlines()]
    assert incidents
    assert all(incident["caution"] for incident in incidents)
    assert "simulated" in ended.stderr
    assert f"{len({incident['incident_id'] for incident in incidents})} linked incidents" in ended.stderr


def test_the_demo_exits_quietly_when_its_output_pipe_closes(tmp_path: Path) -> None:
    demo = ["demo", "--no-broker", "--speed", "5000", "--json"]
    with started(*demo, cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())
        process.stdout.close()
        assert "Error" not in process.stderr.read()
    assert process.returncode == 141


def test_piped_output_has_no_colours_and_no_progress(city: Path) -> None:
    demo = rampwatch("demo", "--no-broker", "--speed", "5000", cwd=city, TERM="xterm-256color")
    replay = rampwatch("replay", "city", "--out", "piped", cwd=city, TERM="xterm-256color")
    for ended in (demo, replay):
        assert ended.stdout
        assert "\x1b" not in ended.stdout + ended.stderr
        assert "\r" not in ended.stdout + ended.stderr


def test_a_terminal_shows_colours_and_progress_and_stdout_is_unchanged(city: Path) -> None:
    errors, output = on_a_terminal(city, "replay", "city", "--out", "seen", "--json")
    assert "\x1b[" in errors
    assert "records" in errors
    assert output == rampwatch("replay", "city", "--out", "seen", "--json", cwd=city).stdout


@pytest.mark.parametrize("command", ["calibrate --seeds 3 --out mine.json", "evaluate --seeds 2 --markdown new.md"])
def test_a_terminal_shows_the_progress_of_long_work_in_percent(command: str, tmp_path: Path) -> None:
    errors, output = on_a_terminal(tmp_path, *command.split())
    assert re.search(r"\d+%", errors)
    assert output == ""
    assert "%" not in rampwatch(*command.split(), cwd=tmp_path).stderr


@pytest.mark.parametrize("name", ["[/bar]", ":car:", "[bold]x"])
def test_a_name_is_printed_as_it_was_given(name: str, city: Path) -> None:
    ended = rampwatch("replay", "city", "--out", name, cwd=city, COLUMNS="300")
    assert ended.returncode == 0, ended.stderr
    assert f"written to {name}\n" in ended.stderr
    again = rampwatch("replay", name, "--out", "again", cwd=city, COLUMNS="300")
    assert again.returncode == 2
    assert f"rampwatch: {name}: " in again.stderr
    site = rampwatch("check", "--site", name, cwd=city, COLUMNS="300")
    assert name in site.stderr


def on_a_terminal(folder: Path, *arguments: str) -> tuple[str, str]:
    """Run a command whose errors go to a terminal and whose output goes to a pipe; return both."""
    ours, its = pty.openpty()
    with started(*arguments, cwd=folder, stderr=its, TERM="xterm-256color") as process:
        os.close(its)
        errors = b"".join(read_until_closed(ours))
        os.close(ours)
        assert process.stdout is not None
        return errors.decode(), process.stdout.read()


def read_until_closed(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            part = os.read(terminal, 65_536)
        except OSError:  # Linux raises this when the other end has closed
            return
        if not part:
            return
        yield part


# --- replay


def test_the_outcomes_are_printed_as_json(city: Path) -> None:
    ended = rampwatch("replay", "city", "--out", "once", "--json", cwd=city)
    outcomes = json.loads(ended.stdout)
    assert outcomes.pop("rejected") == {}
    assert set(INPUTS) == set(outcomes)
    assert outcomes == json.loads((city / "once/outcomes.json").read_text())


def test_the_table_of_outcomes_is_not_truncated_on_a_narrow_screen(city: Path) -> None:
    ended = rampwatch("replay", "city", "--out", "narrow", cwd=city, COLUMNS="40")
    assert all(topic in ended.stdout for topic in INPUTS)
    assert "…" not in ended.stdout


def test_a_second_replay_gives_the_same_outcomes(city: Path) -> None:
    ended = rampwatch("replay", "city", "--out", "again", "--expect", "answers", cwd=city)
    assert ended.returncode == 0
    assert "no differences" in ended.stderr


def test_a_difference_exits_with_code_1_and_names_the_incident(city: Path) -> None:
    lines = (city / f"answers/{INCIDENTS}.jsonl").read_text().splitlines()
    last = {incident["incident_id"]: incident for line in lines if (incident := json.loads(line)["value"])}
    incident_id = next(name for name, incident in last.items() if incident["status"] == "open")
    others = [line for line in lines if incident_id not in line]
    (city / "less").mkdir()
    for file in (city / "answers").iterdir():
        (city / "less" / file.name).write_bytes(file.read_bytes())
    (city / f"less/{INCIDENTS}.jsonl").write_text("".join(f"{line}\n" for line in others))
    for as_json in (False, True):
        options = ["--json"] if as_json else []
        ended = rampwatch("replay", "city", "--out", "again", "--expect", "less", *options, cwd=city)
        assert ended.returncode == 1
        assert incident_id in (ended.stderr if as_json else ended.stdout)
        if as_json:
            json.loads(ended.stdout)
