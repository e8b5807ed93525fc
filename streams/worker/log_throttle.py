"""Log lines that say the same again, let through once in a while.

While a broker is away aiokafka says so a hundred times a second, gigabytes a day; whoever is on call needs it once.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Final

EVERY_S: Final = 10.0
_KEPT_MAX: Final = 1_000
"""Different messages that are remembered; beyond, all are forgotten, and said once more."""


class LogThrottle(logging.Filter):
    """Holds back what a logger below ``name`` has said a moment ago, and tells how often it was held back."""

    def __init__(self, name: str, now_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._of = name
        self._now_s = now_s
        self._said: dict[str, tuple[float, int]] = {}
        """By message: when it was let through, and how often it has been held back since."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is let through."""
        if not f"{record.name}.".startswith(f"{self._of}."):
            return True
        message, now_s = record.getMessage(), self._now_s()
        said_s, held_back = self._said.get(message, (-math.inf, 0))
        if now_s - said_s < EVERY_S:
            self._said[message] = (said_s, held_back + 1)
            return False
        if len(self._said) >= _KEPT_MAX:
            self._said.clear()
        self._said[message] = (now_s, 0)
        if held_back:
            record.msg, record.args = f"{message} (and {held_back} times more since {now_s - said_s:.0f} s ago)", ()
        return True


def throttle_repeated_logs(name: str) -> None:
    """Let what a library's loggers repeat through once in a while, on all handlers that there are."""
    repeats = LogThrottle(name)
    for handler in logging.getLogger().handlers:
        handler.addFilter(repeats)
