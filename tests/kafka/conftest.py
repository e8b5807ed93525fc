"""A real Kafka for the tests in this folder.

``broker`` is one for the whole test process; ``own_broker`` is one for a single test that stops or
kills it. If RAMPWATCH_BROKER names a running Kafka, ``broker`` is that one. Without any Kafka the
tests are skipped with the reason, or fail with it if REQUIRE_KAFKA=1.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from streams.local_broker.broker import BrokerUnavailable, LocalBroker
from streams.local_broker.jars import java, kafka_jars
from tests.drivers.brokers import Broker, GivenBroker

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.kafka)


def without_kafka(reason: BrokerUnavailable) -> NoReturn:
    if os.environ.get("REQUIRE_KAFKA") == "1":
        pytest.fail(f"no Kafka, and REQUIRE_KAFKA=1: {reason}", pytrace=False)
    pytest.skip(f"NO KAFKA, so nothing here was tested: {reason}")


@pytest.fixture(scope="session")
def kafka_here() -> None:
    """Java and Kafka's jars are on this machine, so a test may start a LocalBroker of its own."""
    try:
        java()
        kafka_jars(lambda _: None)
    except BrokerUnavailable as reason:
        without_kafka(reason)


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    given = os.environ.get("RAMPWATCH_BROKER")
    if given:
        yield GivenBroker(given)
        return
    try:
        local = LocalBroker.start()
    except BrokerUnavailable as reason:
        without_kafka(reason)
    with local:
        yield local


@pytest.fixture
def own_broker(kafka_here: None) -> Iterator[LocalBroker]:
    with LocalBroker.start() as local:
        yield local


@pytest.fixture
def prefix() -> str:
    """A prefix for topics, groups and transactional ids that no other test uses."""
    return f"t{uuid.uuid4().hex[:10]}-"
