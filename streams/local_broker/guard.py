"""Runs a command that ends when the program that started it ends; this file is both sides.

A Kafka left behind by a killed test would hold its port and its memory for ever, and a killed
program cannot clean up. So the local broker runs this file as a script, the *guard*, which starts
Java, and holds the guard's standard input open. However the program ends, the system closes that
pipe, and the guard stops the command. This works wherever pipes do; the kernel's parent-death
signal does not.

The guard's arguments: the file for the command's output, a folder to remove at the end (empty:
none), the command. Its standard output: the command's process id on a line, or ``failed`` and the
reason; later ``exited`` and the exit code. Its standard input: may carry ``keep`` before it closes;
then the folder is not removed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

# Kafka shuts down in under a second. If it hangs, it must not outlive its parent for long.
STOP_S_MAX = 10.0


class GuardedProcess:
    """A command that a guard runs. Raises OSError if it cannot be started.

    ``pid`` is the command's process id. ``ended`` is set when the command has ended; then
    ``exit_code`` is its exit code, negative for a signal, or None if the guard itself was killed.
    """

    def __init__(
        self, command: list[str], environment: dict[str, str], folder: Path, log: Path, remove_folder: bool
    ) -> None:
        """Start ``command`` in ``folder``, with ``environment`` added and its output to ``log``."""
        self.ended = threading.Event()
        self.exit_code: int | None = None
        # Isolated mode, so that no variable or module of the user changes the guard. A new session,
        # so that Ctrl-C reaches only this process, which then stops the command gracefully.
        guard = [sys.executable, "-I", "-S", __file__, str(log), str(folder) if remove_folder else ""]
        self._guard = subprocess.Popen(
            guard + command,
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            # What Kafka or a worker writes is for this user alone: topics and logs contain plates.
            umask=0o077,
        )
        assert self._guard.stdin is not None
        assert self._guard.stdout is not None
        self._to_guard, self._from_guard = self._guard.stdin, self._guard.stdout
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        first_line = self._from_guard.readline().decode().strip()
        if not first_line.isdigit():
            self._to_guard.close()
            self._from_guard.close()
            self._guard.wait()
            raise OSError(first_line.removeprefix("failed ") or "its guard exited at once")
        self.pid = int(first_line)
        self._watcher.start()

    def close(self, keep_folder: bool) -> None:
        """Stop the command gracefully (SIGTERM) if it still runs, then the guard."""
        with suppress(BrokenPipeError):  # the guard was killed, and _watch has killed the command
            if keep_folder and not self._to_guard.closed:
                self._to_guard.write(b"keep")
            self._to_guard.close()
        self._guard.wait()
        self._watcher.join()
        self._from_guard.close()

    def kill(self) -> None:
        """Kill the command (SIGKILL) and wait until it has ended."""
        if not self.ended.is_set():
            _kill(self.pid)
        self.ended.wait()

    def _watch(self) -> None:
        words = self._from_guard.readline().split()
        if words:
            self.exit_code = int(words[1])
        else:
            _kill(self.pid)  # the guard was killed, so it cannot stop the command
        self.ended.set()


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))


# --- the guard


def _guard(log: str, folder: str, command: list[str]) -> None:
    """Run ``command`` until standard input closes or this process receives SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    child = _start(command, log)
    request = ""
    try:
        if child is not None:
            _report(str(child.pid))
            threading.Thread(target=_report_exit, args=(child,), daemon=True).start()
        request = sys.stdin.read()
    finally:
        if child is not None:
            _stop(child)
        if folder and request != "keep":
            shutil.rmtree(folder, ignore_errors=True)


def _start(command: list[str], log: str) -> subprocess.Popen[bytes] | None:
    try:
        with Path(log).open("ab") as output:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    except OSError as error:
        _report(f"failed {error}")
        return None


def _report(line: str) -> None:
    # If the parent has ended, nobody reads this.
    with suppress(OSError):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _report_exit(child: subprocess.Popen[bytes]) -> None:
    _report(f"exited {child.wait()}")


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


if __name__ == "__main__":
    _guard(sys.argv[1], sys.argv[2], sys.argv[3:])
