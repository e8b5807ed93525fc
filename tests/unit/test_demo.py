"""The demo in its own process, without Kafka: incidents come out, and it ends when it should."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema_rs
import msgspec
import pytest

from streams.core.events import INCIDENTS
from streams.schemas import schema_of

COMMAND = [sys.executable, "-m", "streams.cli", "demo", "--no-broker", "--json"]
VALIDATOR = jsonschema_rs.Draft202012Validator(schema_of(INCIDENTS))
WAIT_S_MAX = 60.0
STOP_S_MAX = 20.0


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """No setting of rampwatch, nothing on the PATH, so no java either, and temporary files where we see them."""
    ours = {name: text for name, text in os.environ.items() if not name.startswith("RAMPWATCH_")}
    return ours | {"PATH": "", "TMPDIR": str(tmp_path)}


def incident_ids(output: bytes) -> set[str]:
    """Every line is a linked incident as the contract has it."""
    incidents = [msgspec.json.decode(line) for line in output.splitlines()]
    for incident in incidents:
        VALIDATOR.validate(incident)
    return {incident["incident_id"] for incident in incidents}


@pytest.mark.parametrize("site", ["hartford", "kansas-city"])
def test_the_demo_needs_no_kafka_and_no_java_and_ends_when_all_is_played(
    site: str, environment: dict[str, str], tmp_path: Path
) -> None:
    command = [*COMMAND, "--site", site, "--for", "20", "--speed", "1000000"]
    ended = subprocess.run(command, env=environment, capture_output=True, timeout=WAIT_S_MAX, check=False)
    assert ended.returncode == 0, ended.stderr
    found = incident_ids(ended.stdout)
    assert len(found) > 10
    assert f"{len(found)} linked incidents: ".encode() in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_same_seed_plays_the_same_incidents_whatever_the_speed(environment: dict[str, str]) -> None:
    played = [
        subprocess.run(
            [*COMMAND, "--seed", "7", "--speed", speed],
            env=environment,
            capture_output=True,
            timeout=WAIT_S_MAX,
            check=True,
        ).stdout
        for speed in ("30000", "1000000")
    ]
    # what one record changes comes in no particular order
    assert sorted(played[0].splitlines()) == sorted(played[1].splitlines())
    assert incident_ids(played[0])


def test_an_interrupted_demo_ends_in_order(environment: dict[str, str], tmp_path: Path) -> None:
    with subprocess.Popen(COMMAND, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        try:
            assert running.stdout is not None
            first = running.stdout.readline()
            began_s = time.monotonic()
            running.send_signal(signal.SIGINT)
            rest, said = running.communicate(timeout=WAIT_S_MAX)
            took_s = time.monotonic() - began_s
        finally:
            running.kill()
    assert running.returncode == 0, said
    assert took_s < STOP_S_MAX
    assert incident_ids(first + rest)
    assert b"Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_the_demo_ends_when_its_time_is_over(environment: dict[str, str]) -> None:
    began_s = time.monotonic()
    ended = subprocess.run(
        [*COMMAND, "--for", "0.5", "--speed", "1"],
        env=environment,
        capture_output=True,
        timeout=WAIT_S_MAX,
        check=False,
    )
    assert ended.returncode == 0
    assert time.monotonic() - began_s < STOP_S_MAX
    incident_ids(ended.stdout)
