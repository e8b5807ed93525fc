"""A secured Kafka: TLS, passwords by three mechanisms, client certificates, and ACLs for each user.

Its plaintext listener needs no login and may do everything: through it the tests grant rights. All
names and passwords are invented here.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import trustme
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest
from cryptography.hazmat.primitives import serialization

from streams.kafka.acls import Right, user_of
from streams.local_broker.broker import BrokerOptions, LocalBroker
from streams.settings import Secret, Settings
from tests.drivers.ports import free_port
from tests.drivers.waiting import WAIT_S_MAX

COMPONENTS: Final = ("worker", "topics", "shots", "hits", "reads", "console", "replay", "archive", "demo")
PLAIN_USER: Final = "plain-user"
SHORT_USER: Final = "scram-256-user"
CERTIFIED_USER: Final = "certified-user"
WRONG: Final = "Wrong-Zebra-5501"
KEY_PASSWORD: Final = "Key-Walrus-7719"

# Kafka's numbers for the words in the table of rights
_RESOURCES: Final = {"topic": 2, "group": 3, "transactional-id": 5}
_OPERATIONS: Final = {"Read": 3, "Write": 4, "Create": 5, "Delete": 6, "Describe": 8, "DescribeConfigs": 10}
_ANY, _LITERAL, _PREFIXED, _ALLOW = 1, 3, 4, 3

Grant = tuple[str, tuple[int, str, int], int]
"""A principal, a resource (type, name, pattern type) and an operation, in Kafka's numbers."""


def password_of(user: str) -> str:
    """The invented password of a user."""
    return f"Invented-{user}-4242"


def all_secrets() -> list[str]:
    """Every password in use: no output may contain one."""
    users = [*map(user_of, COMPONENTS), PLAIN_USER, SHORT_USER]
    return [*map(password_of, users), WRONG, KEY_PASSWORD]


@dataclass(frozen=True)
class Secured:
    """The broker and its listeners, and PEM files for clients."""

    broker: LocalBroker
    sasl_ssl: str
    sasl_plaintext: str
    ssl: str
    ca: Path
    certificate: Path
    key: Path

    @property
    def open(self) -> Settings:
        """Settings of a client with all rights."""
        return Settings(broker=self.broker.address)

    def denials(self) -> list[str]:
        """The log lines about requests that the broker has denied so far."""
        return [line for line in self.broker.log.read_text("utf-8").splitlines() if " is Denied " in line]

    def settings(self, user: str, prefix: str = "") -> Settings:
        """Settings of a user over TLS with SCRAM-SHA-512."""
        return Settings(
            broker=self.sasl_ssl,
            prefix=prefix,
            security_protocol="SASL_SSL",
            sasl_username=user,
            sasl_password=Secret(password_of(user)),
            ssl_cafile=str(self.ca),
        )

    def logins(self, prefix: str = "") -> dict[str, Settings]:
        """Settings of a user for each way to log in."""
        encrypted = self.settings(SHORT_USER, prefix)
        plain = Secret(password_of(PLAIN_USER))
        certified = Settings(
            broker=self.ssl,
            prefix=prefix,
            security_protocol="SSL",
            ssl_cafile=str(self.ca),
            ssl_certfile=str(self.certificate),
            ssl_keyfile=str(self.key),
            ssl_key_password=Secret(KEY_PASSWORD),
        )
        return {
            "SCRAM-SHA-512": self.settings(user_of("worker"), prefix),
            "SCRAM-SHA-256": changed(encrypted, sasl_mechanism="SCRAM-SHA-256"),
            "PLAIN": changed(encrypted, sasl_mechanism="PLAIN", sasl_username=PLAIN_USER, sasl_password=plain),
            "unencrypted": changed(
                encrypted,
                broker=self.sasl_plaintext,
                security_protocol="SASL_PLAINTEXT",
                sasl_mechanism="SCRAM-SHA-256",
                ssl_cafile="",
            ),
            "certificate": certified,
        }

    def grant(self, table: Iterable[Right], user: str | None = None) -> None:
        """Grant rights to their components' users, or to one user, and wait for the effect."""
        given = {(f"User:{user or user_of(right.component)}", *grant) for right in table for grant in _grants(right)}
        requests = [CreateAclsRequest(*pattern, user, "*", operation, _ALLOW) for user, pattern, operation in given]
        asyncio.run(self._send(requests, lambda held: given <= held))

    def withdraw(self, right: Right, user: str | None = None) -> None:
        """Withdraw a right from its component's user, or from one, and wait for the effect."""
        taken = {(f"User:{user or user_of(right.component)}", *grant) for grant in _grants(right)}
        requests = [DeleteAclsRequest(*pattern, user, "*", operation, _ALLOW) for user, pattern, operation in taken]
        asyncio.run(self._send(requests, lambda held: not taken & held))

    async def _send(self, requests: Iterable[Any], done: Callable[[set[Grant]], bool]) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.broker.address)
        await admin.start()
        try:
            for request in requests:
                response = (await admin._send_request(request)).to_object()
                outcomes = response.get("creation_responses") or response.get("filter_responses")
                assert [outcome["error_code"] for outcome in outcomes] == [0], response
            # the controller has them; the broker applies them once it has caught up with earlier
            # topic changes
            deadline_s = time.monotonic() + WAIT_S_MAX
            while not done(await _held(admin)):
                assert time.monotonic() < deadline_s, "the broker does not apply the rights"
                await asyncio.sleep(0.02)
        finally:
            await admin.close()


async def _held(admin: Any) -> set[Grant]:
    """All rights in effect on the broker."""
    everything = DescribeAclsRequest(_ANY, None, _ANY, None, None, _ANY, _ANY)
    response = (await admin._send_request(everything)).to_object()
    return {
        (acl["principal"], (of["resource_type"], of["resource_name"], of["resource_pattern_type"]), acl["operation"])
        for of in response["resources"]
        for acl in of["acls"]
    }


def changed(settings: Settings, **values: Any) -> Settings:
    """The settings with some values replaced."""
    return msgspec.structs.replace(settings, **values)


def _grants(right: Right) -> Iterator[tuple[tuple[int, str, int], int]]:
    for name, operation in itertools.product(right.names, right.operations):
        yield (_RESOURCES[right.resource], name, _PREFIXED if right.prefixed else _LITERAL), _OPERATIONS[operation]


@contextmanager
def secured_broker(folder: Path) -> Iterator[Secured]:
    """Start a secured broker with its certificates in ``folder``."""
    ports = {name: free_port() for name in ("sasltls", "saslclear", "certs")}
    authority = trustme.CA()
    _write_certificates(folder, authority)
    users = [*map(user_of, COMPONENTS), SHORT_USER]
    scram = [
        f"SCRAM-SHA-{256 if user == SHORT_USER else 512}=[name={user},password={password_of(user)}]" for user in users
    ]
    options = BrokerOptions(
        settings=_properties(folder, ports),
        format_options=tuple(option for each in scram for option in ("--add-scram", each)),
        # log denied requests, for `denials` and for failing tests
        java_options=("-Dorg.slf4j.simpleLogger.log.kafka.authorizer.logger=info",),
    )
    with LocalBroker.start(folder / "data", options=options) as broker:
        yield Secured(
            broker,
            f"127.0.0.1:{ports['sasltls']}",
            f"127.0.0.1:{ports['saslclear']}",
            f"127.0.0.1:{ports['certs']}",
            folder / "ca.pem",
            folder / "client.pem",
            folder / "client.key",
        )


def _write_certificates(folder: Path, authority: trustme.CA) -> None:
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    server = authority.issue_cert("127.0.0.1")
    client = authority.issue_cert("a-client.test", common_name=CERTIFIED_USER)
    # Kafka accepts keys in PKCS 8 only
    chain = b"".join(blob.bytes() for blob in server.cert_chain_pems)
    (folder / "server.pem").write_bytes(_pkcs8(server, serialization.NoEncryption()) + chain)
    (folder / "client.pem").write_bytes(b"".join(blob.bytes() for blob in client.cert_chain_pems))
    encrypted = serialization.BestAvailableEncryption(KEY_PASSWORD.encode())
    (folder / "client.key").write_bytes(_pkcs8(client, encrypted))


def _pkcs8(certificate: trustme.LeafCert, encryption: serialization.KeySerializationEncryption) -> bytes:
    key = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), None)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def _properties(folder: Path, ports: dict[str, int]) -> str:
    plain = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule required"
    listeners = ",".join(f"{name.upper()}://127.0.0.1:{port}" for name, port in ports.items())
    lines = [
        f"listeners=PLAINTEXT://127.0.0.1:$port,{listeners},CONTROLLER://127.0.0.1:$controller_port",
        f"advertised.listeners=PLAINTEXT://127.0.0.1:$port,{listeners}",
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,"
        "SASLTLS:SASL_SSL,SASLCLEAR:SASL_PLAINTEXT,CERTS:SSL",
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users=User:ANONYMOUS",
        "ssl.keystore.type=PEM",
        f"ssl.keystore.location={folder / 'server.pem'}",
        "ssl.truststore.type=PEM",
        f"ssl.truststore.location={folder / 'ca.pem'}",
        "listener.name.certs.ssl.client.auth=required",
        "ssl.principal.mapping.rules=RULE:^.*CN=([^,]+).*$$/$$1/",
        "listener.name.sasltls.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        "listener.name.saslclear.sasl.enabled.mechanisms=SCRAM-SHA-256",
        f'listener.name.sasltls.plain.sasl.jaas.config={plain} user_{PLAIN_USER}="{password_of(PLAIN_USER)}";',
        f"listener.name.sasltls.scram-sha-256.sasl.jaas.config={scram};",
        f"listener.name.sasltls.scram-sha-512.sasl.jaas.config={scram};",
        f"listener.name.saslclear.scram-sha-256.sasl.jaas.config={scram};",
        "connection.failed.authentication.delay.ms=10",
    ]
    return "\n".join(lines) + "\n"
