"""A question that is asked in the background, one at a time."""

from __future__ import annotations

import asyncio

import pytest

from streams.worker.periodic_query import PeriodicQuery


async def test_nobody_waits_for_an_answer_and_the_next_question_waits_for_it() -> None:
    asked, may_answer = 0, asyncio.Event()

    async def ask() -> int:
        nonlocal asked
        asked += 1
        await may_answer.wait()
        return asked

    asking = PeriodicQuery(ask, every_s=0)
    assert [asking.answer() for _ in range(3)] == [None, None, None]
    await asyncio.sleep(0)
    assert asked == 1
    may_answer.set()
    await asyncio.sleep(0)
    assert asking.answer() == 1
    assert asking.answer() is None
    await asyncio.sleep(0)
    assert asked == 2


async def test_a_question_that_fails_says_so_once_and_is_asked_again() -> None:
    answers = iter([OSError("away"), None])

    async def ask() -> str:
        error = next(answers)
        if error:
            raise error
        return "there"

    asking = PeriodicQuery(ask, every_s=0)
    assert asking.answer() is None
    await asyncio.sleep(0)
    with pytest.raises(OSError, match="away"):
        asking.answer()
    assert asking.answer() is None
    await asyncio.sleep(0)
    assert asking.answer() == "there"


async def test_it_is_asked_no_more_often_than_told() -> None:
    async def ask() -> str:
        return "there"

    asking = PeriodicQuery(ask, every_s=3600)
    asking.answer()
    await asyncio.sleep(0)
    assert asking.answer() == "there"
    assert asking.answer() is None
    await asyncio.sleep(0)
    assert asking.answer() is None


async def test_who_stops_waits_for_no_answer_and_hears_of_no_failure() -> None:
    async def hang() -> str:
        await asyncio.Event().wait()
        return "never"

    async def fail() -> str:
        raise OSError("away")

    for ask in (hang, fail):
        asking = PeriodicQuery(ask, every_s=0)
        asking.answer()
        await asyncio.sleep(0)
        await asking.stop()
