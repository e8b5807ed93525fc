"""A real Kafka for the tests below this folder.

``broker`` is one for the whole run, ``own_broker`` one for a single test that stops or kills it. Where
RAMPWATCH_BROKER names a running Kafka, ``broker`` is that one. Where none can be had, the tests are skipped with the
reason, or fail with it where REQUIRE_KAFKA=1.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

from streams.local_broker.broker import BrokerUnavailable, LocalBroker
from streams.local_broker.jars import java, kafka_jars

HERE = Path(__file__).parent


@dataclass(frozen=True)
class GivenBroker:
    """A Kafka that somebody else runs: it can be used, not stopped."""

    address: str


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.kafka)


def do_without(why: BrokerUnavailable) -> NoReturn:
    if os.environ.get("REQUIRE_KAFKA") == "1":
        pytest.fail(f"no Kafka, and REQUIRE_KAFKA=1: {why}", pytrace=False)
    pytest.skip(f"NO KAFKA, so nothing here was tested: {why}")


@pytest.fixture(scope="session")
def kafka_here() -> None:
    """Java and Kafka's jars are on this machine, so that a test may start a LocalBroker of its own."""
    try:
        java()
        kafka_jars(lambda _: None)
    except BrokerUnavailable as why:
        do_without(why)


@pytest.fixture(scope="session")
def broker() -> Iterator[LocalBroker | GivenBroker]:
    given = os.environ.get("RAMPWATCH_BROKER")
    if given:
        yield GivenBroker(given)
        return
    try:
        started = LocalBroker.start()
    except BrokerUnavailable as why:
        do_without(why)
    with started:
        yield started


@pytest.fixture
def own_broker(kafka_here: None) -> Iterator[LocalBroker]:
    with LocalBroker.start() as started:
        yield started


@pytest.fixture
def prefix() -> str:
    """A prefix for topics, groups and transactional ids that no other test uses."""
    return f"t{uuid.uuid4().hex[:10]}-"
