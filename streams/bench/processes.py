"""The measured processes: baselines that time themselves, and workers timed by their metrics."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from streams.core.errors import RampwatchError
from streams.local_broker.guard import GuardedProcess
from streams.settings import Settings, as_environment

WAIT_S_MAX: Final = 120.0
"""Time limit for every wait on a measured process."""
_POLL_EVERY_S: Final = 0.05
"""Interval between metric requests.

Serving metrics takes time from the worker. Requesting all metrics every 30 ms took a third of it.
"""

_ANY_METRIC: Final = "rampwatch_partitions"

T = TypeVar("T")


class BenchError(RampwatchError):
    """Something could not be measured; the message names it and includes available output."""


class Timing(msgspec.Struct):
    """The JSON that a baseline or the load prints at its end."""

    records: int
    seconds: float

    @property
    def per_s(self) -> float:
        """Records per second."""
        return self.records / self.seconds


def run_baseline(module: str, *arguments: object) -> Timing:
    """Run a module to its end and return the timing it prints."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    try:
        ended = subprocess.run(command, env=_environment(), capture_output=True, timeout=WAIT_S_MAX, check=False)
    except subprocess.TimeoutExpired:
        raise BenchError(f"{module}: still running after {WAIT_S_MAX:.0f} s; try fewer records") from None
    if ended.returncode:
        errors = ended.stderr.decode()[-2000:]
        raise BenchError(f"{module}: failed with exit code {ended.returncode}; its output ends with:\n{errors}")
    return msgspec.json.decode(ended.stdout, type=Timing)


def start_module(module: str, *arguments: object) -> subprocess.Popen[bytes]:
    """Start a module that ends by itself; `result_of` waits for its end."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.Popen(command, env=_environment(), stdout=subprocess.PIPE)


def result_of(process: subprocess.Popen[bytes]) -> Timing:
    """Wait for the end of a process and return the timing it prints."""
    output, _ = process.communicate(timeout=WAIT_S_MAX)
    if process.returncode:
        raise BenchError(f"{process.args!r}: failed with exit code {process.returncode}; see its output above")
    return msgspec.json.decode(output, type=Timing)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


class Sample(msgspec.Struct):
    """The value of a worker's metric, and when it was read."""

    at_s: float
    value: float


class MeasuredWorker:
    """A worker process that serves metrics; it always ends with this process."""

    def __init__(self, settings: Settings, log: Path) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port: int = listener.getsockname()[1]
        self._log = log
        self._url = f"http://127.0.0.1:{port}/metrics"
        settings = msgspec.structs.replace(settings, metrics_host="127.0.0.1", metrics_port=port)
        command = [sys.executable, "-m", "streams.cli", "worker"]
        self._process = GuardedProcess(command, _environment() | as_environment(settings), Path.cwd(), log, False)

    def await_metrics(self) -> None:
        """Wait until the worker serves metrics, which is before it consumes any record."""
        self.until(lambda: self._metrics(_ANY_METRIC), "serving metrics")

    def kill(self) -> None:
        """End the worker abruptly, as a crash would."""
        self._process.kill()
        self._process.close(False)

    def close(self) -> None:
        """Stop the worker in order."""
        self._process.close(False)

    def until(self, probe: Callable[[], T | None], state: str) -> T:
        """Return the first result of ``probe`` that is not None.

        Raises `BenchError` if the worker ends or does not reach this state within `WAIT_S_MAX`.
        """
        deadline_s = time.monotonic() + WAIT_S_MAX
        while (result := probe()) is None:
            if self._process.ended.is_set() or time.monotonic() > deadline_s:
                log = self._log.read_text("utf-8", "replace")[-2000:].strip()
                raise BenchError(
                    f"the worker ended, or was not {state} within {WAIT_S_MAX:.0f} s; its log ends with:\n{log}"
                )
            time.sleep(_POLL_EVERY_S)
        return result

    def sample(self, name: str, topic: str | None = None) -> Sample:
        """Return the sum of a metric, over one topic or all labels; 0 if it has no samples yet."""
        requested_s = time.perf_counter()
        text = self.until(lambda: self._metrics(name), "serving metrics")
        at_s = (requested_s + time.perf_counter()) / 2
        samples = [s for family in text_string_to_metric_families(text) for s in family.samples if s.name == name]
        return Sample(at_s, sum(s.value for s in samples if topic is None or s.labels.get("topic") == topic))

    def _metrics(self, name: str) -> str | None:
        """Return this metric in the text format; None if the worker does not serve metrics."""
        try:
            with urllib.request.urlopen(f"{self._url}?name[]={name}", timeout=WAIT_S_MAX) as page:
                text: str = page.read().decode()
        except OSError:
            return None
        return text


@contextmanager
def measured_worker(settings: Settings) -> Iterator[MeasuredWorker]:
    """Run a worker that serves metrics, and stop it afterwards."""
    with tempfile.TemporaryDirectory(prefix="rampwatch-bench-") as folder:
        worker = MeasuredWorker(settings, Path(folder) / "worker.log")
        try:
            worker.await_metrics()
            yield worker
        finally:
            worker.close()
