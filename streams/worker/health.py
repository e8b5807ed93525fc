"""How a worker knows that it is well, and how it tells: ``/health/live``, ``/health/ready``, ``/metrics``.

A worker lives while it commits what it reads. It also lives while there is nothing to commit, while the broker is away
and it keeps trying, and while it reads again what was known of a partition; where none of that has been so for a while,
something hangs, and a restart is the remedy.
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

_PAGES: Final = ("/metrics", "/health/live", "/health/ready")

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class ProgressMonitor:
    """When a worker last had progress, or none to make."""

    def __init__(self, stalled_after_ms: int) -> None:
        self._stalled_after_s = stalled_after_ms / 1000
        self._marked_s = time.monotonic()

    def mark(self) -> None:
        """Note progress, or that there is none to make."""
        self._marked_s = time.monotonic()

    @property
    def age_s(self) -> float:
        """How long ago that was."""
        return time.monotonic() - self._marked_s

    @property
    def is_stalled(self) -> bool:
        """Whether that is too long ago."""
        return self.is_stalled_for(0)

    def is_stalled_for(self, seconds: float) -> bool:
        """Whether it was too long ago even so long ago."""
        return self.age_s > self._stalled_after_s + seconds


class Pages:
    """What the worker's small web server answers."""

    def __init__(self, progress: ProgressMonitor, is_ready: Callable[[], bool]) -> None:
        self._progress = progress
        self._is_ready = is_ready
        self._metrics = make_wsgi_app(metrics.REGISTRY)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one question; a WSGI application."""
        path = environ.get("PATH_INFO", "")
        if path == "/health/live":
            told = {"alive": not self._progress.is_stalled, "seconds_since_progress": round(self._progress.age_s, 1)}
            return _answer(start_response, told, not self._progress.is_stalled)
        if path == "/health/ready":
            return _answer(start_response, {"ready": self._is_ready()}, self._is_ready())
        if path == "/metrics":
            found: Iterable[bytes] = self._metrics(environ, start_response)
            return found
        # a probe that asks for a page by a wrong name must not be told that all is well
        start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{path}: no such page; ask for {', '.join(_PAGES)}\n".encode()]


def _answer(start_response: StartResponse, told: dict[str, Any], is_well: bool) -> list[bytes]:
    start_response("200 OK" if is_well else "503 Service Unavailable", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of each question."""


def serve(host: str, port: int, pages: Pages) -> None:
    """Answer in the background for as long as the process lives; raises `OSError`."""

    class Server(_Server):
        address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]

    server = make_server(host, port, pages, Server, _Quiet)
    threading.Thread(target=server.serve_forever, name="pages", daemon=True).start()
