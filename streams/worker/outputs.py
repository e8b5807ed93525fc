"""Delivers a worker's effects through Faust's producer: forwards, dead letters and tallies.

Incidents are not published here but by the transactional writer of their partition.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from faust.exceptions import ProducerSendError

from streams.core.codec import ENCODER
from streams.core.counters.events import Tally, tally_key
from streams.core.effects import DeadLetter, Effects, Forward
from streams.core.events import Headers
from streams.core.topics import (
    DEAD_LETTERS,
    DIGEST_HEADER,
    FORWARDED_HEADER,
    OMITTED_HEADER,
    REPLAY_HEADER,
    STAMP_HEADER,
    TALLIES,
    TRUNCATED_HEADER,
)
from streams.kafka.client_errors import as_kafka_error, client_errors_mapped
from streams.kafka.connection import ACCESS_ERRORS
from streams.settings import Settings
from streams.worker import metrics
from streams.worker.health import ProgressMonitor

DEAD_LETTER_BYTES_MAX: Final = 16 * 2**20
"""Of the record's own bytes.

A record larger than its topic takes was compressed, and so is its dead letter.
"""
_RETRY_S: Final = 1.0

log = logging.getLogger("rampwatch.worker")


class Message(NamedTuple):
    """A record to be produced; without a ``partition`` the key decides."""

    topic: str
    key: bytes
    value: bytes
    partition: int | None
    headers: dict[str, bytes]
    record_headers: Headers = ()
    """Those of the record that this message passes on."""

    @property
    def all_headers(self) -> list[tuple[str, bytes | None]]:
        """Ours and the record's, as the producer takes them."""
        return [*self.headers.items(), *self.record_headers]

    def first_half(self) -> Message:
        """Return the message with the first half of its value, saying so in a header.

        If nothing is left to cut, it goes without the record's own key and headers.
        """
        if not self.value and self.record_headers:
            note = b"the key and all headers; the topic takes no more"
            return self._replace(record_headers=(), headers=self.headers | {OMITTED_HEADER: note})
        half = len(self.value) // 2
        note = f"the first {half} bytes; the topic takes no more".encode()
        return self._replace(value=self.value[:half], headers=self.headers | {TRUNCATED_HEADER: note})


class Outputs:
    """Delivers effects; a call returns when the broker has everything."""

    def __init__(self, app: Any, settings: Settings, digest: str, progress: ProgressMonitor) -> None:  # noqa: ANN401
        self._app = app
        self.prefix: Final = settings.prefix
        self._progress = progress
        self.headers: Final = {DIGEST_HEADER: digest.encode()}
        if settings.prefix:
            self.headers[REPLAY_HEADER] = settings.prefix.encode()

    async def deliver(self, effects: Effects) -> None:
        """Deliver all but incidents, then count the outcomes.

        Retries until the broker has everything.

        A forward that its topic does not take back becomes a dead letter, and is counted as one.
        Raises where this worker lacks a right.
        """
        effects = effects.without_forwards(await self._forward(effects.forwards))
        await self._send_shortened(map(self._dead_letter, effects.dead_letters))
        await self._send_shortened(map(self._tally, effects.tallies))
        metrics.count_outcomes(effects)

    async def _forward(self, forwards: Sequence[Forward]) -> list[Forward]:
        """Forward records to the partitions they belong to.

        Return those too large for the topic.
        """
        too_large = await self._send([self._forwarded(forward) for forward in forwards])
        return [forwards[at] for at in too_large]

    async def _send_shortened(self, messages: Iterable[Message]) -> None:
        """Send messages; cut short those that are too large for their topic."""
        left = list(messages)
        while left:
            left = [left[at].first_half() for at in await self._send(left)]

    # ------------------------------------------------------------------ messages

    def _forwarded(self, forward: Forward) -> Message:
        record = forward.record
        headers = {FORWARDED_HEADER: f"{record.partition}:{record.offset}".encode()}
        if self.prefix:
            headers[STAMP_HEADER] = str(record.stamp_ms).encode()
        topic = self.prefix + record.topic
        value = record.value or b""
        return Message(topic, forward.plate_key.encode(), value, forward.partition, headers, forward.record_headers)

    def _dead_letter(self, dead: DeadLetter) -> Message:
        value = dead.record.value or b""
        headers = self.headers | {name: text.encode() for name, text in dead.headers.items()}
        if len(value) > DEAD_LETTER_BYTES_MAX:
            headers[TRUNCATED_HEADER] = f"the first {DEAD_LETTER_BYTES_MAX} bytes of {len(value)}".encode()
        topic, value = self.prefix + DEAD_LETTERS, value[:DEAD_LETTER_BYTES_MAX]
        return Message(topic, dead.key.encode(), value, None, headers, dead.record_headers)

    def _tally(self, tally: Tally) -> Message:
        return Message(self.prefix + TALLIES, tally_key(tally).encode(), ENCODER.encode(tally), 0, self.headers)

    # ------------------------------------------------------------------ sending

    async def _send(self, messages: Sequence[Message]) -> list[int]:
        """Send messages, retrying until the broker has them.

        Return the indexes of those too large.
        """
        left = list(range(len(messages)))
        too_large: list[int] = []
        while left:
            failed = await self._send_once(messages, left)
            too_large += [at for at, error in failed if isinstance(error, MessageSizeTooLargeError)]
            retry = [(at, error) for at, error in failed if not isinstance(error, MessageSizeTooLargeError)]
            await self._back_off([error for _, error in retry])
            left = [at for at, _ in retry]
        return sorted(too_large)

    async def _send_once(self, messages: Sequence[Message], indexes: Sequence[int]) -> list[tuple[int, KafkaError]]:
        """Send messages; return the indexes of those the broker does not have, with the errors.

        They are handed to the producer one after the other. Of a thousand that wait for room in its
        buffer, all are woken for the next that fits: a flood of dead letters would go out at a
        hundredth of the speed.
        """
        in_flight: list[tuple[int, Any]] = []
        failed: list[tuple[int, KafkaError]] = []
        for n, at in enumerate(indexes):
            try:
                in_flight.append((at, await self._produce(messages[at])))
            except MessageSizeTooLargeError as error:
                failed.append((at, error))
            except KafkaError as error:
                failed += [(later, error) for later in indexes[n:]]  # no room for one, none for the next
                break
        results = await asyncio.gather(*(result for _, result in in_flight), return_exceptions=True)
        for (at, _), result in zip(in_flight, results, strict=True):
            if isinstance(result, BaseException):
                if (undelivered := as_kafka_error(result)) is None:
                    raise result
                failed.append((at, undelivered))
        return failed

    async def _produce(self, message: Message) -> Any:  # noqa: ANN401 - aiokafka has no types
        """Hand a message to the producer and return the future of the broker's answer.

        Raises `KafkaError`.
        """
        with client_errors_mapped():
            producer = await self._app.maybe_start_producer()
            try:
                return await producer.send(
                    message.topic, message.key, message.value, message.partition, None, message.all_headers
                )
            except ProducerSendError as error:
                raise error.__cause__ or error from None

    async def _back_off(self, errors: Sequence[KafkaError]) -> None:
        """Wait before a retry; raise an error that no retry mends."""
        for error in errors:
            if isinstance(error, ACCESS_ERRORS):
                raise error
        if errors:
            log.warning("the broker did not take %d records (%s); retrying", len(errors), type(errors[0]).__name__)
            self._progress.mark()
            await asyncio.sleep(_RETRY_S)
