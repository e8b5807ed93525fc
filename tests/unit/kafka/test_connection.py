"""What may not be used is named as far as the client knows it."""

from __future__ import annotations

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError

from streams.kafka.connection import DENIED, denied
from streams.settings import Settings

SETTINGS = Settings(broker="kafka:9092", security_protocol="SASL_SSL", sasl_username="a")


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (TopicAuthorizationFailedError("reads"), "a topic reads as"),
        (TopicAuthorizationFailedError({"reads", "hits"}), "a topic hits, reads as"),
        (TopicAuthorizationFailedError(TopicPartition("reads", 3)), "a topic reads as"),
        (TopicAuthorizationFailedError(), "a topic as"),
        (TopicAuthorizationFailedError(None), "a topic as"),
        (GroupAuthorizationFailedError("g"), "the consumer group g as"),
    ],
)
def test_whatever_the_client_tells_of_a_refusal_becomes_one_sentence(error, named):
    assert denied(SETTINGS, error) == (
        f"kafka:9092: user a may not use {named} this needs; give it the rights that rampwatch acls lists"
    )


@pytest.mark.parametrize("kind", DENIED)
def test_every_kind_of_refusal_has_its_sentence(kind):
    assert denied(SETTINGS, kind()).startswith("kafka:9092: user a may not use ")
