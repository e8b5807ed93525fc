"""The health and metrics endpoints of a worker, and its watchdog."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Sequence

import pytest

from streams.worker.health import HealthPages, ProgressMonitor
from streams.worker.page_server import serve
from tests.drivers.ports import free_port


def get(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def serve_pages(progress: ProgressMonitor, why_not_ready: Sequence[str] = ()) -> int:
    port = free_port()
    serve("127.0.0.1", port, HealthPages(progress, lambda: why_not_ready))
    return port


def test_a_worker_is_alive_while_it_makes_progress() -> None:
    progress = ProgressMonitor(stalled_after_ms=300)
    port = serve_pages(progress)
    status, page = get(port, "/health/live")
    assert (status, json.loads(page)["alive"]) == (200, True)
    time.sleep(0.4)
    status, page = get(port, "/health/live")
    assert (status, json.loads(page)["alive"]) == (503, False)
    assert json.loads(page)["seconds_since_progress"] >= 0.4
    progress.mark()
    assert get(port, "/health/live")[0] == 200


@pytest.mark.parametrize(
    ("reasons", "status"), [([], 200), (["dead-letters: does not exist", "no broker answers"], 503)]
)
def test_the_status_code_and_the_page_show_whether_a_worker_is_ready_and_why_not(
    reasons: list[str], status: int
) -> None:
    port = serve_pages(ProgressMonitor(60_000), reasons)
    shown, page = get(port, "/health/ready")
    assert (shown, json.loads(page)) == (status, {"ready": not reasons, "reasons": reasons})


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "BREW"])
@pytest.mark.parametrize("path", ["/metrics", "/health/live", "/health/ready", "/nonsense"])
def test_other_methods_than_get_and_head_are_not_allowed(method: str, path: str) -> None:
    status, page = get(serve_pages(ProgressMonitor(60_000)), path, method)
    assert (status, page.decode()) == (405, f"{method}: not allowed; use GET, HEAD\n")


@pytest.mark.parametrize("path", ["/metrics", "/health/live", "/nonsense"])
def test_head_has_the_headers_of_get_and_no_body(path: str) -> None:
    port = serve_pages(ProgressMonitor(60_000))
    status, page = get(port, path)
    assert get(port, path, "HEAD") == (status, b"")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("HEAD", path)
    response = connection.getresponse()
    assert int(response.headers["Content-Length"]) == len(page)
    connection.close()


@pytest.mark.parametrize("path", ["/", "/health", "/health/ready/", "/healthz", "/nonsense"])
def test_an_unknown_path_returns_404_and_the_list_of_pages(path: str) -> None:
    status, page = get(serve_pages(ProgressMonitor(60_000)), path)
    assert status == 404
    assert page.decode() == f"{path}: no such page; use one of /metrics, /health/live, /health/ready\n"


def test_metrics_are_served() -> None:
    port = serve_pages(ProgressMonitor(60_000))
    status, page = get(port, "/metrics")
    assert status == 200
    assert b"# TYPE rampwatch_records_total counter" in page
    status, page = get(
        port, "/metrics?name[]=rampwatch_partitions", Accept="application/openmetrics-text; version=1.0.0"
    )
    assert (status, page.splitlines()[-1]) == (200, b"# EOF")
    assert b"rampwatch_records" not in page


def test_a_port_in_use_is_an_error() -> None:
    port = serve_pages(ProgressMonitor(60_000))
    with pytest.raises(OSError, match="in use"):
        serve("127.0.0.1", port, HealthPages(ProgressMonitor(60_000), list))
