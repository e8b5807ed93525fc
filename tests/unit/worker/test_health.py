"""What a worker tells of itself over HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest

from streams.worker.health import Pages, ProgressMonitor, serve
from tests.kafka.driving import free_port


def ask(port: int, path: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as page:
            return page.status, page.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def serving(progress: ProgressMonitor, is_ready: Callable[[], bool]) -> int:
    port = free_port()
    serve("127.0.0.1", port, Pages(progress, is_ready))
    return port


def test_a_worker_lives_while_its_pulse_beats() -> None:
    progress = ProgressMonitor(stalled_after_ms=300)
    port = serving(progress, lambda: True)
    status, page = ask(port, "/health/live")
    assert (status, json.loads(page)["alive"]) == (200, True)
    time.sleep(0.4)
    status, page = ask(port, "/health/live")
    assert (status, json.loads(page)["alive"]) == (503, False)
    assert json.loads(page)["seconds_since_progress"] >= 0.4
    progress.mark()
    assert ask(port, "/health/live")[0] == 200


@pytest.mark.parametrize(("is_ready", "status"), [(True, 200), (False, 503)])
def test_whether_a_worker_is_ready_is_a_status(is_ready: bool, status: int) -> None:
    port = serving(ProgressMonitor(60_000), lambda: is_ready)
    assert ask(port, "/health/ready") == (status, json.dumps({"ready": is_ready}).encode())


@pytest.mark.parametrize("path", ["/", "/health", "/health/ready/", "/healthz", "/nonsense"])
def test_a_page_by_a_wrong_name_is_none_and_those_there_are_are_named(path: str) -> None:
    status, page = ask(serving(ProgressMonitor(60_000), lambda: True), path)
    assert status == 404
    assert page.decode() == f"{path}: no such page; ask for /metrics, /health/live, /health/ready\n"


def test_the_metrics_are_a_page() -> None:
    status, page = ask(serving(ProgressMonitor(60_000), lambda: True), "/metrics")
    assert status == 200
    assert b"# TYPE rampwatch_records_total counter" in page


def test_a_port_that_is_taken_is_an_error() -> None:
    port = serving(ProgressMonitor(60_000), lambda: True)
    with pytest.raises(OSError, match="in use"):
        serve("127.0.0.1", port, Pages(ProgressMonitor(60_000), lambda: True))


HANGS = """
import time
from streams.worker import app
from streams.worker.health import ProgressMonitor
app._GRACE_S = app.ANSWER_S_MAX = 0.1
app._end_hard_where_hung(ProgressMonitor(stalled_after_ms=100))
time.sleep(60)
"""


def test_a_worker_that_hangs_whole_is_ended_from_a_thread_of_its_own() -> None:
    ended = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=50, check=False)
    assert ended.returncode == 70
    assert ended.stderr.startswith("the worker hangs: no progress in ")
