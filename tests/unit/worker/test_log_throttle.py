"""Repeated log messages of a library pass once per interval."""

from __future__ import annotations

import logging

from streams.worker.log_throttle import EVERY_S, LogThrottle


def passed(throttle: LogThrottle, name: str, text: str, *args: object) -> str | None:
    record = logging.LogRecord(name, logging.ERROR, __file__, 1, text, args, None)
    return record.getMessage() if throttle.filter(record) else None


def test_repeats_are_suppressed_for_a_while_and_counted():
    now_s = 0.0
    throttle = LogThrottle("library", lambda: now_s)
    assert passed(throttle, "library.part", "away: %s", 1) == "away: 1"
    assert [passed(throttle, "library.part", "away: %s", 1) for _ in range(3)] == [None] * 3
    assert passed(throttle, "library", "away: %s", 2) == "away: 2"
    now_s = EVERY_S
    assert passed(throttle, "library.part", "away: %s", 1) == "away: 1 (repeats suppressed in the last 10 s: 3)"
    assert passed(throttle, "library.part", "away: %s", 1) is None
    now_s *= 2
    assert passed(throttle, "library", "away: %s", 2) == "away: 2"


def test_messages_of_other_loggers_always_pass():
    throttle = LogThrottle("library", lambda: 0.0)
    assert [passed(throttle, "librarylike", "again"), passed(throttle, "ours", "again")] == ["again"] * 2
    assert [passed(throttle, "ours", "again")] == ["again"]


def test_memory_is_bounded():
    throttle = LogThrottle("library", lambda: 0.0)
    for n in range(5_000):
        assert passed(throttle, "library", "%d", n) == str(n)
    assert len(throttle._messages) <= 1_000
