"""The processes that are measured: yardsticks that tell their own time, and workers that their metrics tell of."""

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
"""For anything that a measured process has to do."""
_LOOK_EVERY_S: Final = 0.05
"""A worker answers with the time that it has for reads: every 30 ms, and for all its metrics, was a third of it."""

_ANY: Final = "rampwatch_partitions"

T = TypeVar("T")


class BenchError(RampwatchError):
    """Something that could not be measured; the message says what, and what was said about it."""


class Told(msgspec.Struct):
    """What a yardstick says at its end."""

    records: int
    seconds: float

    @property
    def per_s(self) -> float:
        """Records a second."""
        return self.records / self.seconds


def baseline(module: str, *arguments: object) -> Told:
    """Run a module to its end and return what it tells."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    try:
        ended = subprocess.run(command, env=_environment(), capture_output=True, timeout=WAIT_S_MAX, check=False)
    except subprocess.TimeoutExpired:
        raise BenchError(f"{module}: not ended after {WAIT_S_MAX:.0f} s; try fewer records") from None
    if ended.returncode:
        raise BenchError(f"{module}: ended with code {ended.returncode}; it said:\n{ended.stderr.decode()[-2000:]}")
    return msgspec.json.decode(ended.stdout, type=Told)


def started(module: str, *arguments: object) -> subprocess.Popen[bytes]:
    """Start a module that ends by itself; `told_by` waits for its word."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.Popen(command, env=_environment(), stdout=subprocess.PIPE)


def told_by(process: subprocess.Popen[bytes]) -> Told:
    """Return what a module says at its end."""
    said, _ = process.communicate(timeout=WAIT_S_MAX)
    if process.returncode:
        raise BenchError(f"{process.args!r}: ended with code {process.returncode}; see what it said above")
    return msgspec.json.decode(said, type=Told)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


class Sample(msgspec.Struct):
    """A number that a worker told, and when it was asked."""

    at_s: float
    value: float


class MeasuredWorker:
    """A worker process with its metrics served; it ends with this program, whatever happens."""

    def __init__(self, settings: Settings, log: Path) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port: int = listener.getsockname()[1]
        self._log = log
        self._url = f"http://127.0.0.1:{port}/metrics"
        settings = msgspec.structs.replace(settings, metrics_host="127.0.0.1", metrics_port=port)
        command = [sys.executable, "-m", "streams.cli", "worker"]
        self._process = GuardedProcess(command, _environment() | as_environment(settings), Path.cwd(), log, False)

    def await_answer(self) -> None:
        """Wait until it can be asked, which is before it has read anything."""
        self.until(lambda: self._metrics(_ANY), "answering")

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._process.kill()
        self._process.close(False)

    def close(self) -> None:
        """End it in order."""
        self._process.close(False)

    def until(self, asked: Callable[[], T | None], what: str) -> T:
        """Return what is asked for once it is there; raises `BenchError` where it does not come."""
        deadline_s = time.monotonic() + WAIT_S_MAX
        while (found := asked()) is None:
            if self._process.ended.is_set() or time.monotonic() > deadline_s:
                said = self._log.read_text("utf-8", "replace")[-2000:].strip()
                raise BenchError(f"the worker is not {what} after {WAIT_S_MAX:.0f} s, or has ended; it said:\n{said}")
            time.sleep(_LOOK_EVERY_S)
        return found

    def sample(self, name: str, topic: str | None = None) -> Sample:
        """Return the sum of a metric, of one topic where told; 0 where nothing has been counted yet."""
        asked_s = time.perf_counter()
        text = self.until(lambda: self._metrics(name), "answering")
        at_s = (asked_s + time.perf_counter()) / 2
        found = [s for family in text_string_to_metric_families(text) for s in family.samples if s.name == name]
        return Sample(at_s, sum(s.value for s in found if topic is None or s.labels.get("topic") == topic))

    def _metrics(self, name: str) -> str | None:
        """What this metric says; None while they are not served."""
        try:
            with urllib.request.urlopen(f"{self._url}?name[]={name}", timeout=WAIT_S_MAX) as page:
                text: str = page.read().decode()
        except OSError:
            return None
        return text


@contextmanager
def worker(settings: Settings) -> Iterator[MeasuredWorker]:
    """A worker that can be asked, and is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="rampwatch-bench-") as folder:
        measured = MeasuredWorker(settings, Path(folder) / "worker.log")
        try:
            measured.await_answer()
            yield measured
        finally:
            measured.close()
