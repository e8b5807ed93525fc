"""A worker's figures say how it is while it rebuilds, and while topics or the broker are away."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import get_args

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from prometheus_client.parser import text_string_to_metric_families

from streams.core.events import DeadReason
from streams.core.topics import DEAD_LETTERS, INCIDENTS, INPUTS, JOINED, READS, TALLIES
from streams.kafka import topics
from streams.local_broker.broker import LocalBroker
from streams.replay.player import Playable
from streams.settings import Settings
from tests.drivers.brokers import Broker
from tests.drivers.promtool import promtool_complaints
from tests.drivers.topics import last_incidents, publish, publish_raw, topics_of
from tests.drivers.waiting import eventually
from tests.drivers.workers import Worker, await_handled, worker
from tests.worlds.pairs import EVENING_MS, pair

STRENGTHS = ("low", "medium", "high")
READS_TO_REBUILD = 60_000
READS_BEHIND = 5_000
NOT_READY_S_MAX = 15.0


def value(page: str, name: str, **labels: str) -> float:
    """The value of the only series of a metric with these labels."""
    (found,) = [
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    return found


def reasons(running: Worker) -> list[str]:
    """Why a worker is not ready, according to itself; empty if it is."""
    status, text = running.page("/health/ready")
    content = json.loads(text)
    assert (status == 200) == content["ready"] == (content["reasons"] == [])
    return list(content["reasons"])


def await_reason(running: Worker, reason: str) -> None:
    """Wait until a worker says this; it must do so within some seconds, and stay alive."""
    began_s = time.monotonic()
    eventually([running], lambda: any(reason in each for each in reasons(running)), f"it never said: {reason}")
    assert time.monotonic() - began_s < NOT_READY_S_MAX
    assert running.page("/health/live")[0] == 200


def await_ready(running: Worker) -> None:
    eventually([running], running.is_ready, "the worker does not become ready")


def some_reads(first: int, count: int) -> list[Playable]:
    """Reads of cars that nobody looks for."""
    return [pair(f"n{n}", EVENING_MS + n, f"SIM {n}")[2] for n in range(first, first + count)]


def rebuilding_pages(running: Worker) -> Iterator[str]:
    """The metrics pages that a worker serves from its start until it is ready."""
    while True:
        running.assert_runs()
        try:
            page = running.metrics()
        except OSError:  # not serving yet
            time.sleep(0.01)
            continue
        if value(page, "rampwatch_partitions_ready") == value(page, "rampwatch_partitions_expected"):
            return
        yield page


def test_the_lag_counts_partitions_that_are_being_rebuilt(broker: Broker, prefix: str, tmp_path: Path) -> None:
    with topics_of(broker.address, prefix) as settings:
        publish(settings, some_reads(0, READS_TO_REBUILD))
        with worker(settings, tmp_path, name="first") as first:
            await_handled(settings, first)
            assert first.stop()[0] == 0
        publish(settings, some_reads(READS_TO_REBUILD, READS_BEHIND))
        with worker(settings, tmp_path, name="second", up=False) as second:
            lags = [value(page, "rampwatch_lag_records", topic=READS) for page in rebuilding_pages(second)]
            owned = value(second.metrics(), "rampwatch_partitions")
            await_handled(settings, second)
            eventually([second], lambda: value(second.metrics(), "rampwatch_lag_records", topic=READS) == 0, "it lags")
    assert owned == settings.partitions
    known = [lag for lag in lags if not math.isnan(lag)]
    assert READS_BEHIND in known
    assert min(known) > 0
    assert max(known) <= READS_BEHIND


@pytest.mark.parametrize("topic", [DEAD_LETTERS, INCIDENTS, TALLIES])
def test_a_worker_is_not_ready_while_an_output_topic_is_gone(
    broker: Broker, prefix: str, tmp_path: Path, topic: str
) -> None:
    with topics_of(broker.address, prefix, partitions=3) as settings, worker(settings, tmp_path) as one:
        await_ready(one)
        asyncio.run(delete_topic(settings, topic))
        await_reason(one, f"{prefix}{topic}: does not exist; create it with rampwatch topics create")
        assert asyncio.run(topics.create(settings)) == [prefix + topic]
        await_ready(one)


async def delete_topic(settings: Settings, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker)
    await admin.start()
    try:
        await admin.delete_topics([settings.prefix + topic])
    finally:
        await admin.close()


def test_a_worker_is_not_ready_and_its_lag_unknown_while_the_broker_is_paused(
    own_broker: LocalBroker, prefix: str, tmp_path: Path
) -> None:
    with topics_of(own_broker.address, prefix, partitions=3) as settings, worker(settings, tmp_path) as one:
        await_ready(one)
        eventually([one], lambda: value(one.metrics(), "rampwatch_lag_records", topic=READS) == 0, "it lags")
        os.kill(own_broker.pid, signal.SIGSTOP)
        try:
            await_reason(one, f"{own_broker.address}: no broker has answered for ")
            for topic in JOINED:
                assert math.isnan(value(one.metrics(), "rampwatch_lag_records", topic=topic))
        finally:
            os.kill(own_broker.pid, signal.SIGCONT)
        await_ready(one)
        eventually([one], lambda: value(one.metrics(), "rampwatch_lag_records", topic=READS) == 0, "it lags")


def test_the_first_dead_letter_of_a_worker_is_an_increase(broker: Broker, prefix: str, tmp_path: Path) -> None:
    with topics_of(broker.address, prefix, partitions=3) as settings, worker(settings, tmp_path) as one:
        for topic, reason in product(INPUTS, get_args(DeadReason)):
            assert value(one.metrics(), "rampwatch_dead_letters_total", topic=topic, reason=reason) == 0
        publish_raw(settings, [(READS, b"no JSON", [])])
        publish(settings, pair("one", EVENING_MS, "SIM 101"))
        await_handled(settings, one)
        page = one.metrics()
        assert value(page, "rampwatch_dead_letters_total", topic=READS, reason="not_json") == 1
        assert one.outcomes()[READS] == {"used": 1, "dead": 1}
        published = {
            s: value(page, "rampwatch_incidents_published_total", status="open", strength=s) for s in STRENGTHS
        }
        assert sum(published.values()) == len(last_incidents(settings)) == 1
        eventually([one], lambda: "rampwatch_spike_events" in one.metrics(), "it does not count")
        assert promtool_complaints(one.metrics()) == ""
