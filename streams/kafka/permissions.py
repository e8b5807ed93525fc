"""Checks a user's rights before anything starts, so that nothing fails later for lack of one.

Without the right to its group aiokafka waits for ever, and without the right to write a worker
would fail at its first incident. Since Kafka 2.3 the broker reports what the requesting user may do
with topics and groups. aiokafka 0.14 does not support those request versions, so they are defined
here. If the broker does not report an operation, it counts as permitted.
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
from streams.kafka.connection import connection, principal, start_client
from streams.settings import Settings

_TEXT: Final = String("utf-8")
_BITS: Final = {"Read": 3, "Write": 4, "Create": 5, "Delete": 6, "Describe": 8, "DescribeConfigs": 10}
"""Kafka's AclOperation codes: the bit of each operation in a set of permitted operations."""
_UNREPORTED: Final = -(2**31)
"""Kafka's value for a set of permitted operations that the response does not contain."""
_TOPIC_DENIED: Final = TopicAuthorizationFailedError.errno
_UNANSWERED: Final = (KafkaError, NotImplementedError)
"""Errors of a broker that is too old for the request, or not ready, as before its first group."""
_TRANSACTION: Final = 1
"""Kafka's coordinator type for transactional ids."""


async def missing(settings: Settings, component: str) -> list[str]:
    """Return a message for each resource on which rights are missing; raises `BrokerError`."""
    admin = AIOKafkaAdminClient(**connection(settings))
    await start_client(admin, settings)
    try:
        needed = [(right, name) for right in rights(settings, component) for name in right.names]
        topics = await _permitted_on_topics(admin, [name for right, name in needed if right.resource == "topic"])
        lacking = [(right, name, await _lacking(admin, right, name, topics)) for right, name in needed]
    finally:
        await admin.close()
    return [_message(settings, right, name, operations) for right, name, operations in lacking if operations]


async def _lacking(admin: Any, right: Right, name: str, topics: Mapping[str, int]) -> list[str]:  # noqa: ANN401
    """Return the operations of a right that the user may not perform on a resource."""
    if right.resource == "transactional-id":
        return [] if await _may_use_transactions(admin, name) else list(right.operations)
    bits = topics.get(name, _UNREPORTED) if right.resource == "topic" else await _permitted_on_group(admin, name)
    return [operation for operation in right.operations if bits != _UNREPORTED and not bits & 1 << _BITS[operation]]


def _message(settings: Settings, right: Right, name: str, operations: Sequence[str]) -> str:
    return (
        f"{name}: {principal(settings)} lacks {', '.join(operations)} on this {right.resource} ({right.why}); "
        f"grant the rights that rampwatch acls {right.component} --script prints"
    )


async def _permitted_on_topics(admin: Any, names: Sequence[str]) -> dict[str, int]:  # noqa: ANN401
    try:
        response = await admin._send_request(_PermittedOnTopics(names))
    except _UNANSWERED:
        return {}
    # A topic that does not exist is reported by the check of the topics.
    by_name = {name: (code, bits) for code, name, _, _, bits in response.topics}
    return {name: bits if code == 0 else 0 for name, (code, bits) in by_name.items() if code in (0, _TOPIC_DENIED)}


async def _permitted_on_group(admin: Any, name: str) -> int:  # noqa: ANN401
    try:
        coordinator = await admin.find_coordinator(name)
        response = await admin._send_request(_PermittedOnGroup(name), coordinator)
    except GroupAuthorizationFailedError:
        return 0
    except _UNANSWERED:
        return _UNREPORTED
    ((code, *_, bits),) = response.groups
    return 0 if code == GroupAuthorizationFailedError.errno else _UNREPORTED if code else int(bits)


async def _may_use_transactions(admin: Any, prefix: str) -> bool:  # noqa: ANN401
    """Return whether the user may describe a transactional id: Kafka reports only that.

    Write implies Describe.
    """
    try:
        await admin.find_coordinator(f"{prefix}0", _TRANSACTION)
    except TransactionalIdAuthorizationFailed:
        return False
    except _UNANSWERED:
        pass
    return True


# ---------------------------------------------------------------------- the two requests


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
