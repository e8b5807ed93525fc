"""The health and metrics endpoints of a worker, and its watchdog."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest

from streams.worker.health import HealthPages, ProgressMonitor, serve
from tests.drivers.ports import free_port


def get(port: int, path: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def serve_pages(progress: ProgressMonitor, is_ready: Callable[[], bool]) -> int:
    port = free_port()
    serve("127.0.0.1", port, HealthPages(progress, is_ready))
    return port


def test_a_worker_is_alive_while_it_makes_progress() -> None:
    progress = ProgressMonitor(stalled_after_ms=300)
    port = serve_pages(progress, lambda: True)
    status, page = get(port, "/health/live")
    assert (status, json.loads(page)["alive"]) == (200, True)
    time.sleep(0.4)
    status, page = get(port, "/health/live")
    assert (status, json.loads(page)["alive"]) == (503, False)
    assert json.loads(page)["seconds_since_progress"] >= 0.4
    progress.mark()
    assert get(port, "/health/live")[0] == 200


@pytest.mark.parametrize(("is_ready", "status"), [(True, 200), (False, 503)])
def test_the_status_code_shows_whether_a_worker_is_ready(is_ready: bool, status: int) -> None:
    port = serve_pages(ProgressMonitor(60_000), lambda: is_ready)
    assert get(port, "/health/ready") == (status, json.dumps({"ready": is_ready}).encode())


@pytest.mark.parametrize("path", ["/", "/health", "/health/ready/", "/healthz", "/nonsense"])
def test_an_unknown_path_returns_404_and_the_list_of_pages(path: str) -> None:
    status, page = get(serve_pages(ProgressMonitor(60_000), lambda: True), path)
    assert status == 404
    assert page.decode() == f"{path}: no such page; use one of /metrics, /health/live, /health/ready\n"


def test_metrics_are_served() -> None:
    status, page = get(serve_pages(ProgressMonitor(60_000), lambda: True), "/metrics")
    assert status == 200
    assert b"# TYPE rampwatch_records_total counter" in page


def test_a_port_in_use_is_an_error() -> None:
    port = serve_pages(ProgressMonitor(60_000), lambda: True)
    with pytest.raises(OSError, match="in use"):
        serve("127.0.0.1", port, HealthPages(ProgressMonitor(60_000), lambda: True))
