"""The topics: created as planned, and checked against what a worker needs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streams.core.topics import ACTIONS, ALERTS, COUNTERS, DEAD_LETTERS, HITS, INCIDENTS, INPUTS, READS, SHOTS, TALLIES
from streams.kafka import topics
from streams.settings import Settings
from tests.drivers.brokers import Broker
from tests.drivers.command import rampwatch
from tests.drivers.ports import free_port
from tests.drivers.topics import topics_of
from tests.drivers.waiting import eventually

Wrong = Callable[[Settings], None]

COUNTED = (TALLIES, COUNTERS, ALERTS)
NAMES = (*INPUTS, INCIDENTS, DEAD_LETTERS, *COUNTED)


def with_admin(address: str, request: Callable[[Any], Any]) -> Any:
    async def response() -> Any:
        admin = AIOKafkaAdminClient(bootstrap_servers=address)
        await admin.start()
        try:
            return await request(admin)
        finally:
            await admin.close()

    return asyncio.run(response())


def config_of(settings: Settings, topic: str) -> dict[str, str]:
    resource = ConfigResource(ConfigResourceType.TOPIC, settings.prefix + topic)
    (response,) = with_admin(settings.broker, lambda admin: admin.describe_configs([resource]))
    ((_, _, _, _, entries),) = response.resources
    return {name: text for name, text, *_ in entries}


def partitions_of(settings: Settings) -> dict[str, int]:
    names = [settings.prefix + topic for topic in NAMES]
    described = with_admin(settings.broker, lambda admin: admin.describe_topics(names))
    existing = [topic for topic in described if topic["error_code"] == 0]
    return {topic["topic"].removeprefix(settings.prefix): len(topic["partitions"]) for topic in existing}


def alter(topic: str, **values: str) -> Wrong:
    """A topic whose configuration differs in ``values``; their names have underscores for dots."""
    changed = {name.replace("_", "."): text for name, text in values.items()}

    def spoil(settings: Settings) -> None:
        name = settings.prefix + topic
        planned = next(each.config for each in topics.plan(settings) if each.name == name)
        resource = ConfigResource(ConfigResourceType.TOPIC, name, {**planned, **changed})
        with_admin(settings.broker, lambda admin: admin.alter_configs([resource]))
        eventually([], lambda: changed.items() <= config_of(settings, topic).items(), "the change did not take effect")

    return spoil


def missing(topic: str) -> Wrong:
    def spoil(settings: Settings) -> None:
        eventually([], lambda: topic in partitions_of(settings), "the topic was not created")
        with_admin(settings.broker, lambda admin: admin.delete_topics([settings.prefix + topic]))
        eventually([], lambda: topic not in partitions_of(settings), "the topic was not deleted")

    return spoil


def with_partitions(topic: str, count: int) -> Wrong:
    """A topic created by hand with another number of partitions than planned."""

    def spoil(settings: Settings) -> None:
        missing(topic)(settings)
        with_admin(settings.broker, lambda admin: admin.create_topics([NewTopic(settings.prefix + topic, count, 1)]))
        eventually([], lambda: partitions_of(settings).get(topic) == count, "the topic was not created")

    return spoil


def test_topics_are_created_as_planned_once_and_then_pass_the_check(broker: Broker, prefix: str) -> None:
    with topics_of(broker.address, prefix) as settings:
        for topic in NAMES:
            missing(topic)(settings)
        created = rampwatch("topics", "create", "--prefix", prefix, RAMPWATCH_BROKER=broker.address)
        assert created.returncode == 0, created.stderr
        assert sorted(created.stdout.split()) == sorted(prefix + topic for topic in NAMES)
        checked = rampwatch("topics", "check", "--prefix", prefix, RAMPWATCH_BROKER=broker.address)
        assert (checked.returncode, checked.stdout) == (0, ""), checked.stderr
        repeated = rampwatch("topics", "create", "--prefix", prefix, RAMPWATCH_BROKER=broker.address)
        assert (repeated.returncode, repeated.stdout) == (0, "")
        assert partitions_of(settings) == {
            **dict.fromkeys((SHOTS, ACTIONS, DEAD_LETTERS, *COUNTED), 1),
            **dict.fromkeys((HITS, READS, INCIDENTS), 12),
        }
        configs = {topic: config_of(settings, topic) for topic in NAMES}
    assert {configs[topic]["message.timestamp.type"] for topic in INPUTS} == {"LogAppendTime"}
    assert {configs[topic]["cleanup.policy"] for topic in (*INPUTS, DEAD_LETTERS)} == {"delete"}
    for topic in (INCIDENTS, TALLIES, ALERTS):
        assert set(configs[topic]["cleanup.policy"].split(",")) == {"compact", "delete"}
    counters = configs.pop(COUNTERS)
    assert (counters["cleanup.policy"], counters["retention.ms"]) == ("compact", "-1")
    days = {topic: int(config["retention.ms"]) / 86_400_000 for topic, config in configs.items()}
    assert days == {
        SHOTS: 1095,
        HITS: 45,
        READS: 2,
        ACTIONS: 90,
        INCIDENTS: 14,
        DEAD_LETTERS: 2,
        TALLIES: 1095,
        ALERTS: 1460,
    }
    assert all(int(config["segment.ms"]) <= int(config["retention.ms"]) / 8 for config in configs.values())


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (with_partitions(READS, 3), f"{READS}: has 3 partitions, not 12; the number is fixed for a topic's life: "),
        (alter(HITS, message_timestamp_type="CreateTime"), f"{HITS}: message.timestamp.type is CreateTime, must be "),
        (alter(SHOTS, retention_ms="86400000"), f"{SHOTS}: retention.ms is 86400000, must be at least 94608000000: "),
        (alter(READS, segment_ms="86400000"), f"{READS}: segment.ms is 86400000, must be at most an eighth of "),
        (
            alter(DEAD_LETTERS, max_message_bytes="1000000"),
            f"{DEAD_LETTERS}: max.message.bytes is 1000000, must be at ",
        ),
        (alter(DEAD_LETTERS, retention_ms="604800000"), f"{DEAD_LETTERS}: retention.ms is 604800000, must be at most "),
        (alter(INCIDENTS, cleanup_policy="compact"), f"{INCIDENTS}: cleanup.policy is compact, must be "),
        (with_partitions(TALLIES, 3), f"{TALLIES}: has 3 partitions, not 1; the number is fixed for a topic's life: "),
        (missing(ACTIONS), f"{ACTIONS}: does not exist; create it with rampwatch topics create"),
    ],
)
def test_a_wrong_topic_is_reported_and_no_worker_starts_on_it(
    wrong: Wrong, sentence: str, broker: Broker, prefix: str
) -> None:
    with topics_of(broker.address, prefix) as settings:
        wrong(settings)
        checked = rampwatch("topics", "check", "--prefix", prefix, RAMPWATCH_BROKER=broker.address)
        started = rampwatch("worker", "--prefix", prefix, RAMPWATCH_BROKER=broker.address)
    assert checked.returncode == 1
    assert any(line.startswith(prefix + sentence) for line in checked.stdout.splitlines()), checked.stdout
    assert started.returncode == 2
    assert prefix + sentence in started.stderr
    assert_no_traceback(started.stderr + checked.stderr)


@pytest.mark.parametrize("command", [["topics", "create"], ["topics", "check"], ["worker"]])
def test_without_a_broker_a_command_exits_with_an_error(command: Sequence[str]) -> None:
    address = f"127.0.0.1:{free_port()}"
    ended = rampwatch(*command, RAMPWATCH_BROKER=address)
    assert ended.returncode == 2
    sentence = ended.stderr.splitlines()[-1].partition("rampwatch: ")[2]
    assert sentence.startswith(f"{address}: no Kafka broker responds")
    assert sentence.endswith("start one, or set RAMPWATCH_BROKER")
    assert_no_traceback(ended.stderr)


def assert_no_traceback(text: str) -> None:
    assert "Traceback" not in text
    assert "unclosed" not in text.lower()
