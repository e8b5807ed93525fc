"""What a worker writes beside its incidents: dead letters, through Faust's producer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

from aiokafka.errors import KafkaError
from faust.exceptions import ProducerSendError

from streams.core.deadletters import dead_letter_headers, dead_letter_key
from streams.core.events import DEAD_LETTERS, Record, Refused
from streams.settings import Settings
from streams.worker.health import Pulse

DEAD_LETTER_BYTES_MAX: Final = 16 * 2**20
"""Of a record's own bytes. A record larger than its topic takes came compressed, and so does its dead letter."""


_AGAIN_S: Final = 1.0

log = logging.getLogger("rampwatch.worker")


class Outputs:
    """Publishes what could not be used; every call returns when the broker has it."""

    def __init__(self, app: Any, settings: Settings, digest: str, pulse: Pulse) -> None:  # noqa: ANN401 - Faust has no types
        self._app = app
        self._prefix = settings.prefix
        self._pulse = pulse
        self.headers: Final = {"rampwatch-digest": digest.encode()}
        if settings.prefix:
            self.headers["rampwatch-replay"] = settings.prefix.encode()

    async def dead_letters(self, refusals: Sequence[tuple[Record, Refused]]) -> None:
        """Publish records that could not be used, as they came; tries until the broker has them."""
        rows = [
            (dead_letter_key(record).encode(), _kept(record), list((self.headers | _as_bytes(record, refused)).items()))
            for record, refused in refusals
        ]
        while True:
            try:
                return await self._send_all(self._prefix + DEAD_LETTERS, rows)
            except (KafkaError, ProducerSendError) as error:
                log.warning("the broker takes no dead letters now (%s); trying again", type(error).__name__)
                self._pulse.beat()
                await asyncio.sleep(_AGAIN_S)

    async def _send_all(self, topic: str, rows: Sequence[tuple[bytes, bytes, list[tuple[str, bytes]]]]) -> None:
        producer = await self._app.maybe_start_producer()
        sent = [await producer.send(topic, key, value, None, None, headers) for key, value, headers in rows]
        await asyncio.gather(*sent)


def _kept(record: Record) -> bytes:
    return (record.value or b"")[:DEAD_LETTER_BYTES_MAX]


def _as_bytes(record: Record, refused: Refused) -> dict[str, bytes]:
    headers = dead_letter_headers(record, refused)
    size = len(record.value or b"")
    if size > DEAD_LETTER_BYTES_MAX:
        headers["rampwatch-truncated"] = f"the first {DEAD_LETTER_BYTES_MAX} bytes of {size}"
    return {name: text.encode() for name, text in headers.items()}
