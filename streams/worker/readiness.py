"""Whether a worker can do its work now, and why not: the sentences of ``/health/ready``.

A worker is ready if its partitions are rebuilt and caught up, a broker answers, and every topic is
there. A restart mends none of these, so a worker that is not ready is alive all the same.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError, KafkaError, NoError, UnknownTopicOrPartitionError, for_code
from aiokafka.protocol.metadata import MetadataRequest

from streams.core.topics import TOPICS
from streams.kafka.connection import connection
from streams.settings import Settings
from streams.worker.assigned_partitions import AssignedPartitions
from streams.worker.lag import watch_bounds

_EVERY_S: Final = 1.0
_RESPONSE_MS_MAX: Final = 2_000
"""Of one broker; then the next one is asked."""
_SILENCE_S_MAX: Final = 8.0
"""How long no broker may have answered; longer than it takes to ask three."""

log = logging.getLogger("rampwatch.worker")


class Readiness:
    """Asks the brokers for the topics, time and again, and knows what is amiss."""

    def __init__(self, settings: Settings, partitions: AssignedPartitions) -> None:
        self._settings = settings
        self._partitions = partitions
        self._topics = [settings.prefix + topic.name for topic in TOPICS]
        self._topic_problems: Sequence[str] = ()
        self._answered_s = time.monotonic()
        self._is_silent = False
        """Whether the last query was not answered: this is logged once."""
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Ask the brokers and measure the lag, until the event loop ends."""
        self._watching = asyncio.ensure_future(self._watch())

    def reasons(self) -> list[str]:
        """Return a sentence for each reason why this worker is not ready; from any thread."""
        return list(self._reasons())

    def _reasons(self) -> Iterator[str]:
        if reason := self._partitions.why_not_ready():
            yield reason
        silent_s = time.monotonic() - self._answered_s
        if silent_s > _SILENCE_S_MAX:
            yield f"{self._settings.broker}: no broker has answered for {silent_s:.0f} s"
        else:
            yield from self._topic_problems

    async def _watch(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(watch_bounds(self._settings, self._partitions.lag))
            tasks.create_task(self._watch_topics())

    async def _watch_topics(self) -> None:
        while True:
            try:
                async with _client(self._settings) as client:
                    while True:
                        self._note_topics(await _described(client, self._topics))
                        await asyncio.sleep(_EVERY_S)
            except Exception as error:  # whatever a client raises while the broker is away
                if not self._is_silent:
                    log.warning("no broker describes the topics (%s); retrying", type(error).__name__)
                self._is_silent = True
            await asyncio.sleep(_EVERY_S)

    def _note_topics(self, described: Iterable[Mapping[str, Any]]) -> None:
        problems = list(filter(None, map(topic_problem, described)))
        for problem in problems:
            if problem not in self._topic_problems:
                log.error("not ready: %s", problem)
        if self._is_silent or (self._topic_problems and not problems):
            log.info("a broker describes the topics again; %d have problems", len(problems))
        self._topic_problems = problems
        self._answered_s, self._is_silent = time.monotonic(), False


@asynccontextmanager
async def _client(settings: Settings) -> AsyncIterator[Any]:
    """A client that has found a broker; raises `KafkaError`."""
    client = AIOKafkaClient(**connection(settings), request_timeout_ms=_RESPONSE_MS_MAX)
    try:
        await client.bootstrap()
        yield client
    finally:
        await client.close()


async def _described(client: Any, topics: Sequence[str]) -> Sequence[Mapping[str, Any]]:  # noqa: ANN401
    """Return how a broker describes topics, the first of them that answers; raises `KafkaError`.

    A topic that is gone is not created by this, even where brokers create topics on request.
    """
    brokers = [broker.nodeId for broker in client.cluster.brokers()]
    for broker in random.sample(brokers, len(brokers)):
        try:
            response = await client.send(broker, MetadataRequest(list(topics), allow_auto_topic_creation=False))
        except KafkaError:
            continue
        described: Sequence[Mapping[str, Any]] = response.to_object()["topics"]
        return described
    raise KafkaConnectionError("no broker answers")


def topic_problem(topic: Mapping[str, Any]) -> str:
    """Return a sentence for what is wrong with a topic; empty if nothing is.

    ``topic``: as a broker describes it.
    """
    error = for_code(topic["error_code"])
    if error is UnknownTopicOrPartitionError:
        return f"{topic['topic']}: does not exist; create it with rampwatch topics create"
    if error is not NoError:
        return f"{topic['topic']}: the broker reports {error.__name__}"
    partitions = topic["partitions"]
    headless = sum(partition["leader"] < 0 for partition in partitions)
    return f"{topic['topic']}: {headless} of {len(partitions)} partitions have no leader" if headless else ""
