"""Queries about partitions: one that is not answered holds up no other."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from aiokafka.errors import KafkaError, KafkaTimeoutError, NotLeaderForPartitionError, TopicAuthorizationFailedError

from streams.worker.partition_queries import PartitionQueries

SOON_S = 0.05


class Brokers:
    """Leaders of partitions that answer, fail, or do not answer until they come back."""

    def __init__(self) -> None:
        self.away: set[int] = set()
        self.errors: dict[int, KafkaError] = {}
        self.back = asyncio.Event()
        self.asked: list[int] = []

    async def end_of(self, number: int) -> Mapping[int, int]:
        self.asked.append(number)
        if number in self.away:
            await self.back.wait()
        if number in self.errors:
            raise self.errors[number]
        return {number: 10 * number}


async def test_every_partition_is_answered():
    queries = PartitionQueries(Brokers().end_of)
    assert await queries.answers(range(3)) == {0: 0, 1: 10, 2: 20}
    assert await queries.answers([]) == {}


async def test_a_leader_that_is_away_or_fails_holds_up_no_other_partition():
    brokers = Brokers()
    brokers.away, brokers.errors = {1}, {2: NotLeaderForPartitionError()}
    queries = PartitionQueries(brokers.end_of, SOON_S)
    assert await queries.answers(range(4)) == {0: 0, 3: 30}
    await queries.stop()


async def test_a_partition_is_queried_again_only_when_its_last_query_has_ended():
    brokers = Brokers()
    brokers.away = {1}
    queries = PartitionQueries(brokers.end_of, SOON_S)
    for _ in range(3):
        assert await queries.answers(range(2)) == {0: 0}
    assert brokers.asked.count(1) == 1
    brokers.back.set()
    await asyncio.sleep(SOON_S)
    assert await queries.answers([1]) == {1: 10}, "the answer to the new query, not to the old one"
    assert brokers.asked.count(1) == 2


async def test_without_any_answer_the_error_is_raised():
    brokers = Brokers()
    brokers.away, brokers.errors = {1}, {2: NotLeaderForPartitionError()}
    queries = PartitionQueries(brokers.end_of, SOON_S)
    with pytest.raises(NotLeaderForPartitionError):
        await queries.answers([1, 2])
    with pytest.raises(KafkaTimeoutError, match="no leader answered within 0 s"):
        await queries.answers([1])
    await queries.stop()


async def test_a_missing_right_is_raised_whatever_else_is_answered():
    brokers = Brokers()
    brokers.errors = {1: TopicAuthorizationFailedError()}
    with pytest.raises(TopicAuthorizationFailedError):
        await PartitionQueries(brokers.end_of).answers(range(2))
