"""The documents' commands that need a Kafka, run as the documents give them."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.drivers.brokers import Broker
from tests.drivers.command import WAIT_S_MAX, started
from tests.drivers.ports import free_port
from tests.paths import ROOT

PAGES = "".join((ROOT / page).read_text("utf-8") for page in ("README.md", "deploy/README.md"))
PORT = "29092"


@contextmanager
def readme_command(
    command: str, folder: Path, port: int, *options: str, **variables: str
) -> Iterator[subprocess.Popen[str]]:
    """Run a command of the documents on another port, with stderr joined to stdout."""
    assert re.search(rf"^\.venv/bin/rampwatch {command}( +#.*)?$", PAGES, re.MULTILINE), "in no document"
    words = [*shlex.split(command.replace(PORT, str(port))), *options]
    with started(*words, cwd=folder, stderr=subprocess.STDOUT, **variables) as process:
        yield process


def line_beginning(process: subprocess.Popen[str], begin: str) -> str:
    """The next line that begins so; the test's timeout ends a wait in vain."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        # what a worker logs has the time, the level and the logger before it
        text = line.partition(" rampwatch: ")[2] or line
        if text.startswith(begin):
            return text.strip()
        lines.append(line)
    pytest.fail(f"it exited without printing {begin!r}: {''.join(lines)}")


def finish(process: subprocess.Popen[str], number: signal.Signals | None = None) -> tuple[int, list[str]]:
    """Send a signal, if any; return the exit code and the remaining lines once it has exited."""
    if number is not None:
        process.send_signal(number)
    output, _ = process.communicate(timeout=WAIT_S_MAX)
    return process.returncode, output.splitlines()


@pytest.mark.usefixtures("kafka_here")
def test_a_worker_runs_as_the_readme_says(tmp_path: Path) -> None:
    port = free_port()
    address = f"127.0.0.1:{port}"
    (export,) = re.findall(r"^export RAMPWATCH_BROKER=(.*)$", PAGES, re.MULTILINE)
    assert export.replace(PORT, str(port)) == address
    with readme_command("broker --port 29092", tmp_path, port) as broker:
        assert address in line_beginning(broker, "Kafka ready at ")
        with readme_command("topics create", tmp_path, port, RAMPWATCH_BROKER=address) as create:
            code, lines = finish(create)
        assert code == 0, lines
        assert {"shot-spotter-alerts", "linked-incidents", "topics created: 9"} <= set(lines)
        with readme_command("topics check", tmp_path, port, RAMPWATCH_BROKER=address) as check:
            assert finish(check) == (0, ["the topics are as a worker needs them"])
        with readme_command("worker --site hartford --wait", tmp_path, port, RAMPWATCH_BROKER=address) as worker:
            assert line_beginning(worker, "worker up") == f"worker up: site hartford, broker {address}"
            code, lines = finish(worker, signal.SIGTERM)
            assert code == 0, lines
        assert finish(broker, signal.SIGINT) == (0, ["Kafka stopped"])


@pytest.mark.slow
def test_the_week_of_real_shots_runs_as_the_readme_says(broker: Broker, tmp_path: Path) -> None:
    command, fast = "demo --site kansas-city --for 60", ["--speed", "1000000"]
    with readme_command(command, tmp_path, 0, *fast, RAMPWATCH_BROKER=broker.address) as demo:
        about = line_beginning(demo, "64 real gunshots from kansas-city-week.csv")
        assert "are simulated" in about
        assert broker.address in line_beginning(demo, "through Kafka at ")
        code, lines = finish(demo)
    assert code == 0, lines
    assert re.match(r"\d+ linked incidents", lines[-1])
