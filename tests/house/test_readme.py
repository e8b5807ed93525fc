"""The documents are true: their commands are run, and their output is compared."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from streams.core.counters.rules import CounterRules
from streams.core.rules import JoinRules
from streams.core.topics import TOPICS, Topic
from streams.kafka import acls
from streams.kafka.acls import user_of
from streams.settings import Secret, Settings, read_settings
from tests.lanes import LANE, SOAK
from tests.paths import ROOT, SHARED

ACTIVATIONS = SHARED / "data" / "kansas-city" / "activations.csv"
README = (ROOT / "README.md").read_text("utf-8")
OPERATIONS = (ROOT / "deploy/README.md").read_text("utf-8")
CONTRACT = (ROOT / "schemas/README.md").read_text("utf-8")
PAGES = [page.relative_to(ROOT).as_posix() for page in sorted(ROOT.rglob("*.md")) if ".venv" not in page.parts]
TABLES: dict[str, type[msgspec.Struct]] = {"join": JoinRules, "counters": CounterRules}
PROSE = " ".join(README.split())
"""The README without its line breaks."""
INSTALLED = ".venv/bin/rampwatch"

MAKE = "tests/house/test_readme.py::test_make_has_the_targets_that_the_readme_names"
DEMO = "tests/house/test_readme.py::test_the_demo_runs_in_python_alone_and_prints_what_the_readme_shows"
REPLAY = "tests/house/test_readme.py::test_a_replay_prints_the_table_of_the_readme"
KAFKA = "tests/kafka/test_readme_commands.py::test_a_worker_runs_as_the_readme_says"
SECURE = "tests/house/test_readme.py::test_the_settings_of_a_secured_broker_fit_together"
ACLS = "tests/house/test_readme.py::test_the_table_of_rights_is_the_one_that_is_printed"
CHECK = "tests/house/test_readme.py::test_check_prints_what_the_operations_guide_says"
COUNTERS = "tests/house/test_readme.py::test_the_counters_of_a_replay_are_reported_and_drawn"
REAL = "tests/house/test_readme.py::test_real_gunshots_are_counted_and_clusters_looked_for_as_the_readme_says"
FALSE_ALARMS = "tests/house/test_readme.py::test_shuffled_days_raise_as_many_false_alarms_as_were_accepted"
WEEK = "tests/kafka/test_readme_commands.py::test_the_week_of_real_shots_runs_as_the_readme_says"

RUN_BY = {
    "make demo": MAKE,
    "make test": MAKE,
    ".venv/bin/rampwatch demo --no-broker --for 20 --json": DEMO,
    ".venv/bin/rampwatch demo --site kansas-city --for 60": WEEK,
    ".venv/bin/rampwatch generate --site hartford --seed 7 --days 1 out/city": REPLAY,
    ".venv/bin/rampwatch replay out/city --site hartford --out out/answers": REPLAY,
    ".venv/bin/rampwatch replay out/city --site hartford --out out/again --expect out/answers": REPLAY,
    ".venv/bin/rampwatch counters out/answers --site hartford --picture out/counters.svg": COUNTERS,
    ".venv/bin/rampwatch counters activations.csv --site kansas-city": REAL,
    ".venv/bin/rampwatch scan activations.csv --site kansas-city": REAL,
    ".venv/bin/rampwatch false-alarms activations.csv --site kansas-city": FALSE_ALARMS,
    ".venv/bin/rampwatch broker --port 29092": KAFKA,
    "export RAMPWATCH_BROKER=127.0.0.1:29092": KAFKA,
    ".venv/bin/rampwatch topics create": KAFKA,
    ".venv/bin/rampwatch topics check": KAFKA,
    ".venv/bin/rampwatch worker --site hartford --wait": KAFKA,
    "export RAMPWATCH_SECURITY_PROTOCOL=SASL_SSL": SECURE,
    "export RAMPWATCH_SASL_USERNAME=rampwatch-worker": SECURE,
    "export RAMPWATCH_SASL_PASSWORD_FILE=/run/secrets/rampwatch-worker": SECURE,
    "export RAMPWATCH_SSL_CAFILE=/etc/rampwatch/ca.pem": SECURE,
    ".venv/bin/rampwatch check": CHECK,
    ".venv/bin/rampwatch acls": ACLS,
    ".venv/bin/rampwatch acls worker --script": ACLS,
}


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    lines = [line for page in (README, OPERATIONS) for block in blocks("sh", page) for line in block.splitlines()]
    return [shlex.join(words) for line in lines if (words := shlex.split(line, comments=True))]


def run(command: str, folder: Path, *more: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a command of the README in another folder."""
    assert command in commands(), "no document shows this command"
    words = shlex.split(command)
    assert words[0] == INSTALLED
    return rampwatch(folder, *words[1:], *more, timeout_s=timeout_s)


def rampwatch(folder: Path, *arguments: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    """Run the command with the interpreter that runs the tests, 110 columns wide."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("RAMPWATCH_")}
    return subprocess.run(
        [sys.executable, "-m", "streams.cli", *arguments],
        cwd=folder,
        env=environment | {"COLUMNS": "110"},
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )


def test_every_command_of_the_readme_is_run_by_a_test() -> None:
    assert sorted(set(commands())) == sorted(RUN_BY)


@pytest.mark.parametrize("test", sorted(set(RUN_BY.values())))
def test_the_tests_that_run_commands_are_there(test: str) -> None:
    file, name = test.split("::")
    assert f"def {name}(" in (ROOT / file).read_text("utf-8")


def test_make_has_the_targets_that_the_readme_names(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for file in ("requirements-demo.txt", "requirements-dev.txt", "pyproject.toml"):
        (tmp_path / file).touch()
    dry_runs = {command: dry(command.split(), tmp_path) for command in RUN_BY if RUN_BY[command] == MAKE}
    assert "-m venv --clear .venv" in dry_runs["make demo"]
    assert dry_runs["make demo"].splitlines()[-1].split() == ["exec", INSTALLED, "demo"]
    assert dry_runs["make test"].splitlines()[-1].split()[:3] == [".venv/bin/python", "-m", "pytest"]
    assert ".venv/bin/mypy" in dry_runs["make test"]


def dry(make: Sequence[str], folder: Path) -> str:
    """What make would do on a fresh checkout, without doing it."""
    ended = subprocess.run([*make, "-n"], cwd=folder, env=unasked(), capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def unasked() -> dict[str, str]:
    """Our environment, without what a make that runs the tests has put there."""
    ours = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "ARGS", "PYTHON", "MAKEOVERRIDES")
    return {name: text for name, text in os.environ.items() if name not in ours}


def test_the_demo_runs_in_python_alone_and_prints_what_the_readme_shows(tmp_path: Path) -> None:
    command = next(command for command in RUN_BY if RUN_BY[command] == DEMO)
    quickly = ["--speed", "5000"]  # so that it ends before the twenty seconds do
    assert command.endswith(" --json")
    as_json = run(command, tmp_path, *quickly)
    assert as_json.returncode == 0, as_json.stderr
    assert all(line.startswith('{"incident_id":') for line in as_json.stdout.splitlines())
    for_people = rampwatch(tmp_path, *shlex.split(command)[1:-1], *quickly)
    assert for_people.returncode == 0, for_people.stderr
    assert blocks("text")[0] in for_people.stdout
    assert blocks("text")[2] in for_people.stdout


def test_a_replay_prints_the_table_of_the_readme(tmp_path: Path) -> None:
    generate, replay, again = [command for command in RUN_BY if RUN_BY[command] == REPLAY]
    assert run(generate, tmp_path).returncode == 0
    assert {file.name for file in (tmp_path / "out/city").iterdir()} >= {"truth.jsonl"}
    shown = run(replay, tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout == blocks("text")[1]
    same = run(again, tmp_path)
    assert same.returncode == 0, same.stdout
    assert "no differences" in same.stderr
    named = {"linked-incidents.jsonl", "dead-letters.jsonl", "outcomes.json", "ears-c2.jsonl", "manifest.json"}
    named |= {"tallies.jsonl", "spike-counters.jsonl", "spike-alerts.jsonl"}
    assert {file.name for file in (tmp_path / "out/answers").iterdir()} == named
    assert all(f"`{name}`" in README for name in named)


def test_the_counters_of_a_replay_are_reported_and_drawn(tmp_path: Path) -> None:
    generate, replay, _ = [command for command in RUN_BY if RUN_BY[command] == REPLAY]
    (counters,) = [command for command in RUN_BY if RUN_BY[command] == COUNTERS]
    for command in (generate, replay):
        assert run(command, tmp_path).returncode == 0
    report = run(counters, tmp_path)
    assert report.returncode == 0, report.stderr
    assert "Shots" in report.stdout
    assert (tmp_path / "out/counters.svg").read_text("utf-8").startswith("<svg ")


@pytest.fixture
def with_activations(tmp_path: Path) -> Path:
    if not ACTIVATIONS.exists():
        pytest.skip(f"the activations are not beside the checkout: {ACTIVATIONS}")
    shutil.copy(ACTIVATIONS, tmp_path / "activations.csv")
    return tmp_path


def test_real_gunshots_are_counted_and_clusters_looked_for_as_the_readme_says(with_activations: Path) -> None:
    counters, scan = [command for command in RUN_BY if RUN_BY[command] == REAL]
    report = run(counters, with_activations)
    assert report.returncode == 0, report.stderr
    assert "Alarms ended: " in report.stdout
    alarms = json.loads(run(counters, with_activations, "--json").stdout)["alerts"]
    (shown,) = re.findall(r'An alarm is a rise that chance seldom makes: "(.*?)"', PROSE)
    assert shown in [alarm["sentence"] for alarm in alarms]
    assert f"it raises {len(alarms)} alarms, eight of them from May to August 2020" in PROSE
    assert sum("2020-05" <= alarm["first_crossing"] < "2020-09" for alarm in alarms) == 8
    found = run(scan, with_activations, "--permutations", "19")
    assert found.returncode == 0, found.stderr
    assert "expected" in found.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_shuffled_days_raise_as_many_false_alarms_as_were_accepted(with_activations: Path) -> None:
    (command,) = [command for command in RUN_BY if RUN_BY[command] == FALSE_ALARMS]
    measured = run(command, with_activations, "--json", "--shuffles", str(LANE.shuffles), timeout_s=880)
    assert measured.returncode == 0, measured.stdout + measured.stderr
    found = json.loads(measured.stdout)
    assert (found["shuffles"], found["accepted_per_year"]) == (LANE.shuffles, 1.0)
    assert found["low_per_year"] <= found["per_year"] <= found["high_per_year"]
    if LANE is SOAK:
        assert f"{found['per_year']:.2f} a year ({found['low_per_year']:.2f} to {found['high_per_year']:.2f}" in PROSE


def test_the_table_of_settings_is_made_of_the_settings() -> None:
    expected = [settings_row(field) for field in msgspec.structs.fields(Settings) if field.name not in TABLES]
    shown = [line for line in OPERATIONS.splitlines() if line.startswith("| `RAMPWATCH_")]
    assert shown[: len(expected)] == expected
    of_tables = dict(re.findall(r"^\| `RAMPWATCH_(\w+?)_…` \| (.*) \|$", OPERATIONS, re.MULTILINE))
    assert len(shown) == len(expected) + len(of_tables)
    for table, rules in TABLES.items():
        named = re.findall(r"`([A-Z_]+)`", of_tables[table.upper()])
        assert named
        assert {name.lower() for name in named} <= {field.name for field in msgspec.structs.fields(rules)}


def settings_row(field: msgspec.structs.FieldInfo) -> str:
    """The row of a setting in the operations guide: its variable, its description, its default."""
    (meta,) = field.type.__metadata__
    default = "" if isinstance(field.default, Secret) or field.default == "" else f" ({default_text(field.default)})"
    return f"| `RAMPWATCH_{field.name.upper()}` | {meta.description}{default} |"


def default_text(default: object) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)


def test_the_table_of_topics_is_made_of_the_topics() -> None:
    shown = [line for line in CONTRACT.splitlines() if line.startswith("| `") and line.count("|") == 6]
    assert shown == [topic_row(topic) for topic in TOPICS]


def topic_row(topic: Topic) -> str:
    kept = {None: "for good", "reads": "reads"}.get(topic.retention_days, f"{topic.retention_days} days")
    return f"| `{topic.name}` | {topic.key} | {topic.partitions} | {topic.cleanup} | {kept} |"


def test_the_recipes_name_files_that_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    recipes = [line for line in text.splitlines() if line.startswith("| ") and "`" in line]
    assert len(recipes) == 9
    for recipe in recipes:
        for name in re.findall(r"`([\w./-]+/[\w./-]*)`", recipe):
            assert (ROOT / name).exists(), f"{name}, in the recipe {recipe.split('|')[1].strip()}"


def test_the_settings_of_a_secured_broker_fit_together(tmp_path: Path) -> None:
    exported = [command.removeprefix("export ") for command, test in RUN_BY.items() if test == SECURE]
    variables = dict(each.split("=", 1) for each in exported)
    password = tmp_path / "password"
    password.write_text("invented", encoding="utf-8")
    assert variables["RAMPWATCH_SASL_PASSWORD_FILE"].endswith(variables["RAMPWATCH_SASL_USERNAME"])
    read = read_settings(variables | {"RAMPWATCH_SASL_PASSWORD_FILE": str(password)})
    assert (read.sasl, read.tls, read.sasl_username) == (True, True, user_of("worker"))


def test_check_prints_what_the_operations_guide_says(tmp_path: Path) -> None:
    (command,) = [command for command, test in RUN_BY.items() if test == CHECK]
    shown = run(command, tmp_path)
    assert shown.returncode == 0, shown.stderr
    as_json = json.loads(run(command, tmp_path, "--json").stdout)
    assert as_json["site"]["digest"] in shown.stdout
    assert as_json["results_digest"] in shown.stdout
    assert f"{as_json['memory_bytes_max']['all_partitions']:,} bytes in all 12 partitions" in shown.stdout


def test_the_table_of_rights_is_the_one_that_is_printed(tmp_path: Path) -> None:
    listed, script = [command for command, test in RUN_BY.items() if test == ACLS]
    rows = [tuple(row.split(" | ")) for row in re.findall(r"^\| (\w+ \| \S+ .+) \|$", OPERATIONS, re.MULTILINE)]
    of_rights = [row for row in rows if len(row) == 4 and row[0] != "component"]
    assert of_rights == list(acls.rows(acls.rights(Settings())))
    shown = run(listed, tmp_path)
    assert shown.returncode == 0, shown.stderr
    named = {word for _, things, _, _ in of_rights for word in re.split(r",? ", things)}
    assert named <= set(shown.stdout.split())
    as_json = msgspec.json.decode(run(listed, tmp_path, "--json").stdout, type=list[acls.Right])
    assert as_json == acls.rights(Settings())
    assert run(script, tmp_path).stdout == acls.script(acls.rights(Settings(), "worker"), None) + "\n"


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_links_to_is_there(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if "://" not in target:
            assert (ROOT / page).parent.joinpath(target).exists(), target


def test_the_pages_are_there_and_the_readme_links_to_them() -> None:
    assert len(PAGES) >= 10
    assert len(re.findall(r"\]\([^)]+\)", README)) >= 8


@pytest.mark.parametrize("page", PAGES)
def test_prose_is_wrapped_at_100_columns(page: str) -> None:
    text = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    long = [line for line in text.splitlines() if len(line) > 102 and not line.startswith("|")]
    assert long == []
