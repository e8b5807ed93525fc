"""A signal ends the process in time, whatever the event loop or the interpreter does."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

GRACE_S = 1.0
BLOCKED = "time.sleep(600)"
LOCKED = "sum(range(10**15))"
"""Holds the interpreter's lock for ever: no Python code of any thread runs."""
LOCKED_BUT_FOR_SIGNALS = "re.fullmatch('(a+)+b', 'a' * 60)"
"""Holds the lock, but lets signal handlers run from time to time."""

PROGRAM = """
import asyncio, re, time
from streams.worker import shutdown
from streams.worker.health import ProgressMonitor

shutdown.GRACE_S, shutdown._BACKSTOP_S, shutdown._LOCK_HELD_CPU_S = {grace_s}, 1.0, {lock_held_s}

async def main():
    progress = ProgressMonitor(stalled_after_ms=100)
    hangs = lambda: "the worker hangs" if {watches} and progress.is_stalled else None
    ends = shutdown.Shutdown(hangs)
    print("up", flush=True)
    {then}
    await ends.requested.wait()

asyncio.run(main())
"""


@contextmanager
def program(then: str, watches: bool = False, lock_held_s: float = 60) -> Iterator[subprocess.Popen[str]]:
    """A process whose event loop does something, once it has installed its signal handlers."""
    text = PROGRAM.format(grace_s=GRACE_S, then=then, watches=watches, lock_held_s=lock_held_s)
    command = [sys.executable, "-c", text]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for the end; return the exit code and what it printed as errors."""
    _, errors = process.communicate(timeout=50)
    return process.returncode, errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_an_idle_loop_to_stop(number: signal.Signals) -> None:
    with program("pass") as process:
        process.send_signal(number)
        assert ended(process) == (0, "")


def test_a_signal_ends_a_process_whose_loop_is_blocked_within_the_grace_with_a_message() -> None:
    with program(BLOCKED) as process:
        process.send_signal(signal.SIGTERM)
        began_s = time.monotonic()
        code, errors = ended(process)
        assert time.monotonic() - began_s < GRACE_S + 5
    assert code == 70
    assert "ERROR rampwatch.worker: not stopped within" in errors


def test_a_second_signal_ends_a_process_whose_loop_is_blocked_at_once() -> None:
    with program("shutdown.GRACE_S = 600; " + BLOCKED) as process:
        process.send_signal(signal.SIGTERM)
        began_s = time.monotonic()
        while process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert time.monotonic() - began_s < 20
            time.sleep(0.05)
    assert process.returncode == -signal.SIGTERM


def test_a_signal_ends_a_process_in_which_no_thread_can_run_but_handlers_can() -> None:
    with program(LOCKED_BUT_FOR_SIGNALS) as process:
        process.send_signal(signal.SIGTERM)
        code, errors = ended(process)
    assert code == -signal.SIGALRM
    assert 'File "<string>"' in errors, "it does not say where it hangs"


def test_a_process_in_which_no_python_code_can_run_ends_with_or_without_a_signal() -> None:
    with program(LOCKED, lock_held_s=1) as process, program(LOCKED, lock_held_s=1) as other:
        other.send_signal(signal.SIGTERM)
        assert ended(process)[0] == -signal.SIGPROF
        # on a busy machine the time after a signal is over before a second of CPU time is
        assert ended(other)[0] in (-signal.SIGPROF, -signal.SIGALRM)


def test_work_in_python_code_for_longer_than_the_lock_may_be_held_goes_on() -> None:
    busy = "end = time.process_time() + 3\n    while time.process_time() < end: pass\n    return"
    with program(busy, lock_held_s=1) as process:
        assert ended(process) == (0, "")


def test_the_watchdog_ends_a_worker_whose_event_loop_hangs() -> None:
    with program(BLOCKED, watches=True) as process:
        code, errors = ended(process)
    assert code == 70
    assert errors.endswith("ERROR rampwatch.worker: the worker hangs\n")
