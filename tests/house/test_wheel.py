"""What is installed from a wheel works without the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.paths import ROOT


def python(*arguments: str, cwd: Path, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    ours = {name: text for name, text in os.environ.items() if not name.startswith("RAMPWATCH_")}
    ended = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=ours | environment, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == code, ended.stderr
    return ended


def built(kind: str, folder: Path) -> Path:
    python("-m", "hatchling", "build", "-t", kind, "-d", str(folder), cwd=ROOT)
    (file,) = folder.iterdir()
    return file


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which the wheel alone is installed.

    What it needs comes from the running environment.
    """
    folder = tmp_path_factory.mktemp("installed")
    offline = ["--no-deps", "--no-index", "--disable-pip-version-check", "--quiet"]
    python("-m", "pip", "install", *offline, "--target", str(folder), str(wheel), cwd=folder)
    return folder


def rampwatch(installed: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return python(str(installed / "bin/rampwatch"), *arguments, cwd=cwd, PYTHONPATH=str(installed))


def test_everything_that_travels_with_it_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        packed = {name.removeprefix("streams/_data/") for name in content.namelist() if "/_data/" in name}
    kept = {"schemas": "schemas", "sites": "deploy/sites", "kafka": "deploy/kafka", "samples": "deploy/samples"}
    for kind, where in kept.items():
        files = [file for file in (ROOT / where).rglob("*") if file.is_file() and "__pycache__" not in file.parts]
        assert files
        assert {f"{kind}/{file.relative_to(ROOT / where)}" for file in files} <= packed


def test_nothing_of_the_tests_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        tops = {name.split("/")[0] for name in content.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"streams"}


def test_the_wheel_declares_that_its_code_is_typed(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        assert "streams/py.typed" in content.namelist()


def test_the_code_and_its_files_come_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    ask = "import streams, streams.resources.paths as s; print(streams.__file__); print(s.resource_path('sites'))"
    said = python("-c", ask, cwd=tmp_path, PYTHONPATH=str(installed)).stdout.splitlines()
    assert said == [str(installed / "streams/__init__.py"), str(installed / "streams/_data/sites")]


def test_an_installed_replay_gives_the_same_answers_twice(installed: Path, tmp_path: Path) -> None:
    rampwatch(installed, tmp_path, "generate", "city")
    first = json.loads(rampwatch(installed, tmp_path, "replay", "city", "--out", "answers", "--json").stdout)
    assert first["ramp-plate-reads"]["used"] > 10_000
    again = rampwatch(installed, tmp_path, "replay", "city", "--out", "again", "--expect", "answers")
    assert "no differences" in again.stderr


@pytest.mark.parametrize("site", ["hartford", "kansas-city"])
def test_an_installed_demo_prints_incidents(site: str, installed: Path, tmp_path: Path) -> None:
    speed = {"hartford": "5000", "kansas-city": "1000000"}[site]
    options = ["--site", site, "--no-broker", "--for", "20", "--speed", speed, "--json"]
    ended = rampwatch(installed, tmp_path, "demo", *options)
    incidents = [json.loads(line) for line in ended.stdout.splitlines()]
    assert incidents
    assert "simulated" in ended.stderr
    assert ("real gunshots" in ended.stderr) == (site == "kansas-city")


def test_the_source_distribution_can_be_built_and_holds_what_a_wheel_is_made_of(tmp_path: Path) -> None:
    with tarfile.open(built("sdist", tmp_path)) as content:
        names = {name.partition("/")[2] for name in content.getnames()}
    assert {"README.md", "LICENSE", "pyproject.toml", "streams/cli/main.py", "schemas/README.md"} <= names
    assert {"deploy/sites/hartford.geojson", "deploy/kafka/jars.sha256", "deploy/samples/README.md"} <= names
