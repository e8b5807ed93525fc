"""The ordinary agents: they count the records of the rare topics, once over all workers, and tally the shots.

What a record counts as is judged by the broadcast state up to it, which every worker has. The joined topics have the
batch agent instead (`batches`, `partitions`).
"""

from __future__ import annotations

from typing import Any

from streams.core.counters.events import tally_of_shot
from streams.core.events import BROADCAST, SHOTS, InvalidRecord, Record, ShotAlert
from streams.core.intake import Intake
from streams.core.site import Site
from streams.worker import metrics
from streams.worker.broadcast_reader import BroadcastReader
from streams.worker.outputs import Outputs
from streams.worker.records import core_record


def declare_agents(
    app: Any,  # noqa: ANN401
    prefix: str,
    intake: Intake,
    site: Site,
    reader: BroadcastReader,
    outputs: Outputs,
) -> None:
    """Declare an agent for each broadcast topic.

    A record is acknowledged when it has been counted and its dead letter is out; what fails ends the worker, so that
    the record is read again. A stock agent would acknowledge, and so skip, what has raised.
    """

    async def count(stream: Any) -> None:  # noqa: ANN401
        async for event in stream.noack().events():
            try:
                await _count(event.message, prefix, intake, site, reader, outputs)
            except Exception as error:
                await app.crash(error)
                raise
            event.ack()

    for topic in BROADCAST:
        channel = app.topic(
            prefix + topic, value_type=bytes, value_serializer="raw", key_type=bytes, key_serializer="raw"
        )
        app.agent(channel, name=f"count-{topic}")(count)


async def _count(
    message: Any,  # noqa: ANN401
    prefix: str,
    intake: Intake,
    site: Site,
    reader: BroadcastReader,
    outputs: Outputs,
) -> None:
    timestamp_ms = round(message.timestamp * 1000)
    record = core_record(
        prefix, message.topic, message.partition, message.offset, timestamp_ms, message.value, message.headers or ()
    )
    outcome = await reader.outcome(record.topic, record.partition, record.offset)
    if outcome in ("dead", "late"):
        refused = _why(record, intake)
        await outputs.dead_letters([(record, refused)])
        metrics.DEAD_LETTERS.labels(record.topic, refused.reason).inc()
    elif record.topic == SHOTS and outcome != "duplicate":
        shot = intake.admit(record).event
        assert isinstance(shot, ShotAlert)
        await outputs.tallies([tally_of_shot(shot, site)])
    metrics.RECORDS.labels(record.topic, outcome).inc()


def _why(record: Record, intake: Intake) -> InvalidRecord:
    """Why a record was refused: what it holds, or else that there were too many."""
    try:
        intake.admit(record)
    except InvalidRecord as refused:
        return refused
    return InvalidRecord("limit", "alert_id", "as many shots may change already as are allowed; raise max_shots")
