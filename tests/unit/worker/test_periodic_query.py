"""A query that runs in the background, one at a time."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.errors import KafkaError

from streams.worker.periodic_query import PeriodicQuery


async def test_poll_does_not_wait_and_the_next_query_starts_after_the_response() -> None:
    started, may_respond = 0, asyncio.Event()

    async def query() -> int:
        nonlocal started
        started += 1
        await may_respond.wait()
        return started

    periodic = PeriodicQuery(query, every_s=0)
    assert [periodic.poll() for _ in range(3)] == [None, None, None]
    await asyncio.sleep(0)
    assert started == 1
    may_respond.set()
    await asyncio.sleep(0)
    assert periodic.poll() == 1
    assert periodic.poll() is None
    await asyncio.sleep(0)
    assert started == 2


async def test_a_failed_query_raises_once_and_is_retried() -> None:
    outcomes = iter([OSError("away"), None])

    async def query() -> str:
        error = next(outcomes)
        if error:
            raise error
        return "there"

    periodic = PeriodicQuery(query, every_s=0)
    assert periodic.poll() is None
    await asyncio.sleep(0)
    with pytest.raises(KafkaError, match="OSError"):
        periodic.poll()
    assert periodic.poll() is None
    await asyncio.sleep(0)
    assert periodic.poll() == "there"


async def test_queries_keep_their_interval() -> None:
    async def query() -> str:
        return "there"

    periodic = PeriodicQuery(query, every_s=3600)
    periodic.poll()
    await asyncio.sleep(0)
    assert periodic.poll() == "there"
    assert periodic.poll() is None
    await asyncio.sleep(0)
    assert periodic.poll() is None


async def test_stop_neither_waits_for_the_response_nor_raises() -> None:
    async def hang() -> str:
        await asyncio.Event().wait()
        return "never"

    async def fail() -> str:
        raise OSError("away")

    for query in (hang, fail):
        periodic = PeriodicQuery(query, every_s=0)
        periodic.poll()
        await asyncio.sleep(0)
        await periodic.stop()
