"""The commands of the README that need a Kafka, in the order in which it gives them."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streams.local_broker.broker import LocalBroker
from tests.kafka.conftest import GivenBroker
from tests.paths import ROOT

README = (ROOT / "README.md").read_text("utf-8")
PORT = "29092"
WAIT_S_MAX = 60.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def rampwatch(command: str, folder: Path, port: int, **more: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command of the README, in which ``port`` stands for the one it names, with all it says on one stream."""
    assert re.search(rf"^\.venv/bin/rampwatch {command}( +#.*)?$", README, re.MULTILINE), "the README does not say that"
    environment = {name: text for name, text in os.environ.items() if not name.startswith("RAMPWATCH_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "streams.cli", *shlex.split(command.replace(PORT, str(port)))],
        cwd=folder,
        env=environment | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # where the tests run in the background of a shell, a child would never see Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def said_until(process: subprocess.Popen[str], begins: str) -> str:
    """Return the first line that begins so; the test's own limit of time ends a wait that is in vain."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        if line.startswith(begins):
            return line.strip()
        lines.append(line)
    pytest.fail(f"it ended without saying {begins!r}: {''.join(lines)}")


def ended(process: subprocess.Popen[str], number: signal.Signals | None = None) -> tuple[int, list[str]]:
    """Return the exit code and the lines that were left to say, once it has ended, asked by a signal or not."""
    if number is not None:
        process.send_signal(number)
    said, _ = process.communicate(timeout=WAIT_S_MAX)
    return process.returncode, said.splitlines()


@pytest.mark.usefixtures("kafka_here")
def test_a_worker_runs_as_the_readme_says(tmp_path: Path) -> None:
    port = free_port()
    address = f"127.0.0.1:{port}"
    (export,) = re.findall(r"^export RAMPWATCH_BROKER=(.*)$", README, re.MULTILINE)
    assert export.replace(PORT, str(port)) == address
    with rampwatch("broker --port 29092", tmp_path, port) as broker:
        assert address in said_until(broker, "Kafka answers at ")
        with rampwatch("topics create", tmp_path, port, RAMPWATCH_BROKER=address) as create:
            code, said = ended(create)
        assert code == 0, said
        assert {"shot-spotter-alerts", "linked-incidents", "9 topics made"} <= set(said)
        with rampwatch("topics check", tmp_path, port, RAMPWATCH_BROKER=address) as check:
            assert ended(check) == (0, ["the topics are as a worker needs them"])
        with rampwatch("worker --site hartford", tmp_path, port, RAMPWATCH_BROKER=address) as worker:
            assert said_until(worker, "worker up") == f"worker up: site hartford, broker {address}"
            code, said = ended(worker, signal.SIGTERM)
            assert code == 0, said
        assert ended(broker, signal.SIGINT) == (0, ["Kafka is stopped"])


@pytest.mark.slow
def test_the_week_of_real_shots_runs_as_the_readme_says(broker: LocalBroker | GivenBroker, tmp_path: Path) -> None:
    with rampwatch("demo --site kansas-city --for 20", tmp_path, 0, RAMPWATCH_BROKER=broker.address) as demo:
        about = said_until(demo, "64 real gunshots from kansas-city-week.csv")
        assert "are simulated" in about
        assert broker.address in said_until(demo, "through Kafka at ")
        code, said = ended(demo)
    assert code == 0, said
    assert re.match(r"\d+ linked incidents", said[-1])
