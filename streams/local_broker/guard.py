"""A command that runs for exactly as long as the program that started it lives: both ends of the arrangement.

A Kafka left behind by a test that was killed would hold its port and its memory for ever, and a killed program
cannot clean up. So the local broker starts Java through this file run as a script, the *guard*, and holds the guard's
standard input open: whatever ends the program, the system closes that pipe, and the guard stops the command. That
works wherever pipes do, which the kernel's own signal for it does not.

The guard's arguments: the file for the command's output, a folder to remove at the end (empty: none), the command.
Its standard output: the command's process id on a line, or ``failed`` and why; later ``exited`` and the code.
Its standard input: may carry ``keep`` before it closes; then the folder stays.
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

# Kafka shuts down in under a second; one that hangs must not outlive its parent for long.
STOP_S_MAX = 10.0


class GuardedProcess:
    """A command under guard. Raises OSError where it cannot be started.

    ``pid`` is the command's process id. ``ended`` is set when the command is over; then ``exit_code`` is its code,
    negative for a signal, None if the guard itself was killed.
    """

    def __init__(
        self, command: list[str], environment: dict[str, str], folder: Path, log: Path, remove_folder: bool
    ) -> None:
        """Start ``command`` in ``folder``, with ``environment`` added, its output appended to ``log``."""
        self.ended = threading.Event()
        self.exit_code: int | None = None
        # Isolated, so that no variable or module of the user changes the guard. In a session of its own, so that
        # Ctrl-C in the terminal reaches us only, and we stop the command in order.
        guard = [sys.executable, "-I", "-S", __file__, str(log), str(folder) if remove_folder else ""]
        self._guard = subprocess.Popen(
            guard + command,
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._guard.stdin is not None
        assert self._guard.stdout is not None
        self._to_guard, self._from_guard = self._guard.stdin, self._guard.stdout
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        first = self._from_guard.readline().decode().strip()
        if not first.isdigit():
            self._to_guard.close()
            self._from_guard.close()
            self._guard.wait()
            raise OSError(first.removeprefix("failed ") or "its guard ended at once")
        self.pid = int(first)
        self._watcher.start()

    def close(self, keep_folder: bool) -> None:
        """End the command in order (SIGTERM) if it still runs, then the guard."""
        with suppress(BrokenPipeError):  # the guard was killed: then _watch has ended the command
            if keep_folder and not self._to_guard.closed:
                self._to_guard.write(b"keep")
            self._to_guard.close()
        self._guard.wait()
        self._watcher.join()
        self._from_guard.close()

    def kill(self) -> None:
        """End the command at once (SIGKILL) and return when it is gone."""
        if not self.ended.is_set():
            _kill(self.pid)
        self.ended.wait()

    def _watch(self) -> None:
        words = self._from_guard.readline().split()
        if words:
            self.exit_code = int(words[1])
        else:
            _kill(self.pid)  # the guard is gone without a word, so nobody else will
        self.ended.set()


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))


# --- the other end: what the guard does


def _guard(log: str, folder: str, command: list[str]) -> None:
    """Run ``command`` until standard input closes or this process is asked to end (SIGTERM)."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    child = _start(command, log)
    last_word = ""
    try:
        if child is not None:
            _tell(str(child.pid))
            threading.Thread(target=_tell_when_ended, args=(child,), daemon=True).start()
        last_word = sys.stdin.read()
    finally:
        if child is not None:
            _stop(child)
        if folder and last_word != "keep":
            shutil.rmtree(folder, ignore_errors=True)


def _start(command: list[str], log: str) -> subprocess.Popen[bytes] | None:
    try:
        with Path(log).open("ab") as output:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    except OSError as error:
        _tell(f"failed {error}")
        return None


def _tell(line: str) -> None:
    # The parent may be gone: then nobody needs to know.
    with suppress(OSError):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _tell_when_ended(child: subprocess.Popen[bytes]) -> None:
    _tell(f"exited {child.wait()}")


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


if __name__ == "__main__":
    _guard(sys.argv[1], sys.argv[2], sys.argv[3:])
