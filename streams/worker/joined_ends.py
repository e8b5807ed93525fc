"""Finds out, about once a second, where the partitions of the joined topics end.

It has a client of its own and asks each leader by itself: a leader that is away holds up neither
the other partitions nor the commits, which share the threads of Faust's client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.types import TP

from streams.kafka.client_errors import client_errors_mapped
from streams.kafka.connection import connection
from streams.settings import Settings
from streams.worker.partition_queries import PartitionQueries
from streams.worker.periodic_query import PeriodicQuery


class Ends(NamedTuple):
    """The ends of partitions, from one query."""

    epoch: int
    """The caller's epoch when the query was sent."""
    greatest_ms: dict[int, int]
    """`AssignedPartitions.greatest_stamps_ms` just before the query."""
    ends: dict[TP, int]
    """Without the partitions whose leaders did not answer."""


class JoinedEnds:
    """The periodic query and its client."""

    def __init__(self, settings: Settings, greatest_ms: Callable[[], dict[int, int]]) -> None:
        self._settings: Final = settings
        self._greatest_ms: Final = greatest_ms
        self._wanted: list[TopicPartition] = []
        self._epoch = 0
        self._consumer: Any = None
        self._queries: PartitionQueries[TopicPartition, int] = PartitionQueries(self._end_of)
        self._query: PeriodicQuery[Ends] = PeriodicQuery(self._fetch)

    def poll(self, tps: Iterable[TP], epoch: int) -> Ends | None:
        """Return the ends if they arrived since the last poll; start the next query when due.

        Ends of another epoch are dropped. Raises `KafkaError`.
        """
        self._wanted, self._epoch = [TopicPartition(*tp) for tp in tps], epoch
        response = self._query.poll()
        return response if response is not None and response.epoch == epoch else None

    async def stop(self) -> None:
        """Cancel the query in flight and close the connection."""
        await self._query.stop()
        await self._queries.stop()
        if self._consumer is not None:
            await self._consumer.stop()

    async def _fetch(self) -> Ends:
        epoch, greatest_ms = self._epoch, self._greatest_ms()
        with client_errors_mapped():
            if self._consumer is None:
                self._consumer = await self._connected()
            answers = await self._queries.answers(self._wanted) if self._wanted else {}
        return Ends(epoch, greatest_ms, {TP(tp.topic, tp.partition): end for tp, end in answers.items()})

    async def _connected(self) -> Any:  # noqa: ANN401 - aiokafka has no types
        consumer = AIOKafkaConsumer(**connection(self._settings), enable_auto_commit=False)
        try:
            await consumer.start()
        except BaseException:
            await consumer.stop()
            raise
        return consumer

    async def _end_of(self, tp: TopicPartition) -> dict[TopicPartition, int]:
        ends: dict[TopicPartition, int] = await self._consumer.end_offsets([tp])
        return ends
