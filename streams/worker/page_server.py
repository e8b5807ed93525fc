"""Serves a worker's pages over HTTP, whatever the clients do.

Invariants:

* At most `CONNECTIONS_MAX` connections are open. When one more arrives, the oldest is closed: a
  client that sends nothing, or reads nothing, cannot keep a health probe out.
* No connection lasts longer than `CONNECTION_S_MAX`, however slowly its client sends or reads.
* When the process has no file descriptor left, one is made free for the next connection: a spare,
  or that of the oldest connection. A worker that has run out of them still answers its probes.
"""

from __future__ import annotations

import errno
import http.client
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from socketserver import ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

CONNECTIONS_MAX: Final = 16
CONNECTION_S_MAX: Final = 10.0
"""As long as Prometheus waits for a scrape by default."""
REQUEST_BYTES_MAX: Final = 16_384
"""Of the request line and the headers together."""
_EVICTION_S_MAX: Final = 1.0
"""How long to wait for a connection that was closed to be gone: its thread must notice."""
_RETRY_S: Final = 0.1
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class _PageServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as the base class's
        self._accepted_s: dict[socket.socket, float] = {}
        """When each open connection was accepted, the oldest first."""
        self._changed = threading.Condition()
        """Held while a connection is closed, so that nobody shuts down a descriptor used anew."""
        self._spare = _spare()
        super().__init__(*args, **kwargs)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; the oldest one, or the spare descriptor, makes way for it."""
        if not self._make_way(CONNECTIONS_MAX - 1):
            raise OSError(errno.EAGAIN, "no connection could be closed yet")  # it stays in the backlog
        try:
            request, address = super().get_request()
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            request, address = self._accept_without_descriptors()
        with self._changed:
            self._accepted_s[request] = time.monotonic()
        return request, address

    def _accept_without_descriptors(self) -> tuple[socket.socket, Any]:
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None
        else:
            self._make_way(len(self._accepted_s) - 1)
        try:
            return super().get_request()
        except OSError:
            time.sleep(_RETRY_S)  # the listener stays readable: without this, the thread would spin
            raise

    def _make_way(self, open_max: int) -> bool:
        """Close the oldest connections; return whether at most ``open_max`` are left."""
        with self._changed:
            for request in list(self._accepted_s)[: max(0, len(self._accepted_s) - open_max)]:
                _interrupt(request)
            return self._changed.wait_for(lambda: len(self._accepted_s) <= max(0, open_max), _EVICTION_S_MAX)

    def service_actions(self) -> None:
        """Close the connections whose time is up; called twice a second, and after each one."""
        now_s = time.monotonic()
        with self._changed:
            for request, accepted_s in self._accepted_s.items():
                if now_s - accepted_s > CONNECTION_S_MAX:
                    _interrupt(request)
        if self._spare is None:
            self._spare = _spare()

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - as the base class's
        """Close a connection."""
        with self._changed:
            self._accepted_s.pop(request, None)
            super().shutdown_request(request)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Log nothing: what clients do wrong is no fault of this worker."""


def _interrupt(request: socket.socket) -> None:
    """End a connection's reads and writes; its thread then closes it."""
    with suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


def _spare() -> int | None:
    """Return a descriptor to give up when there are no more; None if there are none now."""
    try:
        return os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return None


class _Head:
    """The part of a connection's input that a request may have: `REQUEST_BYTES_MAX` bytes."""

    def __init__(self, stream: Any) -> None:  # noqa: ANN401
        self._stream = stream
        self._left = REQUEST_BYTES_MAX

    def readline(self, size: int = -1) -> bytes:
        """Read a line; raises `http.client.LineTooLong` beyond the limit."""
        size = self._left + 1 if size < 0 else min(size, self._left + 1)
        line: bytes = self._stream.readline(size)
        self._left -= len(line)
        if self._left < 0:
            raise http.client.LineTooLong("request")
        return line

    def close(self) -> None:
        """Close the input."""
        self._stream.close()


class _Handler(WSGIRequestHandler):
    def setup(self) -> None:
        super().setup()
        self.rfile: Any = _Head(self.rfile)

    def handle(self) -> None:
        try:
            super().handle()
        except http.client.LineTooLong:  # the request line itself; `parse_request` handles headers
            self.requestline, self.request_version, self.command = "", "", ""
            self.send_error(http.HTTPStatus.REQUEST_URI_TOO_LONG)

    def log_message(self, format: str, *args: object) -> None:
        """Log no requests."""


def serve(host: str, port: int, pages: Callable[..., Any]) -> None:
    """Serve a WSGI application from background threads until the process ends; raises `OSError`."""

    class Server(_PageServer):
        address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]

    server = make_server(host, port, pages, Server, _Handler)
    threading.Thread(target=server.serve_forever, name="pages", daemon=True).start()
