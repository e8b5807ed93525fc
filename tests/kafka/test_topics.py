"""The topics: made as planned, compared with what a worker needs, and no worker on topics that are not so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streams.core.events import (
    ACTIONS,
    ALERTS,
    COUNTERS,
    DEAD_LETTERS,
    HITS,
    INCIDENTS,
    INPUTS,
    READS,
    SHOTS,
    TALLIES,
)
from streams.kafka import topics
from streams.local_broker.broker import LocalBroker
from streams.settings import Settings
from tests.kafka.conftest import GivenBroker
from tests.kafka.driving import eventually, free_port, rampwatch, topics_of

Broker = LocalBroker | GivenBroker
Wrong = Callable[[Settings], None]

ONE_OWNERS = (TALLIES, COUNTERS, ALERTS)
NAMES = (*INPUTS, INCIDENTS, DEAD_LETTERS, *ONE_OWNERS)


def ask(address: str, question: Callable[[Any], Any]) -> Any:
    async def asked() -> Any:
        admin = AIOKafkaAdminClient(bootstrap_servers=address)
        await admin.start()
        try:
            return await question(admin)
        finally:
            await admin.close()

    return asyncio.run(asked())


def config_of(settings: Settings, topic: str) -> dict[str, str]:
    resource = ConfigResource(ConfigResourceType.TOPIC, settings.prefix + topic)
    (answer,) = ask(settings.broker, lambda admin: admin.describe_configs([resource]))
    ((_, _, _, _, entries),) = answer.resources
    return {name: text for name, text, *_ in entries}


def partitions_of(settings: Settings) -> dict[str, int]:
    names = [settings.prefix + topic for topic in NAMES]
    described = ask(settings.broker, lambda admin: admin.describe_topics(names))
    there = [topic for topic in described if topic["error_code"] == 0]
    return {topic["topic"].removeprefix(settings.prefix): len(topic["partitions"]) for topic in there}


def alter(topic: str, **values: str) -> Wrong:
    """A topic whose configuration differs in this; names with underscores for dots."""
    changed = {name.replace("_", "."): text for name, text in values.items()}

    def make(settings: Settings) -> None:
        name = settings.prefix + topic
        planned = next(each.config for each in topics.plan(settings) if each.name == name)
        resource = ConfigResource(ConfigResourceType.TOPIC, name, {**planned, **changed})
        ask(settings.broker, lambda admin: admin.alter_configs([resource]))
        eventually([], lambda: changed.items() <= config_of(settings, topic).items(), "the change did not take effect")

    return make


def missing(topic: str) -> Wrong:
    def make(settings: Settings) -> None:
        ask(settings.broker, lambda admin: admin.delete_topics([settings.prefix + topic]))
        eventually([], lambda: topic not in partitions_of(settings), "the topic did not go")

    return make


def with_partitions(topic: str, count: int) -> Wrong:
    """A topic made by somebody else, with a number of partitions that is not the plan's."""

    def make(settings: Settings) -> None:
        missing(topic)(settings)
        ask(settings.broker, lambda admin: admin.create_topics([NewTopic(settings.prefix + topic, count, 1)]))
        eventually([], lambda: partitions_of(settings).get(topic) == count, "the topic was not made")

    return make


def test_topics_are_made_as_planned_once_and_then_nothing_is_wrong(broker: Broker, prefix: str) -> None:
    with topics_of(broker.address, prefix) as settings:
        for topic in NAMES:
            missing(topic)(settings)
        made = rampwatch("topics", "create", "--prefix", prefix, RAMPWATCH_BROKER=broker.address)
        assert made.returncode == 0, made.stderr
        assert sorted(made.stdout.split()) == sorted(prefix + topic for topic in NAMES)
        checked = rampwatch("topics", "check", "--prefix", prefix, RAMPWATCH_BROKER=broker.address)
        assert (checked.returncode, checked.stdout) == (0, ""), checked.stderr
        repeated = rampwatch("topics", "create", "--prefix", prefix, RAMPWATCH_BROKER=broker.address)
        assert (repeated.returncode, repeated.stdout) == (0, "")
        assert partitions_of(settings) == {
            **dict.fromkeys((SHOTS, ACTIONS, DEAD_LETTERS, *ONE_OWNERS), 1),
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
        ALERTS: 730,
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
        (missing(ACTIONS), f"{ACTIONS}: does not exist; make it with rampwatch topics create"),
    ],
)
def test_a_topic_that_is_not_as_needed_has_its_sentence_and_no_worker_starts_on_it(
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
def test_without_a_broker_a_command_ends_with_a_sentence(command: Sequence[str]) -> None:
    address = f"127.0.0.1:{free_port()}"
    ended = rampwatch(*command, RAMPWATCH_BROKER=address)
    assert ended.returncode == 2
    sentence = ended.stderr.splitlines()[-1]
    assert sentence.startswith(f"rampwatch: {address}: no Kafka broker answers")
    assert sentence.endswith("start one, or set RAMPWATCH_BROKER")
    assert_no_traceback(ended.stderr)


def assert_no_traceback(text: str) -> None:
    assert "Traceback" not in text
    assert "unclosed" not in text.lower()
