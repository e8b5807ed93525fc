"""Checks, before a worker joins the group, that the broker answers and the topics and rights exist.

With the setting ``wait`` a worker waits for them; without it a missing one is an error.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final

from aiokafka.errors import KafkaError

from streams.core.errors import RampwatchError
from streams.kafka import permissions, topics
from streams.kafka.client_errors import client_errors_mapped
from streams.kafka.connection import BrokerError, connection
from streams.settings import Settings
from streams.worker.health import ProgressMonitor
from streams.worker.partition import Source

_RETRY_S: Final = 1.0
_SILENT_S_MAX: Final = 5.0
"""How long the first check may take before the log says what the worker waits for."""
_REPORT_EVERY_S: Final = 30.0

log = logging.getLogger("rampwatch.worker")


class StartError(RampwatchError):
    """Something that a worker needs is missing; the message gives the remedy."""


async def await_prerequisites(
    settings: Settings, stop: asyncio.Event, progress: ProgressMonitor
) -> list[Source] | None:
    """Return the partitions of the broadcast topics once everything is there.

    None if ``stop`` is set.

    Raises `StartError` or `BrokerError` for what is missing, unless the setting ``wait`` is on.
    """
    connection(settings)  # raises for a certificate that cannot be used: waiting does not mend that
    notice = _Notice(settings)
    while not stop.is_set():
        attempt = asyncio.ensure_future(_checked(settings))
        while not await _ended(attempt, stop, _RETRY_S):
            progress.mark()
            notice.report("the broker does not answer")
        if stop.is_set():
            attempt.cancel()
            break
        error = attempt.exception()
        if error is None:
            return attempt.result()
        if not (settings.wait and isinstance(error, RampwatchError)):
            raise error
        notice.report(str(error), at_once=True)
        progress.mark()
        await _ended(asyncio.ensure_future(asyncio.sleep(_RETRY_S)), stop, _RETRY_S)
    return None


async def _ended(attempt: asyncio.Future[Any], stop: asyncio.Event, timeout_s: float) -> bool:
    """Wait for an attempt to end, at most so long; return whether it, or the worker, has to end."""
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({attempt, stopping}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    return attempt.done() or stop.is_set()


async def _checked(settings: Settings) -> list[Source]:
    try:
        with client_errors_mapped():
            if lacking := await permissions.missing(settings, "worker"):
                raise StartError("this user lacks rights that a worker needs:\n  " + "\n  ".join(lacking))
            if problems := await topics.check(settings):
                raise StartError("the topics are not as a worker needs them:\n  " + "\n  ".join(problems))
            return await topics.broadcast_sources(settings)
    except KafkaError as error:
        raise BrokerError(
            f"{settings.broker}: the broker broke off the checks of a worker's start ({type(error).__name__}); start "
            "the worker again, or use --wait"
        ) from None


class _Notice:
    """Logs what the worker waits for: when that changes, and how long it has been every 30 s."""

    def __init__(self, settings: Settings) -> None:
        self._is_waiting = settings.wait
        self._broker = settings.broker
        self._reason = ""
        self._began_s = time.monotonic()
        self._next_s = self._began_s + _SILENT_S_MAX

    def report(self, reason: str, at_once: bool = False) -> None:
        """Log the reason if it is due; ``at_once`` if it is another one than before as well."""
        now_s = time.monotonic()
        is_new = at_once and reason != self._reason
        if at_once:
            self._reason = reason
        if self._is_waiting and (is_new or now_s >= self._next_s):
            self._next_s = now_s + _REPORT_EVERY_S
            waited_s = now_s - self._began_s
            log.warning("waiting for %s, for %.0f s so far: %s", self._broker, waited_s, self._reason or reason)
