"""The least rights that each component needs on a broker that asks for them: one table, printed in several forms.

Kafka's rules that keep it short: Read, Write and Delete imply Describe; who may write to any topic may be an idempotent
producer as well (since Kafka 2.8, KIP-679).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from typing import Final, Literal

from msgspec import Struct

from streams.core.errors import RampwatchError
from streams.core.events import (
    ACTIONS,
    ALERTS,
    BROADCAST,
    COUNTED,
    COUNTERS,
    DEAD_LETTERS,
    HITS,
    INCIDENTS,
    INPUTS,
    JOINED,
    READS,
    SHOTS,
)
from streams.settings import Settings

Operation = Literal["Read", "Write", "Create", "Delete", "Describe", "DescribeConfigs"]
Resource = Literal["topic", "group", "transactional-id"]

_ALL: Final = (*INPUTS, INCIDENTS, DEAD_LETTERS, *COUNTED)
DEMO_PREFIX: Final = "demo-"
"""Of the topics that a demo makes on a broker that is there already."""


class Right(Struct, frozen=True):
    """What one component may do with some things; ``names`` are whole, or where ``prefixed`` how names begin."""

    component: str
    operations: tuple[Operation, ...]
    resource: Resource
    names: tuple[str, ...]
    why: str
    prefixed: bool = False


def rights(settings: Settings, component: str | None = None) -> list[Right]:
    """Return all rights, or those of one component, for the prefix and the group of these settings."""
    table = list(_table(settings))
    names = list(dict.fromkeys(right.component for right in table))
    if component is not None and component not in names:
        raise RampwatchError(f"{component}: no such component; use one of {', '.join(names)}")
    return [right for right in table if component in (None, right.component)]


def _table(settings: Settings) -> Iterator[Right]:
    prefix, group = settings.prefix, settings.prefix + settings.group

    def on(component: str, operations: tuple[Operation, ...], topics: Iterable[str], why: str) -> Right:
        return Right(component, operations, "topic", tuple(prefix + topic for topic in topics), why)

    yield on("worker", ("Read", "DescribeConfigs"), BROADCAST, "reads them whole")
    yield on(
        "worker", ("Read", "Write", "DescribeConfigs"), JOINED, "joins them; sends on what is on a wrong partition"
    )
    yield on("worker", ("Read", "Write", "DescribeConfigs"), [INCIDENTS], "publishes, and reads back what it published")
    yield on("worker", ("Read", "Write", "DescribeConfigs"), COUNTED, "counts, and reads back what was counted")
    yield on("worker", ("Write", "DescribeConfigs"), [DEAD_LETTERS], "keeps what cannot be used")
    yield Right("worker", ("Read",), "group", (group,), "shares partitions, commits where it is")
    yield Right(
        "worker",
        ("Write",),
        "transactional-id",
        (f"{group}-",),
        "has one writer a partition, and one of the counters",
        prefixed=True,
    )
    yield on("topics", ("Create", "Describe", "DescribeConfigs"), _ALL, "makes and checks the topics")
    yield on("shots", ("Write",), [SHOTS], "the gunshot detector's feed")
    yield on("hits", ("Write",), [HITS], "the stolen-vehicle list's feed")
    yield on("reads", ("Write",), [READS], "the cameras' feed")
    yield on("console", ("Read",), [INCIDENTS, COUNTERS, ALERTS], "shows incidents and counters")
    yield on("console", ("Write",), [ACTIONS], "says what people did about them")
    yield on("replay", ("Write",), INPUTS, "plays records into the topics of a prefix")
    yield on("archive", ("Read",), _ALL, "copies the topics into files")
    for_itself: tuple[Operation, ...] = ("Create", "Delete", "DescribeConfigs", "Read", "Write")
    yield Right("demo", for_itself, "topic", (DEMO_PREFIX,), "makes topics of its own and removes them", prefixed=True)
    yield Right("demo", ("Read",), "group", (DEMO_PREFIX,), "has a worker of its own", prefixed=True)
    yield Right("demo", ("Write",), "transactional-id", (DEMO_PREFIX,), "has a worker of its own", prefixed=True)


def user_of(component: str) -> str:
    """Return the user that a component is, unless it is told another."""
    return f"rampwatch-{component}"


def rows(table: Iterable[Right], between: str = ", ") -> Iterator[tuple[str, str, str, str]]:
    """Return the rights as the rows of a table: component, things, operations, reason; a star ends how names begin."""
    for right in table:
        names = between.join(name + "*" * right.prefixed for name in right.names)
        yield right.component, f"{right.resource} {names}", ", ".join(right.operations), right.why


def script(table: Iterable[Right], user: str | None) -> str:
    """Return a shell script that grants the rights with Kafka's own tool; run again, it changes nothing."""
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
# Grants the least rights that rampwatch needs. BROKER: host:port. ADMIN: a properties file for Kafka's tools, of a
# user who may grant. KAFKA_ACLS: the tool, where it is not on the PATH by this name.
set -eu
grant() {
    principal=$1
    shift
    "${KAFKA_ACLS:-kafka-acls.sh}" --bootstrap-server "$BROKER" ${ADMIN:+--command-config "$ADMIN"} \\
        --add --allow-principal "$principal" "$@"
}"""
