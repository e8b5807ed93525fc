"""A query to the broker that runs in the background at intervals, so that nothing waits for it.

The end offsets of partitions are such a query. While one broker is away the response may take 90 s,
and records from the other brokers must be joined meanwhile.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

from streams.kafka.client_errors import client_errors_mapped

T = TypeVar("T")

QUERY_EVERY_S: Final = 1.0
"""How often the end offsets are queried: it bounds how late memory is released."""


class PeriodicQuery(Generic[T]):
    """Runs a query at intervals, one at a time."""

    def __init__(self, query: Callable[[], Coroutine[Any, Any, T]], every_s: float = QUERY_EVERY_S) -> None:
        self._query = query
        self._every_s = every_s
        self._task: asyncio.Task[T] | None = None
        self._started_s = -math.inf

    def poll(self) -> T | None:
        """Return the response if it arrived since the last poll; start the next query when due.

        Raises `KafkaError` if the query failed in the client.
        """
        task = self._task
        if task is not None:
            if not task.done():
                return None
            self._task = None
            with client_errors_mapped():
                return task.result()
        now_s = asyncio.get_running_loop().time()
        if now_s - self._started_s >= self._every_s:
            self._started_s = now_s
            self._task = asyncio.ensure_future(self._query())
        return None

    async def stop(self) -> None:
        """Cancel the query in flight and ignore its result."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
