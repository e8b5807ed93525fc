"""A broker that asks who comes: the right password works, a wrong one gives a sentence, and rights are the least.

No password may be in anything that is said, whoever says it.
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

from streams.core.events import ACTIONS, DEAD_LETTERS, HITS, INCIDENTS, INPUTS, READS, SHOTS
from streams.kafka import permissions, topics
from streams.kafka.acls import Right, rights, user_of
from streams.kafka.connection import BrokerError, access_errors_explained, connection, started
from streams.replay.player import Playable, play
from streams.settings import Secret, Settings
from tests.kafka.driving import (
    WAIT_S_MAX,
    access,
    await_handled,
    dead_letters,
    eventually,
    last_incidents,
    rampwatch,
    topic_names,
    topics_of,
    worker,
)
from tests.kafka.secured import (
    CERTIFIED_USER,
    PLAIN_USER,
    SHORT_USER,
    WRONG,
    Secured,
    all_secrets,
    changed,
    secured_broker,
)
from tests.kafka.test_worker import EVENING_MS, pair, pair_id, playable, unusable

WAYS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN", "unencrypted", "certificate")
FEW = {"partitions": 2}
"""Of the joined topics, fewer than usual: for the sake of the time this takes."""


@pytest.fixture(scope="module")
def secured(kafka_here: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with secured_broker(tmp_path_factory.mktemp("secured")) as broker:
        yield broker


def assert_says_no_secret(text: str) -> None:
    assert text
    assert [secret for secret in all_secrets() if secret in text] == []


def refused(attempt: Callable[[], object]) -> str:
    with pytest.raises(BrokerError) as why:
        attempt()
    assert_says_no_secret(repr(why.value))
    return str(why.value)


# ---------------------------------------------------------------------- who comes


async def brokers_seen(settings: Settings) -> int:
    admin = AIOKafkaAdminClient(**connection(settings))
    await started(admin, settings)
    try:
        return len((await admin.describe_cluster())["brokers"])
    finally:
        await admin.close()


@pytest.mark.parametrize("way", WAYS)
def test_with_the_right_password_or_certificate_a_client_gets_in_and_even_the_fullest_log_holds_no_password(
    way: str, secured: Secured, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, logger="aiokafka"):
        assert asyncio.run(brokers_seen(secured.ways()[way])) == 1
    assert "aiokafka.conn" in {record.name for record in caplog.records}
    assert "Request to" in caplog.text
    assert_says_no_secret(caplog.text)


@pytest.mark.parametrize(
    ("way", "slip", "told"),
    [
        ("SCRAM-SHA-512", {"sasl_password": Secret(WRONG)}, "user rampwatch-worker is not known here with this "),
        ("SCRAM-SHA-256", {"sasl_password": Secret(WRONG)}, f"user {SHORT_USER} is not known here with this password"),
        ("PLAIN", {"sasl_password": Secret(WRONG)}, f"user {PLAIN_USER} is not known here with this password (PLAIN)"),
        ("unencrypted", {"sasl_password": Secret(WRONG)}, "mend RAMPWATCH_SASL_USERNAME and RAMPWATCH_SASL_PASSWORD_"),
        ("SCRAM-SHA-512", {"sasl_username": "nobody"}, "user nobody is not known here with this password"),
        ("SCRAM-SHA-512", {"sasl_mechanism": "PLAIN"}, "user rampwatch-worker is not known here with this password"),
        ("unencrypted", {"sasl_mechanism": "PLAIN"}, "PLAIN is not taken here; set RAMPWATCH_SASL_MECHANISM to one"),
        ("SCRAM-SHA-512", {"ssl_cafile": ""}, "name the file of who vouches for it in RAMPWATCH_SSL_CAFILE"),
        ("SCRAM-SHA-512", {"security_protocol": "PLAINTEXT"}, "hangs up on who comes with PLAINTEXT; see whether it"),
        (
            "SCRAM-SHA-512",
            {"security_protocol": "SSL"},
            "set RAMPWATCH_SECURITY_PROTOCOL and RAMPWATCH_SSL_CERTFILE as",
        ),
        ("unencrypted", {"security_protocol": "PLAINTEXT"}, "hangs up on who comes with PLAINTEXT"),
        ("unencrypted", {"security_protocol": "SASL_SSL"}, "hangs up on who comes with SASL_SSL"),
        ("certificate", {"ssl_certfile": "", "ssl_keyfile": ""}, "RAMPWATCH_SSL_CERTFILE as it does"),
    ],
)
def test_who_is_not_let_in_is_told_in_a_sentence_what_to_mend(
    way: str, slip: dict[str, Any], told: str, secured: Secured
) -> None:
    settings = changed(secured.ways()[way], **slip)
    why = refused(lambda: asyncio.run(topics.check(settings)))
    assert why.startswith(f"{settings.broker}: ")
    assert told in why


def test_a_password_for_a_broker_that_asks_for_none_is_not_sent(secured: Secured) -> None:
    settings = changed(secured.ways()["unencrypted"], broker=secured.broker.address)
    why = refused(lambda: asyncio.run(topics.check(settings)))
    assert why.endswith("nobody is asked for a password here; set RAMPWATCH_SECURITY_PROTOCOL to PLAINTEXT")


def test_a_certificate_of_another_host_is_not_taken(secured: Secured) -> None:
    settings = secured.settings(user_of("worker"))
    elsewhere = changed(settings, broker=settings.broker.replace("127.0.0.1", "localhost"))
    why = refused(lambda: asyncio.run(topics.check(elsewhere)))
    assert "the certificate is another host's (" in why
    assert why.endswith("name the broker in RAMPWATCH_BROKER as it names itself")


@pytest.mark.parametrize(
    ("slip", "told"),
    [
        ({"ssl_key_password": Secret(WRONG)}, "set RAMPWATCH_SSL_KEY_PASSWORD_FILE where the key is encrypted"),
        ({"ssl_key_password": Secret()}, "set RAMPWATCH_SSL_KEY_PASSWORD_FILE where the key is encrypted"),
        ({"ssl_keyfile": ""}, "name PEM files of a certificate and its key"),
        ({"ssl_certfile": "gone.pem"}, "RAMPWATCH_SSL_CERTFILE=gone.pem and RAMPWATCH_SSL_KEYFILE="),
        ({"ssl_cafile": "gone.pem"}, "RAMPWATCH_SSL_CAFILE=gone.pem: cannot be used (No such file or directory); "),
        ({"ssl_cafile": __file__}, "cannot be used (no certificate or crl found); name a PEM file of certificates"),
    ],
)
def test_files_of_certificates_that_cannot_be_used_are_named(slip: dict[str, Any], told: str, secured: Secured) -> None:
    settings = changed(secured.ways()["certificate"], **slip)
    assert told in refused(lambda: connection(settings))


@pytest.mark.parametrize("command", [["topics", "create"], ["worker"], ["demo", "--for", "5"]])
def test_with_a_wrong_password_a_command_ends_with_a_sentence_and_code_2(
    command: list[str], secured: Secured, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text(f"{WRONG}\n", encoding="utf-8")
    settings = changed(secured.settings(user_of("worker")), sasl_password_file=str(file))
    ended = rampwatch(*command, **access(settings))
    assert ended.returncode == 2
    sentence = ended.stderr.splitlines()[-1]
    assert sentence.startswith(f"rampwatch: {secured.sasl_ssl}: user rampwatch-worker is not known here with this ")
    assert sentence.endswith("RAMPWATCH_SASL_PASSWORD_FILE, or make the user on the broker")
    assert "Traceback" not in ended.stderr
    assert "unclosed" not in ended.stderr.lower()
    assert_says_no_secret(ended.stdout + ended.stderr)


# ---------------------------------------------------------------------- what who comes may do


async def reads(settings: Settings, topic: str) -> int:
    """Read a topic from its beginning until something comes, as a client without a group does."""
    options = {"auto_offset_reset": "earliest", "enable_auto_commit": False}
    consumer = AIOKafkaConsumer(settings.prefix + topic, **connection(settings), **options)
    await started(consumer, settings)
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
    who = {name: changed(secured.settings(user_of(name), prefix), **FEW) for name in COMPONENTS_OF_TOPICS}
    secured.grant(right for name, settings in who.items() for right in rights(settings, name))
    before = len(secured.refusals())
    more = {"RAMPWATCH_PREFIX": prefix, "RAMPWATCH_PARTITIONS": "2"}
    made = rampwatch("topics", "create", **access(who["topics"]), **more)
    assert (made.returncode, len(made.stdout.split())) == (0, 9), made.stderr
    checked = rampwatch("topics", "check", **access(who["topics"]), **more)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    feeds = {SHOTS: "shots", HITS: "hits", READS: "reads"}
    incident = pair_id("a", "SIM 101")
    action = {"action_id": "A1", "incident_id": incident, "kind": "acknowledge", "by": "console 1", "at_ms": EVENING_MS}
    config = tmp_path / "few.toml"
    config.write_text("partitions = 2\n", encoding="utf-8")
    with worker(who["worker"], tmp_path, "--config", str(config)) as running:
        for record in pair("a", EVENING_MS, "SIM 101"):
            assert asyncio.run(play([record], who[feeds[record.topic]], None, 0)) == 1
        assert asyncio.run(play([playable(ACTIONS, EVENING_MS, incident, **action)], who["console"], None, 0)) == 1
        assert asyncio.run(play(unusable(EVENING_MS), who["replay"], None, 0)) == len(unusable(EVENING_MS))
        await_handled(everything, running)
        assert list(last_incidents(everything)) == [incident]
        assert len(dead_letters(everything)) == len(unusable(EVENING_MS))
        assert running.stop()[0] == 0
    assert asyncio.run(reads(who["console"], INCIDENTS)) > 0
    for topic in (*INPUTS, INCIDENTS, DEAD_LETTERS):
        assert asyncio.run(reads(who["archive"], topic)) > 0
    assert secured.refusals()[before:] == []
    assert_says_no_secret(running.said() + made.stderr + made.stdout + checked.stderr)
    assert_says_no_secret(secured.broker.log.read_text("utf-8"))


COMPONENTS_OF_TOPICS = ("worker", "topics", "shots", "hits", "reads", "console", "replay", "archive")


def single(right: Right) -> Iterator[Right]:
    """Take a right apart: one operation on one thing each."""
    for name, operation in itertools.product(right.names, right.operations):
        yield msgspec.structs.replace(right, names=(name,), operations=(operation,))


def test_each_right_that_a_worker_lacks_is_told_before_it_begins(secured: Secured, prefix: str) -> None:
    settings = secured.settings(user_of("worker"), prefix)
    secured.grant(rights(settings, "worker"))

    def lacking() -> list[str]:
        return asyncio.run(permissions.missing(settings, "worker"))

    with topics_of(secured.broker.address, prefix):
        # a topic that the broker does not know yet is another sentence
        eventually([], lambda: asyncio.run(topics.check(settings)) == [], "the topics were not made")
        assert lacking() == []
        for right in (each for whole in rights(settings, "worker") for each in single(whole)):
            secured.withdraw(right)
            said = lacking()
            assert told_alone(said, right), (right, said)
            secured.grant([right])
        assert lacking() == []


def told_alone(said: list[str], right: Right) -> bool:
    """Whether this is all that is missed; without the only right that lets a thing be seen, all others go as well."""
    ((name,), (operation,)) = right.names, right.operations
    match said:
        case [sentence]:
            begins, _, lacks = sentence.partition(" has no right to ")
            return begins == f"{name}: user rampwatch-worker" and operation in lacks.partition(" this ")[0].split()
    return False


def test_a_worker_without_a_right_to_its_group_or_its_output_does_not_wait_but_ends(
    secured: Secured, prefix: str
) -> None:
    settings = changed(secured.settings(user_of("worker"), prefix), **FEW)
    secured.grant(
        right
        for right in rights(settings, "worker")
        if right.resource != "group" and right.names[0] != prefix + INCIDENTS
    )
    with topics_of(secured.broker.address, prefix):
        ended = rampwatch("worker", "--prefix", prefix, **access(settings))
    assert ended.returncode == 2
    assert f"{prefix}rampwatch: user rampwatch-worker has no right to Read this group (" in ended.stderr
    assert f"{prefix}{INCIDENTS}: user rampwatch-worker has no right to Read and Write and Describe" in ended.stderr
    assert ended.stderr.splitlines()[-1].endswith("grant what rampwatch acls worker --script prints")
    assert "Traceback" not in ended.stderr
    assert_says_no_secret(ended.stderr)


@pytest.mark.parametrize(
    ("operation", "attempt", "told"),
    [
        ("Create", topics.create, "the broker does not make this topic: "),
        ("Describe", topics.check, f"{SHOTS}: user rampwatch-topics may not see it"),
        ("DescribeConfigs", topics.check, f"{SHOTS}: its settings cannot be read (TopicAuthorizationFailedError)"),
    ],
)
def test_who_makes_topics_needs_each_of_its_rights(
    operation: str, attempt: Any, told: str, secured: Secured, prefix: str
) -> None:
    settings = changed(secured.settings(user_of("topics"), prefix), **FEW)
    (right,) = rights(settings, "topics")
    fewer = tuple(each for each in right.operations if each not in (operation, "Describe" * (operation == "Create")))
    secured.grant([msgspec.structs.replace(right, operations=fewer)])
    if operation != "Create":
        asyncio.run(topics.create(changed(secured.open, prefix=prefix)))
    try:
        said = " ".join(asyncio.run(attempt(settings)))
    except topics.TopicsError as error:
        said = str(error)
    assert told in said
    assert "; give this user the rights that rampwatch acls lists" in said


@pytest.mark.parametrize(("component", "topic"), [("shots", SHOTS), ("reads", READS), ("console", ACTIONS)])
def test_who_may_not_write_a_topic_is_told_so(component: str, topic: str, secured: Secured, prefix: str) -> None:
    settings = changed(secured.settings(user_of(component), prefix), **FEW)
    record = Playable(topic, EVENING_MS, "", b"{}")
    with topics_of(secured.broker.address, prefix):
        why = refused(lambda: asyncio.run(play([record], settings, None, 0)))
    assert why.startswith(f"{settings.broker}: user rampwatch-{component} may not use a topic {prefix}{topic} as this ")
    assert why.endswith("give it the rights that rampwatch acls lists")


@pytest.mark.parametrize(("component", "topic"), [("console", INCIDENTS), ("archive", DEAD_LETTERS)])
def test_who_may_not_read_a_topic_is_told_so(component: str, topic: str, secured: Secured, prefix: str) -> None:
    settings = changed(secured.settings(user_of(component), prefix), **FEW)
    with topics_of(secured.broker.address, prefix):
        why = refused(lambda: asyncio.run(reads(settings, topic)))
    assert why.startswith(f"{settings.broker}: user rampwatch-{component} may not use a topic {prefix}{topic} as this ")


def test_a_worker_can_come_with_a_certificate_and_ends_with_a_sentence_when_a_right_is_withdrawn(
    secured: Secured, prefix: str, tmp_path: Path
) -> None:
    settings = secured.ways(prefix)["certificate"]
    secured.grant(rights(settings, "worker"), CERTIFIED_USER)
    with topics_of(secured.broker.address, prefix) as everything, worker(settings, tmp_path) as running:
        asyncio.run(play(pair("a", EVENING_MS, "SIM 101"), everything, None, 0))
        await_handled(everything, running)
        assert list(last_incidents(everything)) == [pair_id("a", "SIM 101")]
        (joined,) = [right for right in rights(settings, "worker") if prefix + HITS in right.names]
        secured.withdraw(joined, CERTIFIED_USER)
        assert running.process.wait(WAIT_S_MAX) == 2
    # which request the broker refuses first, and so whether the client knows the topic's name, is not ours
    said = running.said()
    assert f"rampwatch: {settings.broker}: the holder of the certificate may not use a topic " in said, said
    assert_says_no_secret(running.said())


def test_the_demo_plays_through_a_broker_that_asks_and_leaves_nothing_there(secured: Secured) -> None:
    settings = secured.settings(user_of("demo"))
    secured.grant(rights(settings, "demo"))
    ended = rampwatch("demo", "--for", "50", "--speed", "100000", **access(settings))
    assert ended.returncode == 0, ended.stderr
    assert " linked incidents: " in ended.stderr.splitlines()[-1]
    assert [name for name in topic_names(secured.broker.address) if name.startswith("demo-")] == []
    assert_says_no_secret(ended.stdout + ended.stderr)
