"""Secured brokers: logins, the reasons of rejected ones, and the rights of each component.

No output may contain a password.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient

from streams.core.topics import ACTIONS, DEAD_LETTERS, HITS, INCIDENTS, INPUTS, READS, SHOTS
from streams.kafka import permissions, topics
from streams.kafka.acls import Right, rights, user_of
from streams.kafka.connection import BrokerError, access_errors_explained, connection, start_client
from streams.replay.player import Playable, play
from streams.settings import Secret, Settings
from tests.drivers.brokers import topic_names
from tests.drivers.command import rampwatch
from tests.drivers.secured import (
    CERTIFIED_USER,
    PLAIN_USER,
    SHORT_USER,
    WRONG,
    Secured,
    all_secrets,
    changed,
    secured_broker,
)
from tests.drivers.topics import dead_letters, last_incidents, topics_of
from tests.drivers.waiting import WAIT_S_MAX, eventually
from tests.drivers.workers import access, await_handled, worker
from tests.worlds.evening import unusable
from tests.worlds.pairs import EVENING_MS, pair, pair_id, playable

LOGINS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN", "unencrypted", "certificate")
FEW = {"partitions": 2}
"""Fewer partitions than usual, to save time."""


@pytest.fixture(scope="module")
def secured(kafka_here: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with secured_broker(tmp_path_factory.mktemp("secured")) as broker:
        yield broker


def assert_contains_no_secret(text: str) -> None:
    assert text
    assert [secret for secret in all_secrets() if secret in text] == []


def error_of(attempt: Callable[[], object]) -> str:
    with pytest.raises(BrokerError) as raised:
        attempt()
    assert_contains_no_secret(repr(raised.value))
    return str(raised.value)


# ---------------------------------------------------------------------- logging in


async def brokers_visible(settings: Settings) -> int:
    admin = AIOKafkaAdminClient(**connection(settings))
    await start_client(admin, settings)
    try:
        return len((await admin.describe_cluster())["brokers"])
    finally:
        await admin.close()


@pytest.mark.parametrize("login", LOGINS)
def test_a_valid_password_or_certificate_is_accepted_and_the_debug_log_contains_no_password(
    login: str, secured: Secured, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, logger="aiokafka"):
        assert asyncio.run(brokers_visible(secured.logins()[login])) == 1
    assert "aiokafka.conn" in {record.name for record in caplog.records}
    assert "Request to" in caplog.text
    assert_contains_no_secret(caplog.text)


@pytest.mark.parametrize(
    ("login", "mistake", "reason"),
    [
        ("SCRAM-SHA-512", {"sasl_password": Secret(WRONG)}, "authentication of user rampwatch-worker failed (SC"),
        (
            "SCRAM-SHA-256",
            {"sasl_password": Secret(WRONG)},
            f"authentication of user {SHORT_USER} failed (SCRAM-SHA-256)",
        ),
        ("PLAIN", {"sasl_password": Secret(WRONG)}, f"authentication of user {PLAIN_USER} failed (PLAIN)"),
        ("unencrypted", {"sasl_password": Secret(WRONG)}, "check RAMPWATCH_SASL_USERNAME and RAMPWATCH_SASL_PASSWORD_"),
        ("SCRAM-SHA-512", {"sasl_username": "nobody"}, "authentication of user nobody failed"),
        ("SCRAM-SHA-512", {"sasl_mechanism": "PLAIN"}, "authentication of user rampwatch-worker failed (PLAIN)"),
        ("unencrypted", {"sasl_mechanism": "PLAIN"}, "does not support PLAIN; set RAMPWATCH_SASL_MECHANISM to one"),
        ("SCRAM-SHA-512", {"ssl_cafile": ""}, "set RAMPWATCH_SSL_CAFILE to the PEM file of the CA"),
        ("SCRAM-SHA-512", {"security_protocol": "PLAINTEXT"}, "the broker closed the PLAINTEXT connection; check"),
        (
            "SCRAM-SHA-512",
            {"security_protocol": "SSL"},
            "set RAMPWATCH_SECURITY_PROTOCOL and RAMPWATCH_SSL_CERTFILE ac",
        ),
        ("unencrypted", {"security_protocol": "PLAINTEXT"}, "the broker closed the PLAINTEXT connection"),
        ("unencrypted", {"security_protocol": "SASL_SSL"}, "the broker closed the SASL_SSL connection"),
        ("certificate", {"ssl_certfile": "", "ssl_keyfile": ""}, "RAMPWATCH_SSL_CERTFILE accordingly"),
    ],
)
def test_a_rejected_login_prints_the_reason_and_the_setting_to_correct(
    login: str, mistake: dict[str, Any], reason: str, secured: Secured
) -> None:
    settings = changed(secured.logins()[login], **mistake)
    error = error_of(lambda: asyncio.run(topics.check(settings)))
    assert error.startswith(f"{settings.broker}: ")
    assert reason in error


def test_no_password_is_sent_to_a_broker_without_sasl(secured: Secured) -> None:
    settings = changed(secured.logins()["unencrypted"], broker=secured.broker.address)
    error = error_of(lambda: asyncio.run(topics.check(settings)))
    assert error.endswith("the broker does not use SASL here; set RAMPWATCH_SECURITY_PROTOCOL to PLAINTEXT")


def test_a_certificate_of_another_host_is_not_accepted(secured: Secured) -> None:
    settings = secured.settings(user_of("worker"))
    elsewhere = changed(settings, broker=settings.broker.replace("127.0.0.1", "localhost"))
    error = error_of(lambda: asyncio.run(topics.check(elsewhere)))
    assert "the broker's certificate is for another host (" in error
    assert error.endswith("set RAMPWATCH_BROKER to a host name that the certificate contains")


@pytest.mark.parametrize(
    ("mistake", "reason"),
    [
        ({"ssl_key_password": Secret(WRONG)}, "set RAMPWATCH_SSL_KEY_PASSWORD_FILE if the key is encrypted"),
        ({"ssl_key_password": Secret()}, "set RAMPWATCH_SSL_KEY_PASSWORD_FILE if the key is encrypted"),
        ({"ssl_keyfile": ""}, "name PEM files of a certificate and its private key"),
        ({"ssl_certfile": "gone.pem"}, "RAMPWATCH_SSL_CERTFILE=gone.pem and RAMPWATCH_SSL_KEYFILE="),
        ({"ssl_cafile": "gone.pem"}, "RAMPWATCH_SSL_CAFILE=gone.pem: cannot be used (No such file or directory); "),
        ({"ssl_cafile": __file__}, "cannot be used (no certificate or crl found); name a PEM file of certificates"),
    ],
)
def test_unusable_certificate_files_are_named(mistake: dict[str, Any], reason: str, secured: Secured) -> None:
    settings = changed(secured.logins()["certificate"], **mistake)
    assert reason in error_of(lambda: connection(settings))


@pytest.mark.parametrize("command", [["topics", "create"], ["worker"], ["demo", "--for", "5"]])
def test_with_a_wrong_password_a_command_exits_with_an_error_and_code_2(
    command: list[str], secured: Secured, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text(f"{WRONG}\n", encoding="utf-8")
    settings = changed(secured.settings(user_of("worker")), sasl_password_file=str(file))
    ended = rampwatch(*command, **access(settings))
    assert ended.returncode == 2
    sentence = ended.stderr.splitlines()[-1].partition("rampwatch: ")[2]
    assert sentence.startswith(f"{secured.sasl_ssl}: authentication of user rampwatch-worker failed (")
    assert sentence.endswith("RAMPWATCH_SASL_PASSWORD_FILE, or create the user on the broker")
    assert "Traceback" not in ended.stderr
    assert "unclosed" not in ended.stderr.lower()
    assert_contains_no_secret(ended.stdout + ended.stderr)


# ---------------------------------------------------------------------- rights


async def reads(settings: Settings, topic: str) -> int:
    """Read a topic from its beginning until records arrive, as a client without a group."""
    options = {"auto_offset_reset": "earliest", "enable_auto_commit": False}
    consumer = AIOKafkaConsumer(settings.prefix + topic, **connection(settings), **options)
    await start_client(consumer, settings)
    try:
        with access_errors_explained(settings):
            rows = await consumer.getmany(timeout_ms=20_000)
    finally:
        await consumer.stop()
    return sum(map(len, rows.values()))


def test_each_component_does_its_work_with_no_more_than_the_rights_of_the_table(
    secured: Secured, prefix: str, tmp_path: Path
) -> None:
    everything = changed(secured.open, prefix=prefix, **FEW)
    users = {name: changed(secured.settings(user_of(name), prefix), **FEW) for name in COMPONENTS_OF_TOPICS}
    secured.grant(right for name, settings in users.items() for right in rights(settings, name))
    before = len(secured.denials())
    more = {"RAMPWATCH_PREFIX": prefix, "RAMPWATCH_PARTITIONS": "2"}
    made = rampwatch("topics", "create", **access(users["topics"]), **more)
    assert (made.returncode, len(made.stdout.split())) == (0, 9), made.stderr
    checked = rampwatch("topics", "check", **access(users["topics"]), **more)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    feeds = {SHOTS: "shots", HITS: "hits", READS: "reads"}
    incident = pair_id("a", "SIM 101")
    action = {"action_id": "A1", "incident_id": incident, "kind": "acknowledge", "by": "console 1", "at_ms": EVENING_MS}
    config = tmp_path / "few.toml"
    config.write_text("partitions = 2\n", encoding="utf-8")
    with worker(users["worker"], tmp_path, "--config", str(config)) as running:
        for record in pair("a", EVENING_MS, "SIM 101"):
            assert asyncio.run(play([record], users[feeds[record.topic]], None, 0)) == 1
        assert asyncio.run(play([playable(ACTIONS, EVENING_MS, incident, **action)], users["console"], None, 0)) == 1
        assert asyncio.run(play(unusable(EVENING_MS), users["replay"], None, 0)) == len(unusable(EVENING_MS))
        await_handled(everything, running)
        assert list(last_incidents(everything)) == [incident]
        assert len(dead_letters(everything)) == len(unusable(EVENING_MS))
        assert running.stop()[0] == 0
    assert asyncio.run(reads(users["console"], INCIDENTS)) > 0
    for topic in (*INPUTS, INCIDENTS, DEAD_LETTERS):
        assert asyncio.run(reads(users["archive"], topic)) > 0
    assert secured.denials()[before:] == []
    assert_contains_no_secret(running.log_text() + made.stderr + made.stdout + checked.stderr)
    assert_contains_no_secret(secured.broker.log.read_text("utf-8"))


COMPONENTS_OF_TOPICS = ("worker", "topics", "shots", "hits", "reads", "console", "replay", "archive")


def single(right: Right) -> Iterator[Right]:
    """Split a right into single operations on single resources."""
    for name, operation in itertools.product(right.names, right.operations):
        yield msgspec.structs.replace(right, names=(name,), operations=(operation,))


def test_each_right_that_a_worker_lacks_is_reported_before_it_starts(secured: Secured, prefix: str) -> None:
    settings = secured.settings(user_of("worker"), prefix)
    secured.grant(rights(settings, "worker"))

    def lacking() -> list[str]:
        return asyncio.run(permissions.missing(settings, "worker"))

    with topics_of(secured.broker.address, prefix):
        # a topic that the broker does not know yet is another error
        eventually([], lambda: asyncio.run(topics.check(settings)) == [], "the topics were not created")
        assert lacking() == []
        for right in (each for whole in rights(settings, "worker") for each in single(whole)):
            secured.withdraw(right)
            reported = lacking()
            assert is_only(right, reported), (right, reported)
            secured.grant([right])
        assert lacking() == []


def is_only(right: Right, reported: list[str]) -> bool:
    """Whether nothing but this right is reported missing.

    A missing Describe hides the resource, so the report then lists every operation on it.
    """
    ((name,), (operation,)) = right.names, right.operations
    match reported:
        case [sentence]:
            begins, _, lacks = sentence.partition(" lacks ")
            operations = lacks.partition(" on this ")[0].split(", ")
            return begins == f"{name}: user rampwatch-worker" and operation in operations
    return False


def test_a_worker_without_rights_to_its_group_or_its_output_exits_at_once(secured: Secured, prefix: str) -> None:
    settings = changed(secured.settings(user_of("worker"), prefix), **FEW)
    secured.grant(
        right
        for right in rights(settings, "worker")
        if right.resource != "group" and right.names[0] != prefix + INCIDENTS
    )
    with topics_of(secured.broker.address, prefix):
        ended = rampwatch("worker", "--prefix", prefix, **access(settings))
    assert ended.returncode == 2
    assert f"{prefix}rampwatch: user rampwatch-worker lacks Read on this group (" in ended.stderr
    assert f"{prefix}{INCIDENTS}: user rampwatch-worker lacks Read, Write, Describe" in ended.stderr
    assert ended.stderr.splitlines()[-1].endswith("grant the rights that rampwatch acls worker --script prints")
    assert "Traceback" not in ended.stderr
    assert_contains_no_secret(ended.stderr)


@pytest.mark.parametrize(
    ("operation", "attempt", "reason"),
    [
        ("Create", topics.create, "the broker did not create this topic: "),
        ("Describe", topics.check, f"{SHOTS}: user rampwatch-topics may not describe it"),
        ("DescribeConfigs", topics.check, f"{SHOTS}: its configuration cannot be read (TopicAuthorizationFailedError)"),
    ],
)
def test_creating_and_checking_topics_needs_each_of_its_rights(
    operation: str, attempt: Any, reason: str, secured: Secured, prefix: str
) -> None:
    settings = changed(secured.settings(user_of("topics"), prefix), **FEW)
    (right,) = rights(settings, "topics")
    fewer = tuple(each for each in right.operations if each not in (operation, "Describe" * (operation == "Create")))
    secured.grant([msgspec.structs.replace(right, operations=fewer)])
    if operation != "Create":
        asyncio.run(topics.create(changed(secured.open, prefix=prefix)))
    try:
        report = " ".join(asyncio.run(attempt(settings)))
    except topics.TopicsError as error:
        report = str(error)
    assert reason in report
    assert "; grant this user the rights that rampwatch acls lists" in report


@pytest.mark.parametrize(("component", "topic"), [("shots", SHOTS), ("reads", READS), ("console", ACTIONS)])
def test_a_component_without_the_right_to_write_a_topic_gets_an_error(
    component: str, topic: str, secured: Secured, prefix: str
) -> None:
    settings = changed(secured.settings(user_of(component), prefix), **FEW)
    record = Playable(topic, EVENING_MS, "", b"{}")
    with topics_of(secured.broker.address, prefix):
        error = error_of(lambda: asyncio.run(play([record], settings, None, 0)))
    assert error.startswith(
        f"{settings.broker}: user rampwatch-{component} lacks a right to the topic {prefix}{topic}; "
    )
    assert error.endswith("grant the rights that rampwatch acls lists")


@pytest.mark.parametrize(("component", "topic"), [("console", INCIDENTS), ("archive", DEAD_LETTERS)])
def test_a_component_without_the_right_to_read_a_topic_gets_an_error(
    component: str, topic: str, secured: Secured, prefix: str
) -> None:
    settings = changed(secured.settings(user_of(component), prefix), **FEW)
    with topics_of(secured.broker.address, prefix):
        error = error_of(lambda: asyncio.run(reads(settings, topic)))
    assert error.startswith(
        f"{settings.broker}: user rampwatch-{component} lacks a right to the topic {prefix}{topic}; "
    )


def test_a_worker_can_log_in_with_a_certificate_and_exits_with_an_error_when_a_right_is_withdrawn(
    secured: Secured, prefix: str, tmp_path: Path
) -> None:
    settings = secured.logins(prefix)["certificate"]
    secured.grant(rights(settings, "worker"), CERTIFIED_USER)
    with topics_of(secured.broker.address, prefix) as everything, worker(settings, tmp_path) as running:
        asyncio.run(play(pair("a", EVENING_MS, "SIM 101"), everything, None, 0))
        await_handled(everything, running)
        assert list(last_incidents(everything)) == [pair_id("a", "SIM 101")]
        (joined,) = [right for right in rights(settings, "worker") if prefix + HITS in right.names]
        secured.withdraw(joined, CERTIFIED_USER)
        assert running.process.wait(WAIT_S_MAX) == 2
    # which request is denied first, and so whether the error can name the topic, is up to the
    # broker
    log = running.log_text()
    assert f"rampwatch: {settings.broker}: the user of the client certificate lacks a right to the topic" in log, log
    assert_contains_no_secret(log)


def test_the_demo_runs_on_a_secured_broker_and_leaves_nothing_there(secured: Secured) -> None:
    settings = secured.settings(user_of("demo"))
    secured.grant(rights(settings, "demo"))
    ended = rampwatch("demo", "--for", "50", "--speed", "100000", **access(settings))
    assert ended.returncode == 0, ended.stderr
    assert " linked incidents: " in ended.stderr.splitlines()[-1]
    assert [name for name in topic_names(secured.broker.address) if name.startswith("demo-")] == []
    assert_contains_no_secret(ended.stdout + ended.stderr)
