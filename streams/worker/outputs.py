"""What a worker writes: linked incidents and dead letters, through Faust's producer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from streams import metrics
from streams.core.deadletters import dead_letter_headers, dead_letter_key
from streams.core.events import DEAD_LETTERS, ENCODER, INCIDENTS, LinkedIncident, Record, Refused
from streams.settings import Settings

DEAD_LETTER_BYTES_MAX: Final = 16 * 2**20
"""Of a record's own bytes. A record larger than its topic takes came compressed, and so does its dead letter."""


class Outputs:
    """Publishes what the engines say; every call returns when the broker has it."""

    def __init__(self, app: Any, settings: Settings, digest: str) -> None:  # noqa: ANN401 - Faust has no types
        self._app = app
        self._prefix = settings.prefix
        self._headers = {"rampwatch-digest": digest.encode()}
        if settings.prefix:
            self._headers["rampwatch-replay"] = settings.prefix.encode()

    async def incidents(self, partition: int, incidents: Sequence[LinkedIncident]) -> None:
        """Publish revisions to one partition, in their order."""
        topic = self._prefix + INCIDENTS
        await self._send_all([(topic, i.incident_id, ENCODER.encode(i), partition, self._headers) for i in incidents])
        for incident in incidents:
            metrics.INCIDENTS.labels(incident.status).inc()

    async def dead_letters(self, refusals: Sequence[tuple[Record, Refused]]) -> None:
        """Publish records that could not be used, as they came."""
        topic = self._prefix + DEAD_LETTERS
        await self._send_all(
            [
                (topic, dead_letter_key(record), _kept(record), None, self._headers | _as_bytes(record, refused))
                for record, refused in refusals
            ]
        )

    async def _send_all(self, rows: Sequence[tuple[str, str, bytes, int | None, dict[str, bytes]]]) -> None:
        producer = await self._app.maybe_start_producer()
        sent = [
            await producer.send(topic, key.encode(), value, partition, None, list(headers.items()))
            for topic, key, value, partition, headers in rows
        ]
        await asyncio.gather(*sent)


def _kept(record: Record) -> bytes:
    return (record.value or b"")[:DEAD_LETTER_BYTES_MAX]


def _as_bytes(record: Record, refused: Refused) -> dict[str, bytes]:
    headers = dead_letter_headers(record, refused)
    size = len(record.value or b"")
    if size > DEAD_LETTER_BYTES_MAX:
        headers["rampwatch-truncated"] = f"the first {DEAD_LETTER_BYTES_MAX} bytes of {size}"
    return {name: text.encode() for name, text in headers.items()}
