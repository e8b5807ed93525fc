"""A worker's health, and the endpoints ``/health/live``, ``/health/ready`` and ``/metrics``.

A worker is alive while it commits what it reads. It is also alive while there is nothing to commit,
while it retries because the broker is away, and while it rebuilds partitions. If none of that has
been the case for too long, something hangs, and a restart is the remedy.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

from streams.worker import metrics

_PATHS: Final = ("/metrics", "/health/live", "/health/ready")

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

    def __init__(self, progress: ProgressMonitor, is_ready: Callable[[], bool]) -> None:
        self._progress = progress
        self._is_ready = is_ready
        self._metrics = make_wsgi_app(metrics.REGISTRY)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request, whatever its method."""
        path = environ.get("PATH_INFO", "")
        if path == "/health/live":
            body = {"alive": not self._progress.is_stalled, "seconds_since_progress": round(self._progress.age_s, 1)}
            return _json_response(start_response, body, not self._progress.is_stalled)
        if path == "/health/ready":
            return _json_response(start_response, {"ready": self._is_ready()}, self._is_ready())
        if path == "/metrics":
            response: Iterable[bytes] = self._metrics(environ, start_response)
            return response
        # a probe configured with a wrong path must fail, not report a healthy worker
        start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{path}: no such page; use one of {', '.join(_PATHS)}\n".encode()]


def _json_response(start_response: StartResponse, body: dict[str, Any], is_healthy: bool) -> list[bytes]:
    status = "200 OK" if is_healthy else "503 Service Unavailable"
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps(body).encode()]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Log no requests."""


def serve(host: str, port: int, pages: HealthPages) -> None:
    """Serve the pages from a background thread until the process ends; raises `OSError`."""

    class Server(_Server):
        address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]

    server = make_server(host, port, pages, Server, _QuietHandler)
    threading.Thread(target=server.serve_forever, name="pages", daemon=True).start()
