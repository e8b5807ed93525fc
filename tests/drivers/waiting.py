"""Bounded waits for conditions; they end at once when a process they need has ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

WAIT_S_MAX = 60.0
LOOK_EVERY_S = 0.05


class Watched(Protocol):
    """A process that must keep running while a test waits."""

    def assert_runs(self) -> None:
        """Fail, quoting the log, if the process has ended."""

    def log_text(self) -> str:
        """Everything the process has logged."""


def eventually(watched: Sequence[Watched], is_true: Callable[[], bool], failure: str) -> None:
    """Wait until a condition holds, at most WAIT_S_MAX; else fail with this message."""
    deadline_s = time.monotonic() + WAIT_S_MAX
    while not is_true():
        check_deadline(watched, deadline_s, failure)
        time.sleep(LOOK_EVERY_S)


def check_deadline(watched: Sequence[Watched], deadline_s: float, failure: str) -> None:
    """Fail if a watched process has ended or the deadline (of time.monotonic) has passed."""
    for each in watched:
        each.assert_runs()
    if time.monotonic() > deadline_s:
        logs = "\n".join(each.log_text() for each in watched)
        raise AssertionError(f"{failure}; the workers logged:\n{logs}")
