"""What a library says again and again is let through once in a while."""

from __future__ import annotations

import logging

from streams.worker.log_throttle import EVERY_S, LogThrottle


def through(repeats: LogThrottle, name: str, text: str, *args: object) -> str | None:
    record = logging.LogRecord(name, logging.ERROR, __file__, 1, text, args, None)
    return record.getMessage() if repeats.filter(record) else None


def test_what_is_said_again_is_held_back_for_a_while_and_counted():
    now_s = 0.0
    repeats = LogThrottle("library", lambda: now_s)
    assert through(repeats, "library.part", "away: %s", 1) == "away: 1"
    assert [through(repeats, "library.part", "away: %s", 1) for _ in range(3)] == [None] * 3
    assert through(repeats, "library", "away: %s", 2) == "away: 2"
    now_s = EVERY_S
    assert through(repeats, "library.part", "away: %s", 1) == "away: 1 (and 3 times more since 10 s ago)"
    assert through(repeats, "library.part", "away: %s", 1) is None
    now_s *= 2
    assert through(repeats, "library", "away: %s", 2) == "away: 2"


def test_what_others_say_is_never_held_back():
    repeats = LogThrottle("library", lambda: 0.0)
    assert [through(repeats, "librarylike", "again"), through(repeats, "ours", "again")] == ["again"] * 2
    assert [through(repeats, "ours", "again")] == ["again"]


def test_memory_is_bounded():
    repeats = LogThrottle("library", lambda: 0.0)
    for n in range(5_000):
        assert through(repeats, "library", "%d", n) == str(n)
    assert len(repeats._said) <= 1_000
