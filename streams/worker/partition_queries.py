"""Queries to the brokers about partitions, one for each partition.

One query about many partitions is answered when the last leader has answered. While one broker is
away, that holds up all partitions, those of the other brokers too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from typing import Any, Final, Generic, TypeVar

from aiokafka.errors import KafkaError, KafkaTimeoutError

from streams.kafka.connection import ACCESS_ERRORS

P = TypeVar("P", bound=Hashable)
T = TypeVar("T")

ANSWER_S_MAX: Final = 5.0
"""How long to wait for a leader. A healthy one answers within milliseconds."""


class PartitionQueries(Generic[P, T]):
    """Sends a query for each partition and returns the answers that arrive in time.

    The query gets one partition and returns what the client returns for it, such as
    ``lambda tp: consumer.end_offsets([tp])``.
    """

    def __init__(self, query: Callable[[P], Awaitable[Mapping[P, T]]], answer_s_max: float = ANSWER_S_MAX) -> None:
        self._query = query
        self._answer_s_max = answer_s_max
        self._in_flight: dict[P, asyncio.Future[Mapping[P, T]]] = {}

    async def answers(self, partitions: Iterable[P]) -> dict[P, T]:
        """Return the answers, without the partitions whose leaders did not give one in time.

        Every answer is to a query sent during this call. A query that was not answered in time goes
        on, and its partition is not queried again before it ends.

        Raises `KafkaError` if there are no answers at all, or this user lacks a right.
        """
        wanted = list(partitions)
        self._in_flight = {tp: query for tp, query in self._in_flight.items() if not query.done()}
        started = {tp: asyncio.ensure_future(self._query(tp)) for tp in wanted if tp not in self._in_flight}
        self._in_flight |= started
        if started:
            await asyncio.wait(started.values(), timeout=self._answer_s_max)
        answers: dict[P, T] = {}
        errors: list[KafkaError] = []
        for query in started.values():
            query.add_done_callback(_retrieve_error)
            try:
                answers.update(query.result() if query.done() else {})
            except KafkaError as error:
                errors.append(error)
        for failed in errors:
            if isinstance(failed, ACCESS_ERRORS) or not answers:
                raise failed
        if wanted and not answers:
            raise KafkaTimeoutError(f"no leader answered within {self._answer_s_max:.0f} s")
        return answers

    async def stop(self) -> None:
        """Cancel the queries in flight and ignore their results."""
        queries: list[asyncio.Future[Any]] = list(self._in_flight.values())
        for query in queries:
            query.cancel()
        await asyncio.gather(*queries, return_exceptions=True)


def _retrieve_error(query: asyncio.Future[Any]) -> None:
    """Retrieve the error of a query that nobody waits for, or asyncio logs a traceback."""
    if not query.cancelled():
        query.exception()
