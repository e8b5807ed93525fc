"""The table of topics: everything about a topic follows from its row."""

from __future__ import annotations

import pytest

from streams.core.topics import (
    ALERTS,
    BROADCAST,
    BY_NAME,
    COUNTED,
    DEAD_LETTERS,
    EVENT_TYPES,
    INCIDENTS,
    INPUTS,
    JOINED,
    OUTPUTS,
    TALLIES,
    TOPICS,
    Topic,
)
from streams.kafka import acls, topics
from streams.schemas import TOPIC_TYPES
from streams.settings import Settings


def test_every_topic_is_an_input_or_an_output():
    assert sorted((*INPUTS, *OUTPUTS)) == sorted(topic.name for topic in TOPICS)
    assert sorted(INPUTS) == sorted((*JOINED, *BROADCAST)) == sorted(EVENT_TYPES)
    assert set(OUTPUTS) == {INCIDENTS, DEAD_LETTERS, *COUNTED}


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_plan_schema_and_access_rights_follow_from_the_topics_row(topic: Topic):
    settings = Settings(prefix="p-")
    (planned,) = [plan for plan in topics.plan(settings) if plan.topic is topic]
    assert planned.name == f"p-{topic.name}"
    assert planned.config["cleanup.policy"] == topic.cleanup
    assert (topic.name in TOPIC_TYPES) == (topic.type is not None)
    listed = {
        (right.component, operation)
        for right in acls.rights(settings)
        if f"p-{topic.name}" in right.names
        for operation in right.operations
    }
    assert listed == {(access.component, operation) for access in topic.access for operation in access.operations}


def test_joined_topics_have_equal_numbers_of_partitions():
    plans = {plan.topic.name: plan for plan in topics.plan(Settings(partitions=7))}
    assert {plans[name].partitions for name in (*JOINED, INCIDENTS)} == {7}
    assert all(plans[name].has_fixed_partitions for name in (*JOINED, INCIDENTS, *COUNTED))


def test_a_counted_topic_has_one_partition_because_it_has_one_writer():
    assert {topic.partitions for topic in TOPICS if topic.role == "counted"} == {"one"}


def test_an_alert_is_retained_for_longer_than_the_tallies_that_give_it() -> None:
    alerts, tallies = (BY_NAME[name].retention_days for name in (ALERTS, TALLIES))
    assert isinstance(alerts, int)
    assert isinstance(tallies, int)
    assert alerts > tallies
