"""The least rights that each component needs on a secured broker, from the table of topics.

Two of Kafka's rules keep the list short: Read, Write and Delete imply Describe, and a user who may
write to any topic may use an idempotent producer (since Kafka 2.8, KIP-679).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from typing import Final, Literal, get_args

from msgspec import Struct

from streams.core.errors import RampwatchError
from streams.core.topics import TOPICS, Access, Component, Operation
from streams.settings import Settings

Resource = Literal["topic", "group", "transactional-id"]

DEMO_PREFIX: Final = "demo-"
"""Of the topics that a demo creates on an existing broker."""
_DEMO: Final = "demo"
COMPONENTS: Final[tuple[str, ...]] = (*get_args(Component), _DEMO)


class Right(Struct, frozen=True):
    """What a component may do with some resources.

    ``names`` are full names or, where ``prefixed``, prefixes of names.
    """

    component: str
    operations: tuple[Operation, ...]
    resource: Resource
    names: tuple[str, ...]
    why: str
    prefixed: bool = False


def rights(settings: Settings, component: str | None = None) -> list[Right]:
    """Return all rights, or one component's, for the prefix and group of these settings."""
    if component is not None and component not in COMPONENTS:
        raise RampwatchError(f"{component}: no such component; use one of {', '.join(COMPONENTS)}")
    return [
        right
        for name in COMPONENTS
        if component in (None, name)
        for right in (*_on_topics(name, settings.prefix), *_on_other_resources(name, settings))
    ]


def _on_topics(component: str, prefix: str) -> Iterator[Right]:
    """The rights that follow from the table of topics; topics with the same rights share a row."""
    names: dict[Access, list[str]] = {}
    for topic in TOPICS:
        for access in topic.access:
            if access.component == component:
                names.setdefault(access, []).append(prefix + topic.name)
    for access, topics in names.items():
        yield Right(component, access.operations, "topic", tuple(topics), access.why)


def _on_other_resources(component: str, settings: Settings) -> Iterator[Right]:
    if component == "worker":
        group = settings.prefix + settings.group
        yield Right(component, ("Read",), "group", (group,), "shares partitions and commits offsets")
        why = "has a transactional writer for each partition and one for the counters"
        yield Right(component, ("Write",), "transactional-id", (f"{group}-",), why, prefixed=True)
    if component == _DEMO:
        on_topics: tuple[Operation, ...] = ("Create", "Delete", "DescribeConfigs", "Read", "Write")
        yield Right(_DEMO, on_topics, "topic", (DEMO_PREFIX,), "creates its own topics and deletes them", prefixed=True)
        yield Right(_DEMO, ("Read",), "group", (DEMO_PREFIX,), "runs its own worker", prefixed=True)
        yield Right(_DEMO, ("Write",), "transactional-id", (DEMO_PREFIX,), "runs its own worker", prefixed=True)


def user_of(component: str) -> str:
    """Return a component's default user name."""
    return f"rampwatch-{component}"


def rows(table: Iterable[Right], between: str = ", ") -> Iterator[tuple[str, str, str, str]]:
    """Return the rights as table rows: component, resources, operations, reason.

    A star marks a prefix.
    """
    for right in table:
        names = between.join(name + "*" * right.prefixed for name in right.names)
        yield right.component, f"{right.resource} {names}", ", ".join(right.operations), right.why


def script(table: Iterable[Right], user: str | None) -> str:
    """Return a shell script that grants the rights with Kafka's own tool; it is idempotent."""
    lines = [_SCRIPT_BEGINS]
    component = ""
    for right in table:
        if right.component != component:
            component = right.component
            lines.append(f"\n# {component}")
        words = ["grant", f"User:{user or user_of(component)}"]
        words += [word for operation in right.operations for word in ("--operation", operation)]
        words += [word for name in right.names for word in (f"--{right.resource}", name)]
        words += ["--resource-pattern-type", "prefixed"] * right.prefixed
        lines.append(shlex.join(words))
    return "\n".join(lines)


_SCRIPT_BEGINS: Final = """#!/bin/sh
# Grants the least rights that rampwatch needs. BROKER: host:port. ADMIN: a properties file for
# Kafka's tools, of a user who may grant rights. KAFKA_ACLS: the tool, if it is not on the PATH.
set -eu
grant() {
    principal=$1
    shift
    "${KAFKA_ACLS:-kafka-acls.sh}" --bootstrap-server "$BROKER" ${ADMIN:+--command-config "$ADMIN"} \\
        --add --allow-principal "$principal" "$@"
}"""
