"""An access error names the resource as far as the client knows it."""

from __future__ import annotations

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError

from streams.kafka.connection import ACCESS_ERRORS, access_error_message
from streams.settings import Settings

SETTINGS = Settings(broker="kafka:9092", security_protocol="SASL_SSL", sasl_username="a")


@pytest.mark.parametrize(
    ("error", "resource"),
    [
        (TopicAuthorizationFailedError("reads"), "topic reads"),
        (TopicAuthorizationFailedError({"reads", "hits"}), "topic hits, reads"),
        (TopicAuthorizationFailedError(TopicPartition("reads", 3)), "topic reads"),
        (TopicAuthorizationFailedError(), "topic"),
        (TopicAuthorizationFailedError(None), "topic"),
        (GroupAuthorizationFailedError("g"), "consumer group g"),
    ],
)
def test_an_access_error_becomes_one_sentence_for_any_argument_of_the_error(error, resource):
    assert access_error_message(SETTINGS, error) == (
        f"kafka:9092: user a lacks a right to the {resource}; grant the rights that rampwatch acls lists"
    )


@pytest.mark.parametrize("kind", ACCESS_ERRORS)
def test_every_kind_of_access_error_has_a_message(kind):
    assert access_error_message(SETTINGS, kind()).startswith("kafka:9092: user a lacks a right to the ")
