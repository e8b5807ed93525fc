"""The ordinary agents: they count the records of the broadcast topics, once over all workers.

Every worker reads these topics whole and knows each record's effects (`broadcast_reader`). The one
to which the group assigns a partition delivers them. The joined topics have the batch consumer
instead (`batch_consumer`).
"""

from __future__ import annotations

from typing import Any

from streams.core.events import Record
from streams.core.topics import BROADCAST
from streams.worker.broadcast_reader import BroadcastReader
from streams.worker.outputs import Outputs
from streams.worker.records import core_record


def declare_agents(app: Any, prefix: str, reader: BroadcastReader, outputs: Outputs) -> None:  # noqa: ANN401
    """Declare an agent for each broadcast topic.

    A record is acknowledged when its effects are delivered. Any failure ends the worker, so that
    the record is read again; a stock agent would acknowledge it, and so skip it.
    """

    async def deliver(stream: Any) -> None:  # noqa: ANN401
        async for event in stream.noack().events():
            message = event.message
            try:
                await outputs.deliver(await reader.effects_of(_record(prefix, message)))
            except Exception as error:
                await app.crash(error)
                raise
            event.ack()

    for topic in BROADCAST:
        channel = app.topic(
            prefix + topic, value_type=bytes, value_serializer="raw", key_type=bytes, key_serializer="raw"
        )
        app.agent(channel, name=f"count-{topic}")(deliver)


def _record(prefix: str, message: Any) -> Record:  # noqa: ANN401
    return core_record(
        prefix,
        message.topic,
        message.partition,
        message.offset,
        round(message.timestamp * 1000),
        message.key,
        message.value,
        message.headers or (),
    )
