"""What counts as "the broker is away", in one place.

While a broker is away aiokafka raises more than `KafkaError`. A broker that has just come back
lists no brokers, not even itself: aiokafka's assertion "Did we not perform bootstrap?" fails. A
connection that was closed meanwhile is None where one of its methods is called. A future that a
library cancels ends a task of ours that nobody cancelled. Callers catch `KafkaError`, which
`BrokerAwayError` is, and try again. A programming error of our own is raised by our own code, and
passes unchanged.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from aiokafka.errors import KafkaError

from streams.log_format import described

_OWN: Final = "streams"
_LIBRARIES: Final = ("aiokafka", "faust", "mode")
_NO_BUG: Final = (KafkaError, OSError, EOFError, asyncio.CancelledError)
"""Errors of a client or a connection, whoever raises them; `TimeoutError` is an `OSError`."""

log = logging.getLogger("rampwatch.kafka")


class BrokerAwayError(KafkaError):  # type: ignore[misc]
    """A client library failed in a way that it does not document; the message is the type."""


def is_client_failure(error: BaseException) -> bool:
    """Return whether a client library raised the error, or the connection to the broker."""
    if isinstance(error, _NO_BUG):
        return True
    frames = traceback.walk_tb(error.__traceback__)
    packages = [str(frame.f_globals.get("__name__")).partition(".")[0] for frame, _ in frames]
    known = [package for package in packages if package in (_OWN, *_LIBRARIES)]
    return bool(known) and known[-1] in _LIBRARIES


def as_kafka_error(error: BaseException) -> KafkaError | None:
    """Return the error as a `KafkaError`; None if no client library raised it.

    Logs the type of an error that is not one of the network, and where it was raised, so that an
    error that is no outage is not waited out in silence.
    """
    if isinstance(error, KafkaError):
        return error
    if not is_client_failure(error):
        return None
    if not isinstance(error, OSError | EOFError):
        log.warning("the Kafka client failed (%s); the broker may be away", described(error))
    return BrokerAwayError(type(error).__name__)


@contextmanager
def client_errors_mapped() -> Iterator[None]:
    """Raise as `KafkaError` whatever a client library raises in the block.

    Only a cancellation that somebody asked for passes as one.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise as_kafka_error(error) or error from None
    except Exception as error:
        mapped = as_kafka_error(error)
        if mapped is None or mapped is error:
            raise
        raise mapped from None


def log_unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what asyncio reports of a loop, on one line: an exception handler of event loops.

    A client library leaves requests behind when a writer is fenced or a connection breaks. Nobody
    waits for them any more, and their failure has been handled where it mattered.
    """
    error = context.get("exception")
    if error is None:
        log.warning("%s", context["message"])
    elif is_client_failure(error):
        log.info("a request that nobody waited for any more failed (%s)", described(error))
    else:
        log.error("an error that nobody handled: %s", described(error))
