"""The ordinary agents: they count the records of the rare topics, once over all workers, and dead-letter the bad.

What a record counts as is judged by the broadcast state up to it, which every worker has. The joined topics have the
batch agent instead (`batches`, `joining`).
"""

from __future__ import annotations

from typing import Any

from streams import metrics
from streams.core.events import BROADCAST, Refused
from streams.worker.broadcast import BroadcastReader
from streams.worker.outputs import Outputs
from streams.worker.records import core_record


def declare_agents(app: Any, prefix: str, reader: BroadcastReader, outputs: Outputs) -> None:  # noqa: ANN401
    """Declare an agent for each broadcast topic."""
    for topic in BROADCAST:
        channel = app.topic(
            prefix + topic, value_type=bytes, value_serializer="raw", key_type=bytes, key_serializer="raw"
        )
        app.agent(channel, name=f"count-{topic}")(_counting(prefix, reader, outputs))


def _counting(prefix: str, reader: BroadcastReader, outputs: Outputs) -> Any:  # noqa: ANN401 - Faust has no types
    async def count(stream: Any) -> None:  # noqa: ANN401
        async for event in stream.events():
            await _count(event.message, prefix, reader, outputs)

    return count


async def _count(message: Any, prefix: str, reader: BroadcastReader, outputs: Outputs) -> None:  # noqa: ANN401
    timestamp_ms = round(message.timestamp * 1000)
    record = core_record(
        prefix, message.topic, message.partition, message.offset, timestamp_ms, message.value, message.headers or ()
    )
    outcome = await reader.outcome(record.topic, record.partition, record.offset)
    if isinstance(outcome, Refused):
        await outputs.dead_letters([(record, outcome)])
        metrics.DEAD_LETTERS.labels(record.topic, outcome.reason).inc()
        outcome = outcome.outcome
    metrics.RECORDS.labels(record.topic, outcome).inc()
