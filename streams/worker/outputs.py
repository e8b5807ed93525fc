"""What a worker writes beside its incidents: dead letters, strays and tallies, through Faust's producer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from faust.exceptions import ProducerSendError

from streams.core.counters.events import Tally, tally_key
from streams.core.dead_letters import dead_letter_headers, dead_letter_key
from streams.core.events import DEAD_LETTERS, ENCODER, FORWARDED_HEADER, TALLIES, InvalidRecord, Record
from streams.kafka.connection import DENIED
from streams.settings import Settings
from streams.worker.health import ProgressMonitor
from streams.worker.records import STAMP_HEADER

DEAD_LETTER_BYTES_MAX: Final = 16 * 2**20
"""Of a record's own bytes. A record larger than its topic takes came compressed, and so does its dead letter."""
TOO_LARGE: Final = InvalidRecord(
    "limit", "", "lies on a wrong partition and is too large to be sent on; key records by their plate key"
)
DIGEST_HEADER: Final = "rampwatch-digest"
"""Of all that is published: the digest of the site file, the rules and the calibration."""
_AGAIN_S: Final = 1.0

log = logging.getLogger("rampwatch.worker")


class Sending(NamedTuple):
    """A record to be written; without a ``partition`` the key decides."""

    topic: str
    key: bytes
    value: bytes
    partition: int | None
    headers: dict[str, bytes]
    instead: Any = None
    """The `Sending` in its place where its topic does not take it; None: itself, shortened."""

    def smaller(self) -> Sending:
        """What is sent instead of what is too large."""
        if self.instead is not None:
            smaller: Sending = self.instead
            return smaller
        told = f"the first {len(self.value) // 2} bytes of it, the topic takes no more".encode()
        return self._replace(
            value=self.value[: len(self.value) // 2], headers=self.headers | {"rampwatch-truncated": told}
        )


class Outputs:
    """Publishes what could not be used here; every call returns when the broker has it."""

    def __init__(self, app: Any, settings: Settings, digest: str, progress: ProgressMonitor) -> None:  # noqa: ANN401 - Faust has no types
        self._app = app
        self.prefix: Final = settings.prefix
        self._progress = progress
        self.headers: Final = {DIGEST_HEADER: digest.encode()}
        if settings.prefix:
            self.headers["rampwatch-replay"] = settings.prefix.encode()

    async def dead_letters(self, refusals: Sequence[tuple[Record, InvalidRecord]]) -> None:
        """Publish records that could not be used, as they came; tries until the broker has them."""
        await self._send(self._dead_letter(record, refused) for record, refused in refusals)

    def _dead_letter(self, record: Record, refused: InvalidRecord) -> Sending:
        headers = self.headers | _as_bytes(record, refused)
        return Sending(self.prefix + DEAD_LETTERS, dead_letter_key(record).encode(), _kept(record), None, headers)

    async def forward(self, strays: Sequence[tuple[int, str, Record]]) -> None:
        """Send records on to the partitions where they belong, given each with its plate key; as `dead_letters`.

        What its topic does not take again becomes a dead letter: half a record is none.
        """
        await self._send(
            Sending(
                self.prefix + record.topic,
                key.encode(),
                record.value or b"",
                number,
                self._of_stray(record),
                self._dead_letter(record, TOO_LARGE),
            )
            for number, key, record in strays
        )

    async def tallies(self, tallies: Iterable[Tally]) -> None:
        """Publish what is counted; as `dead_letters`."""
        topic = self.prefix + TALLIES
        await self._send(
            Sending(topic, tally_key(tally).encode(), ENCODER.encode(tally), 0, self.headers) for tally in tallies
        )

    def _of_stray(self, record: Record) -> dict[str, bytes]:
        headers = {FORWARDED_HEADER: f"{record.partition}:{record.offset}".encode()}
        return headers | ({STAMP_HEADER: str(record.stamp_ms).encode()} if self.prefix else {})

    async def _send(self, sendings: Iterable[Sending]) -> None:
        """Send until the broker has all: in part what is too large for its topic; raises where nothing is permitted."""
        left = list(sendings)
        while left:
            told = await self._kept_back(left)
            await self._wait(error for _, error in told if not isinstance(error, MessageSizeTooLargeError))
            left = [row.smaller() if isinstance(error, MessageSizeTooLargeError) else row for row, error in told]

    async def _kept_back(self, rows: Sequence[Sending]) -> list[tuple[Sending, KafkaError]]:
        """Send rows and return those that the broker has not, each with what kept it back.

        They are handed to the producer one after the other: of a thousand that wait there for room all are woken for
        the next that fits, and a flood of dead letters would go out at a hundredth of the speed.
        """
        under_way: list[tuple[Sending, Any]] = []
        kept_back: list[tuple[Sending, KafkaError]] = []
        for at, row in enumerate(rows):
            try:
                under_way.append((row, await self._begun(row)))
            except MessageSizeTooLargeError as error:
                kept_back.append((row, error))
            except KafkaError as error:
                kept_back += [(other, error) for other in rows[at:]]  # no room for one, none for the next
                break
        answers = await asyncio.gather(*(answer for _, answer in under_way), return_exceptions=True)
        for (row, _), answer in zip(under_way, answers, strict=True):
            if isinstance(answer, KafkaError):
                kept_back.append((row, answer))
            elif isinstance(answer, BaseException):
                raise answer
        return kept_back

    async def _begun(self, row: Sending) -> Any:  # noqa: ANN401 - aiokafka has no types
        """Hand a row to the producer and return what will be the broker's answer; raises `KafkaError`."""
        producer = await self._app.maybe_start_producer()
        try:
            return await producer.send(row.topic, row.key, row.value, row.partition, None, list(row.headers.items()))
        except ProducerSendError as error:
            if isinstance(error.__cause__, KafkaError):
                raise error.__cause__ from None
            raise

    async def _wait(self, errors: Iterable[KafkaError]) -> None:
        """Wait for better times where something failed, and raise what gets no better."""
        for error in errors:
            if isinstance(error, DENIED):
                raise error
            log.warning("the broker takes not everything now (%s); trying again", type(error).__name__)
            self._progress.mark()
            await asyncio.sleep(_AGAIN_S)
            return


def _kept(record: Record) -> bytes:
    return (record.value or b"")[:DEAD_LETTER_BYTES_MAX]


def _as_bytes(record: Record, refused: InvalidRecord) -> dict[str, bytes]:
    headers = dead_letter_headers(record, refused)
    size = len(record.value or b"")
    if size > DEAD_LETTER_BYTES_MAX:
        headers["rampwatch-truncated"] = f"the first {DEAD_LETTER_BYTES_MAX} bytes of {size}"
    return {name: text.encode() for name, text in headers.items()}
