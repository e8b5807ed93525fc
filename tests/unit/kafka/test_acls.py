"""The rights: every topic has a writer and a reader, and the script grants the table."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from streams.core.errors import RampwatchError
from streams.core.topics import COUNTED, DEAD_LETTERS, INCIDENTS, INPUTS
from streams.kafka.acls import rights, rows, script, user_of
from streams.settings import Settings

SETTINGS = Settings(prefix="p-", group="g")


def granted(text: str) -> list[list[str]]:
    """The words of each ``grant`` line of a script."""
    return [shlex.split(line)[1:] for line in text.splitlines() if line.startswith("grant ")]


def test_resource_names_use_the_prefix_and_the_group():
    things = {(right.resource, name) for right in rights(SETTINGS, "worker") for name in right.names}
    topics = {("topic", f"p-{topic}") for topic in (*INPUTS, INCIDENTS, DEAD_LETTERS, *COUNTED)}
    assert things == topics | {("group", "p-g"), ("transactional-id", "p-g-")}


@pytest.mark.parametrize("operation", ["Create", "Read", "Write"])
def test_every_topic_has_a_component_that_creates_reads_and_writes_it(operation):
    named = {name for right in rights(SETTINGS) if operation in right.operations for name in right.names}
    assert {f"p-{topic}" for topic in (*INPUTS, INCIDENTS, DEAD_LETTERS, *COUNTED)} <= named


def test_only_the_components_that_need_it_may_write_outputs_or_create_or_delete_topics():
    by = {(op, name): set() for right in rights(SETTINGS) for op in right.operations for name in right.names}
    for right in rights(SETTINGS):
        for operation in right.operations:
            for name in right.names:
                by[operation, name].add(right.component)
    assert by["Write", f"p-{INCIDENTS}"] == {"worker"}
    assert by["Write", f"p-{DEAD_LETTERS}"] == {"worker"}
    creators = {right.component for right in rights(SETTINGS) if {"Create", "Delete"} & {*right.operations}}
    assert creators == {"topics", "demo"}
    assert all(name == "demo-" for right in rights(SETTINGS) if "Delete" in right.operations for name in right.names)


def test_the_script_grants_exactly_what_the_table_lists():
    table = rights(SETTINGS)
    expected = [
        [f"User:{user_of(right.component)}"]
        + [word for operation in right.operations for word in ("--operation", operation)]
        + [word for name in right.names for word in (f"--{right.resource}", name)]
        + (["--resource-pattern-type", "prefixed"] if right.prefixed else [])
        for right in table
    ]
    assert granted(script(table, None)) == expected
    assert len(expected) == len(list(rows(table)))


def test_a_user_name_with_shell_characters_is_quoted():
    assert {words[0] for words in granted(script(rights(SETTINGS, "worker"), "a b$(c)"))} == {"User:a b$(c)"}


def test_the_script_calls_the_tool_with_the_broker_and_the_rights(tmp_path: Path):
    calls = tmp_path / "calls"
    tool = tmp_path / "kafka-acls.sh"
    tool.write_text(
        f'#!/bin/sh\nfor word; do printf "%s|" "$word"; done >> {calls}\necho >> {calls}\n', encoding="utf-8"
    )
    tool.chmod(0o755)
    file = tmp_path / "grant.sh"
    file.write_text(script(rights(SETTINGS, "console"), "it's"), encoding="utf-8")
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "BROKER": "kafka:9093", "ADMIN": "a file.properties"}
    subprocess.run(["sh", file], env=environment, check=True, timeout=60)
    begins = "--bootstrap-server|kafka:9093|--command-config|a file.properties|--add|--allow-principal|User:it's|"
    assert calls.read_text("utf-8").splitlines() == [
        f"{begins}--operation|Write|--topic|p-incident-actions|",
        f"{begins}--operation|Read|--topic|p-linked-incidents|--topic|p-spike-counters|--topic|p-spike-alerts|",
    ]


def test_an_unknown_component_is_reported_with_the_known_ones():
    with pytest.raises(RampwatchError, match="nobody: no such component; use one of worker, topics, shots, "):
        rights(SETTINGS, "nobody")
