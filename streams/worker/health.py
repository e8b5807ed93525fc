"""A worker's health, and the endpoints ``/health/live``, ``/health/ready`` and ``/metrics``.

A worker is alive while it commits what it reads. It is also alive while there is nothing to commit,
while it retries because the broker is away, and while it rebuilds partitions. If none of that has
been the case for too long, something hangs, and a restart is the remedy.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from prometheus_client import make_wsgi_app

from streams.worker import metrics

_PATHS: Final = ("/metrics", "/health/live", "/health/ready")
_METHODS: Final = ("GET", "HEAD")

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class ProgressMonitor:
    """Measures how long ago a worker last made progress, or had no work."""

    def __init__(self, stalled_after_ms: int) -> None:
        self._stalled_after_s = stalled_after_ms / 1000
        self._marked_s = time.monotonic()

    def mark(self) -> None:
        """Note that the worker made progress, or has no work."""
        self._marked_s = time.monotonic()

    @property
    def age_s(self) -> float:
        """The time since the last mark."""
        return time.monotonic() - self._marked_s

    @property
    def is_stalled(self) -> bool:
        """Whether the last mark is too long ago."""
        return self.is_stalled_for(0)

    def is_stalled_for(self, seconds: float) -> bool:
        """Return whether the worker has been stalled for more than ``seconds``."""
        return self.age_s > self._stalled_after_s + seconds


class HealthPages:
    """The WSGI application with the health and metrics endpoints."""

    def __init__(self, progress: ProgressMonitor, why_not_ready: Callable[[], Sequence[str]]) -> None:
        """``why_not_ready`` returns a sentence for each reason; none if the worker is ready."""
        self._progress = progress
        self._why_not_ready = why_not_ready
        self._metrics = make_wsgi_app(metrics.REGISTRY)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        method = environ["REQUEST_METHOD"]
        page = self._page(environ) if method in _METHODS else _not_allowed(method)
        start_response(page.status, [*page.headers, ("Content-Length", str(len(page.body)))])
        return [] if method == "HEAD" else [page.body]

    def _page(self, environ: dict[str, Any]) -> _Page:
        path = environ.get("PATH_INFO", "")
        if path == "/health/live":
            is_alive = not self._progress.is_stalled
            return _json_page({"alive": is_alive, "seconds_since_progress": round(self._progress.age_s, 1)}, is_alive)
        if path == "/health/ready":
            reasons = list(self._why_not_ready())
            return _json_page({"ready": not reasons, "reasons": reasons}, not reasons)
        if path == "/metrics":
            return self._metrics_page(environ)
        # a probe configured with a wrong path must fail, not report a healthy worker
        return _text_page("404 Not Found", f"{path}: no such page; use one of {', '.join(_PATHS)}")

    def _metrics_page(self, environ: dict[str, Any]) -> _Page:
        started: list[tuple[str, list[tuple[str, str]]]] = []
        body = b"".join(self._metrics(environ | {"REQUEST_METHOD": "GET"}, lambda *start: started.append(start)))
        ((status, headers),) = started
        return _Page(status, headers, body)


class _Page(NamedTuple):
    status: str
    headers: list[tuple[str, str]]
    body: bytes


def _json_page(content: dict[str, Any], is_healthy: bool) -> _Page:
    status = "200 OK" if is_healthy else "503 Service Unavailable"
    return _Page(status, [("Content-Type", "application/json")], json.dumps(content).encode())


def _text_page(status: str, text: str, *headers: tuple[str, str]) -> _Page:
    return _Page(status, [("Content-Type", "text/plain; charset=utf-8"), *headers], f"{text}\n".encode())


def _not_allowed(method: str) -> _Page:
    allowed = ", ".join(_METHODS)
    return _text_page("405 Method Not Allowed", f"{method}: not allowed; use {allowed}", ("Allow", allowed))
