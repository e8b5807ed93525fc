"""The demo in its own process, without Kafka: it prints incidents and exits on time."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import jsonschema_rs
import msgspec
import pytest

from streams.core.topics import INCIDENTS
from streams.schemas import schema_of
from tests.drivers.command import STOP_S_MAX, WAIT_S_MAX, rampwatch, started

DEMO = ["demo", "--no-broker", "--json"]
VALIDATOR = jsonschema_rs.Draft202012Validator(schema_of(INCIDENTS))


@pytest.fixture
def isolated(tmp_path: Path) -> dict[str, str]:
    """Environment variables: an empty PATH, so no Java, and a temporary folder."""
    return {"PATH": "", "TMPDIR": str(tmp_path)}


def incident_ids(output: str) -> set[str]:
    """The ids of the incidents in JSON lines, each checked against the contract's schema."""
    incidents = [msgspec.json.decode(line) for line in output.splitlines()]
    for incident in incidents:
        VALIDATOR.validate(incident)
    return {incident["incident_id"] for incident in incidents}


@pytest.mark.parametrize("site", ["hartford", "kansas-city"])
def test_the_demo_runs_without_kafka_or_java_and_exits_after_the_last_record(
    site: str, isolated: dict[str, str], tmp_path: Path
) -> None:
    ended = rampwatch(*DEMO, "--site", site, "--for", "20", "--speed", "1000000", **isolated)
    assert ended.returncode == 0, ended.stderr
    incidents = incident_ids(ended.stdout)
    assert len(incidents) > 10
    assert f"{len(incidents)} linked incidents: " in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_same_seed_produces_the_same_incidents_at_any_speed(isolated: dict[str, str]) -> None:
    slow, fast = (
        rampwatch(*DEMO, "--seed", "7", "--speed", speed, **isolated).stdout for speed in ("30000", "1000000")
    )
    # the revisions that one record causes are in no particular order
    assert sorted(slow.splitlines()) == sorted(fast.splitlines())
    assert incident_ids(slow)


def test_an_interrupted_demo_exits_cleanly(isolated: dict[str, str], tmp_path: Path) -> None:
    with started(*DEMO, **isolated) as running:
        assert running.stdout is not None
        first = running.stdout.readline()
        began_s = time.monotonic()
        running.send_signal(signal.SIGINT)
        rest, errors = running.communicate(timeout=WAIT_S_MAX)
        took_s = time.monotonic() - began_s
    assert running.returncode == 0, errors
    assert took_s < STOP_S_MAX
    assert incident_ids(first + rest)
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def test_the_demo_exits_when_its_time_limit_is_reached(isolated: dict[str, str]) -> None:
    began_s = time.monotonic()
    ended = rampwatch(*DEMO, "--for", "0.5", "--speed", "1", **isolated)
    assert ended.returncode == 0
    assert time.monotonic() - began_s < STOP_S_MAX
    incident_ids(ended.stdout)


def test_a_time_limit_within_the_preparation_ends_the_demo_before_the_evening(isolated: dict[str, str]) -> None:
    began_s = time.monotonic()
    ended = rampwatch(*DEMO, "--for", "0.01", **isolated)
    assert ended.returncode == 0
    assert time.monotonic() - began_s < STOP_S_MAX
    assert ended.stdout == ""
    assert ended.stderr.endswith("the time was over while preparing; give --for more seconds\n")
    assert "Traceback" not in ended.stderr


def test_a_time_limit_includes_the_preparation_on_a_broker_that_does_not_answer(isolated: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        broker = f"127.0.0.1:{silent.getsockname()[1]}"
        began_s = time.monotonic()
        ended = rampwatch("demo", "--for", "4", **isolated, RAMPWATCH_BROKER=broker)
    assert ended.returncode == 0, ended.stderr
    assert 4 <= time.monotonic() - began_s < 4 + STOP_S_MAX
    assert "give --for more seconds" in ended.stderr
    assert "delete those that begin with demo-" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_evening_that_is_behind_its_pace_still_ends_in_time(isolated: dict[str, str]) -> None:
    began_s = time.monotonic()
    ended = rampwatch(*DEMO, "--site", "kansas-city", "--for", "4", "--speed", "1e300", **isolated)
    assert ended.returncode == 0, ended.stderr
    assert time.monotonic() - began_s < 4 + STOP_S_MAX
