"""What a client library raises while its broker is away counts as one kind of error."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

import pytest
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import KafkaConnectionError, KafkaError

from streams.kafka.client_errors import BrokerAwayError, client_errors_mapped, log_unhandled
from streams.kafka.connection import connection


async def _look_up_a_coordinator_where_no_broker_is_listed() -> None:
    client = AIOKafkaClient(bootstrap_servers="127.0.0.1:1")
    with client_errors_mapped():
        await client.coordinator_lookup(CoordinationType.TRANSACTION, "name")


def test_the_assertion_of_a_client_that_knows_no_broker_counts_as_a_broker_that_is_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(BrokerAwayError, match="AssertionError"):
        asyncio.run(_look_up_a_coordinator_where_no_broker_is_listed())
    assert "AssertionError at aiokafka/client.py:" in caplog.text
    assert issubclass(BrokerAwayError, KafkaError)


@pytest.mark.parametrize("error", [ConnectionResetError(), TimeoutError(), asyncio.IncompleteReadError(b"", 4)])
def test_an_error_of_the_network_counts_as_a_broker_that_is_away(error: Exception) -> None:
    with pytest.raises(BrokerAwayError, match=type(error).__name__), client_errors_mapped():
        raise error


def test_an_error_of_the_broker_stays_what_it_is() -> None:
    with pytest.raises(KafkaConnectionError), client_errors_mapped():
        raise KafkaConnectionError


def test_a_programming_error_of_our_own_passes_unchanged() -> None:
    with pytest.raises(AttributeError), client_errors_mapped():
        connection(cast(Any, None))


async def _await_a_future_that_somebody_cancelled() -> None:
    cancelled = asyncio.get_running_loop().create_future()
    cancelled.cancel()
    with client_errors_mapped():
        await cancelled


async def _cancel_a_task_that_waits() -> bool:
    async def wait() -> None:
        with client_errors_mapped():
            await asyncio.sleep(60)

    task = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    return task.cancelled()


def test_only_a_cancellation_that_was_asked_for_passes_as_one() -> None:
    with pytest.raises(BrokerAwayError, match="CancelledError"):
        asyncio.run(_await_a_future_that_somebody_cancelled())
    assert asyncio.run(_cancel_a_task_that_waits())


@pytest.mark.parametrize(
    ("error", "level"), [(KafkaConnectionError("SIM 101"), logging.INFO), (ValueError("SIM 101"), logging.ERROR)]
)
def test_an_error_that_nobody_retrieved_is_one_line_without_its_text(
    error: Exception, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    log_unhandled(cast(Any, None), {"message": "never retrieved", "exception": error})
    ((_, logged_level, line),) = caplog.record_tuples
    assert logged_level == level
    assert type(error).__name__ in line
    assert "SIM 101" not in line
