"""What this user may do, asked of the broker before anything begins, so that nothing fails on the way for want of it.

Without the right to its group aiokafka waits for ever, and without the right to write a worker would find out at its
first incident. Kafka tells since 2.3 what the asking user may do with topics and groups; aiokafka 0.14 knows neither
request in that version, so they are here. What a broker does not tell counts as permitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Bytes, Int16, Int32, Schema, String

from streams.kafka.acls import Right, rights
from streams.kafka.connection import connection, principal, started
from streams.settings import Settings

_TEXT: Final = String("utf-8")
_BITS: Final = {"Read": 3, "Write": 4, "Create": 5, "Delete": 6, "Describe": 8, "DescribeConfigs": 10}
"""Kafka's AclOperation: which bit stands for what in a set of permitted operations."""
_NOT_TOLD: Final = -(2**31)
_TOPIC_DENIED: Final = TopicAuthorizationFailedError.errno
_NO_ANSWER: Final = (KafkaError, NotImplementedError)
"""The broker is too old for the question, or cannot say now, as where it has had no group before."""
_TRANSACTION: Final = 1
"""Kafka's kind of coordinator for transactional ids."""


async def missing(settings: Settings, component: str) -> list[str]:
    """Return a sentence for each thing that a component may not use as it must; raises `BrokerError`."""
    admin = AIOKafkaAdminClient(**connection(settings))
    await started(admin, settings)
    try:
        needed = [(right, name) for right in rights(settings, component) for name in right.names]
        topics = await _permitted_on_topics(admin, [name for right, name in needed if right.resource == "topic"])
        lacks = [(right, name, await _lacks(admin, right, name, topics)) for right, name in needed]
    finally:
        await admin.close()
    return [_sentence(settings, right, name, operations) for right, name, operations in lacks if operations]


async def _lacks(admin: Any, right: Right, name: str, topics: Mapping[str, int]) -> list[str]:  # noqa: ANN401
    if right.resource == "transactional-id":
        return [] if await _may_begin_transactions(admin, name) else list(right.operations)
    bits = topics.get(name, _NOT_TOLD) if right.resource == "topic" else await _permitted_on_group(admin, name)
    return [operation for operation in right.operations if bits != _NOT_TOLD and not bits & 1 << _BITS[operation]]


def _sentence(settings: Settings, right: Right, name: str, operations: Sequence[str]) -> str:
    return (
        f"{name}: {principal(settings)} has no right to {' and '.join(operations)} this {right.resource} "
        f"({right.why}); grant what rampwatch acls {right.component} --script prints"
    )


async def _permitted_on_topics(admin: Any, names: Sequence[str]) -> dict[str, int]:  # noqa: ANN401
    try:
        answer = await admin._send_request(_PermittedOnTopics(names))
    except _NO_ANSWER:
        return {}
    # a topic that does not exist is somebody else's sentence
    told = {name: (code, bits) for code, name, _, _, bits in answer.topics}
    return {name: bits if code == 0 else 0 for name, (code, bits) in told.items() if code in (0, _TOPIC_DENIED)}


async def _permitted_on_group(admin: Any, name: str) -> int:  # noqa: ANN401
    try:
        coordinator = await admin.find_coordinator(name)
        answer = await admin._send_request(_PermittedOnGroup(name), coordinator)
    except GroupAuthorizationFailedError:
        return 0
    except _NO_ANSWER:
        return _NOT_TOLD
    ((code, *_, bits),) = answer.groups
    return 0 if code == GroupAuthorizationFailedError.errno else _NOT_TOLD if code else int(bits)


async def _may_begin_transactions(admin: Any, begins: str) -> bool:  # noqa: ANN401
    """Kafka tells no more of transactional ids than whether one may be seen; who may write may see."""
    try:
        await admin.find_coordinator(f"{begins}0", _TRANSACTION)
    except TransactionalIdAuthorizationFailed:
        return False
    except _NO_ANSWER:
        pass
    return True


# ---------------------------------------------------------------------- the two requests, as Kafka's protocol has them


class _TopicsResponse(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", Array(("node_id", Int32), ("host", _TEXT), ("port", Int32), ("rack", _TEXT))),
        ("cluster_id", _TEXT),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", _TEXT),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class _TopicsRequest(RequestStruct):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _TopicsResponse
    SCHEMA = Schema(
        ("topics", Array(_TEXT)),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _PermittedOnTopics(Request[_TopicsRequest]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, names: Sequence[str]) -> None:
        self._names = list(names)

    def build(self, request_struct_class: type[_TopicsRequest]) -> _TopicsRequest:
        return request_struct_class(self._names, False, False, True)


class _GroupResponse(Response):  # type: ignore[misc]
    API_KEY = 15
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "groups",
            Array(
                ("error_code", Int16),
                ("group", _TEXT),
                ("state", _TEXT),
                ("protocol_type", _TEXT),
                ("protocol", _TEXT),
                (
                    "members",
                    Array(
                        ("member_id", _TEXT),
                        ("client_id", _TEXT),
                        ("client_host", _TEXT),
                        ("member_metadata", Bytes),
                        ("member_assignment", Bytes),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
    )


class _GroupRequest(RequestStruct):  # type: ignore[misc]
    API_KEY = 15
    API_VERSION = 3
    RESPONSE_TYPE = _GroupResponse
    SCHEMA = Schema(("groups", Array(_TEXT)), ("include_authorized_operations", Boolean))


class _PermittedOnGroup(Request[_GroupRequest]):  # type: ignore[misc]
    API_KEY = 15

    def __init__(self, name: str) -> None:
        self._name = name

    def build(self, request_struct_class: type[_GroupRequest]) -> _GroupRequest:
        return request_struct_class([self._name], True)
