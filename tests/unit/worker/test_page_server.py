"""The server of a worker's pages under clients that are slow, many, silent or hostile."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from streams.worker import page_server
from streams.worker.health import HealthPages, ProgressMonitor
from streams.worker.page_server import CONNECTIONS_MAX, REQUEST_BYTES_MAX, serve
from tests.drivers.ports import free_port

PROBE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
LARGE_PAGE_BYTES = 16 * 2**20
SOON_S = 5.0


@pytest.fixture
def port() -> int:
    port = free_port()
    serve("127.0.0.1", port, HealthPages(ProgressMonitor(60_000), list))
    return port


def large_pages(environ, start_response):
    start_response("200 OK", [("Content-Length", str(LARGE_PAGE_BYTES))])
    return [bytes(LARGE_PAGE_BYTES)]


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=SOON_S)


def answer(port: int, request: bytes) -> bytes:
    """Everything a server sends in answer to one request, to the end of the connection."""
    with connected(port) as client:
        client.sendall(request)
        return read_to_end(client)


def read_to_end(client: socket.socket) -> bytes:
    received = bytearray()
    with suppress(ConnectionResetError):
        while part := client.recv(1_000_000):
            received += part
    return bytes(received)


def status(page: bytes) -> int:
    """The status code of an answer; HTTP/0.9, which malformed requests get, has it in the text."""
    found = re.search(rb"^HTTP/1.0 (\d+)|Error code: (\d+)", page)
    assert found, page
    return int(found[1] or found[2])


def is_open(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False


def page_threads() -> int:
    """How many threads serve a connection now."""
    return sum("process_request_thread" in thread.name for thread in threading.enumerate())


def test_200_idle_connections_leave_16_open_and_probes_answered(port: int) -> None:
    with ExitStack() as stack:
        idle = [stack.enter_context(connected(port)) for _ in range(200)]
        began_s = time.monotonic()
        assert status(answer(port, PROBE)) == 200
        assert time.monotonic() - began_s < SOON_S
        assert page_threads() <= CONNECTIONS_MAX
        assert sum(map(is_open, idle)) <= CONNECTIONS_MAX


@contextmanager
def drip(port: int) -> Iterator[socket.socket]:
    """A client that sends a header forever, a byte at a time, until the server has enough."""
    client = connected(port)
    client.sendall(PROBE[:-2] + b"X-Slow: ")
    done = threading.Event()

    def send() -> None:
        while not done.wait(0.05):
            try:
                client.sendall(b"x")
            except OSError:
                return

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield client
    finally:
        done.set()
        sender.join()
        client.close()


def test_a_slow_client_is_cut_off_and_keeps_no_probe_out(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_server, "CONNECTION_S_MAX", 1.0)
    with ExitStack() as stack:
        slow = [stack.enter_context(drip(port)) for _ in range(CONNECTIONS_MAX)]
        began_s = time.monotonic()
        assert status(answer(port, PROBE)) == 200
        assert time.monotonic() - began_s < SOON_S
        assert [read_to_end(client) for client in slow] == [b""] * len(slow)
        assert time.monotonic() - began_s < SOON_S


def test_a_client_that_never_reads_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_server, "CONNECTION_S_MAX", 1.0)
    port = free_port()
    serve("127.0.0.1", port, large_pages)
    with ExitStack() as stack:
        for _ in range(CONNECTIONS_MAX):
            client = stack.enter_context(connected(port))
            client.sendall(PROBE)
        deadline_s = time.monotonic() + SOON_S
        while page_threads() and time.monotonic() < deadline_s:
            time.sleep(0.05)
        assert page_threads() == 0
        assert len(answer(port, PROBE)) > LARGE_PAGE_BYTES


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (b"GET /" + b"a" * 2 * REQUEST_BYTES_MAX, 414),
        (b"GET /health/live HTTP/1.1\r\nX: " + b"a" * 2 * REQUEST_BYTES_MAX, 431),
        (b"GET /health/live HTTP/1.1\r\n" + b"X: a\r\n" * 90 + b"Y: " + b"a" * 2 * REQUEST_BYTES_MAX, 431),
        (b"GET /health/live HTTP/1.1\r\n" + b"X: a\r\n" * 200 + b"\r\n", 431),
        (b"\x00\xff\xfe\r\n\r\n", 400),
        (b"GET /health/live HTTP/9.9\r\n\r\n", 505),
        (b"GET /health/live HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 200),
    ],
    ids=["request line", "header", "headers", "many headers", "no text", "version", "body that never comes"],
)
def test_requests_are_bounded(port: int, request_: bytes, expected: int) -> None:
    with connected(port) as client:
        client.sendall(request_[: REQUEST_BYTES_MAX + 1])  # what is not read would reset the connection
        assert status(read_to_end(client)) == expected
    assert status(answer(port, PROBE)) == 200


WITHOUT_DESCRIPTORS = """
import os, resource, sys, time
from streams.worker.health import HealthPages, ProgressMonitor
from streams.worker.page_server import serve
serve("127.0.0.1", int(sys.argv[1]), HealthPages(ProgressMonitor(60_000), lambda: []))
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
taken = []
try:
    while True:
        taken.append(os.open(os.devnull, os.O_RDONLY))
except OSError as error:
    print(error.errno, flush=True)
for line in sys.stdin:
    print(time.process_time(), flush=True)
"""


def test_probes_are_answered_when_the_process_has_no_descriptors_left() -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", WITHOUT_DESCRIPTORS, str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process, ExitStack() as stack:
        stack.callback(process.kill)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "24\n"  # EMFILE
        for _ in range(20):
            for path in ("/health/live", "/health/ready", "/metrics"):
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=SOON_S) as page:
                    assert page.status == 200
        idle = [stack.enter_context(connected(port)) for _ in range(100)]
        assert status(answer(port, PROBE)) == 200
        used_s = [ask_cpu_s(process)]
        time.sleep(2)  # the time over which processor time is measured
        used_s.append(ask_cpu_s(process))
        assert used_s[1] - used_s[0] < 0.5, "the server spins"
        assert len(idle) == 100
        assert status(answer(port, PROBE)) == 200
        process.kill()
        _, complaints = process.communicate()
        assert complaints == ""


def ask_cpu_s(process: subprocess.Popen[str]) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("how much processor time so far?\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def test_concurrent_scrapes_are_all_answered(port: int) -> None:
    pages: list[bytes] = []
    scrape = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
    scrapers = [threading.Thread(target=lambda: pages.append(answer(port, scrape))) for _ in range(CONNECTIONS_MAX)]
    for scraper in scrapers:
        scraper.start()
    for scraper in scrapers:
        scraper.join()
    assert [status(page) for page in pages] == [200] * CONNECTIONS_MAX
