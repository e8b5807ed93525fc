"""Ends the process in time, whatever the event loop does.

Invariants:

* SIGINT or SIGTERM is noted in the signal handler itself, not when the loop gets round to it.
* From then on the process lives for `GRACE_S` at most. A thread ends it with a message. If that
  thread cannot run either, a timer of the operating system ends it two seconds later.
* A second signal ends the process at once: its default action is restored.
* Code that holds Python's interpreter lock lets no handler and no thread run. So the thread renews
  another timer of the operating system all the time, which counts the CPU time of the process. If
  it is not renewed for `_LOCK_HELD_CPU_S`, the process ends. A process that is suspended, or gets
  no CPU, uses no CPU time, and goes on afterwards.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Final

from streams.log_format import LogFormatter

GRACE_S: Final = 20.0
"""How long a stop may take before the process exits and gives up its partitions."""
HARD_EXIT_CODE: Final = 70

_BACKSTOP_S: Final = 2.0
_LOCK_HELD_CPU_S: Final = 15.0
_LOOK_EVERY_S: Final = 0.5
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_TOO_SLOW: Final = (
    f"not stopped within {GRACE_S:.0f} s (a broker that does not answer takes longer): exiting; the next owner reads "
    "again what was not committed"
)


class Shutdown:
    """Notes the signals that stop the worker and ends the process if it does not stop by itself."""

    def __init__(self, hangs: Callable[[], str | None]) -> None:
        """Install the signal handlers; call it in the main thread, inside the running loop.

        ``hangs`` is called in a thread, twice a second: if it returns a message, the process exits.
        """
        self.requested = asyncio.Event()
        """Set when a signal has asked the worker to stop."""
        self._loop = asyncio.get_running_loop()
        self._hangs = hangs
        self._deadline_s: float | None = None
        for number in (signal.SIGALRM, signal.SIGPROF):
            # says where the process hangs: files and lines, no values
            faulthandler.register(number, chain=True)
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)  # `restart_process` blocked them
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        self.limit()
        with suppress(RuntimeError):  # the loop is closed: the process is ending
            self._loop.call_soon_threadsafe(self.requested.set)

    def limit(self) -> None:
        """From now on the process has `GRACE_S` to end by itself."""
        if self._deadline_s is None:
            signal.setitimer(signal.ITIMER_REAL, GRACE_S + _BACKSTOP_S)
            self._deadline_s = time.monotonic() + GRACE_S

    def _watch(self) -> None:
        while True:
            signal.setitimer(signal.ITIMER_PROF, _LOCK_HELD_CPU_S)
            if self._deadline_s is not None and time.monotonic() > self._deadline_s:
                _exit_hard(_TOO_SLOW)
            if message := self._hangs():
                _exit_hard(message)
            time.sleep(_LOOK_EVERY_S)


def restart_process() -> None:
    """Start the program again in this process, with the same arguments; does not return.

    Threads, connections and everything else of this run end. The process id stays, so that a
    supervisor sees no exit. The new run waits for the broker.
    """
    # a signal that arrives before the new run can handle it waits for that
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    for timer in (signal.ITIMER_REAL, signal.ITIMER_PROF):
        signal.setitimer(timer, 0)  # the new run would inherit them
    sys.stdout.flush()
    sys.stderr.flush()
    environment = os.environ | {"RAMPWATCH_WAIT": "true"}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def _exit_hard(message: str) -> None:
    # not through the handlers of logging: a thread that hangs may hold their lock
    record = logging.makeLogRecord(
        {"name": "rampwatch.worker", "levelname": "ERROR", "levelno": logging.ERROR, "msg": message}
    )
    os.write(sys.stderr.fileno(), (LogFormatter().format(record) + "\n").encode())
    os._exit(HARD_EXIT_CODE)
