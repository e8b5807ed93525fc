"""Throttles log messages that repeat.

While a broker is away, aiokafka logs the same message a hundred times a second, gigabytes a day.
The person on call needs it once.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Final

EVERY_S: Final = 10.0
"""A message that repeats passes once in this time."""
_MESSAGES_MAX: Final = 1_000
"""Distinct messages remembered. Beyond that all are forgotten, and each passes once more."""


class LogThrottle(logging.Filter):
    """Suppresses and counts repeated messages of the logger ``name`` and those below it."""

    def __init__(self, name: str, now_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._logger = name
        self._now_s = now_s
        self._messages: dict[str, tuple[float, int]] = {}
        """For each message: when it last passed, and how many repeats were suppressed since."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record passes."""
        if not f"{record.name}.".startswith(f"{self._logger}."):
            return True
        message, now_s = record.getMessage(), self._now_s()
        passed_s, suppressed = self._messages.get(message, (-math.inf, 0))
        if now_s - passed_s < EVERY_S:
            self._messages[message] = (passed_s, suppressed + 1)
            return False
        if len(self._messages) >= _MESSAGES_MAX:
            self._messages.clear()
        self._messages[message] = (now_s, 0)
        if suppressed:
            record.msg = f"{message} (repeats suppressed in the last {now_s - passed_s:.0f} s: {suppressed})"
            record.args = ()
        return True


def throttle_repeated_logs(name: str) -> None:
    """Throttle the repeated messages of a library's loggers on all handlers of the root logger."""
    throttle = LogThrottle(name)
    for handler in logging.getLogger().handlers:
        handler.addFilter(throttle)
