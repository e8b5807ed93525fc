"""How every client reaches the broker: encrypted or not, and as whom; and in one sentence why it does not.

Whatever opens a connection to Kafka takes its options from `connection`. aiokafka itself tells only that no broker
could be reached, so where a client does not start, `started` tries once more by hand and says what came back.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import collect_hosts
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.admin import SaslAuthenticateRequest_v0, SaslAuthenticateRequest_v1
from aiokafka.protocol.metadata import MetadataRequest

from streams.core.errors import RampwatchError
from streams.settings import Secret, Settings

DENIED: Final = (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
"""What a broker answers who may not do what was asked for."""
ANSWER_S_MAX: Final = 10.0
_CLOSE_S_MAX: Final = 2.0
_NAMES_DIFFER: Final = (62, 64)
"""OpenSSL's numbers for a certificate that is made out to another host or address."""


class BrokerError(RampwatchError):
    """A broker that cannot be used; the message says what to do."""


def _holds_no_password(record: logging.LogRecord) -> bool:
    requests = (SaslAuthenticateRequest_v0, SaslAuthenticateRequest_v1)
    return not (isinstance(record.args, tuple) and any(isinstance(told, requests) for told in record.args))


# at DEBUG aiokafka logs every request as it is, the one with the password too
logging.getLogger("aiokafka.conn").addFilter(_holds_no_password)


def connection(settings: Settings) -> dict[str, Any]:
    """Return the options of aiokafka's producers, consumers and administrative clients alike; never to be printed.

    Raises `BrokerError` where the files of certificates cannot be used.
    """
    options: dict[str, Any] = {"bootstrap_servers": settings.broker, "security_protocol": settings.security_protocol}
    if settings.tls:
        options["ssl_context"] = tls(settings)
    if settings.sasl:
        options |= {
            "sasl_mechanism": settings.sasl_mechanism,
            "sasl_plain_username": settings.sasl_username,
            "sasl_plain_password": settings.sasl_password.reveal(),
        }
    return options


def tls(settings: Settings) -> ssl.SSLContext:
    """Return what encrypts the connections: the broker's certificate and its name are checked, always."""
    return _tls(settings.ssl_cafile, settings.ssl_certfile, settings.ssl_keyfile, settings.ssl_key_password)


# a worker opens a dozen connections and more, and the files of all of them are the same
@lru_cache(maxsize=4)
def _tls(cafile: str, certfile: str, keyfile: str, key_password: Secret) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=cafile or None)
    except OSError as error:
        raise BrokerError(
            f"RAMPWATCH_SSL_CAFILE={cafile}: cannot be used ({_said(error)}); name a PEM file of certificates"
        ) from None
    if certfile:
        try:
            # always with a password: without one OpenSSL asks the terminal, and waits
            context.load_cert_chain(certfile, keyfile or None, password=key_password.reveal())
        except OSError as error:
            files = certfile + (f" and RAMPWATCH_SSL_KEYFILE={keyfile}" if keyfile else "")
            raise BrokerError(
                f"RAMPWATCH_SSL_CERTFILE={files}: cannot be used ({_said(error)}); name PEM files of a certificate "
                "and its key, and set RAMPWATCH_SSL_KEY_PASSWORD_FILE where the key is encrypted"
            ) from None
    return context


def _said(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no PEM").replace("_", " ").lower()
    return error.strerror or type(error).__name__


async def started(client: Any, settings: Settings) -> None:  # noqa: ANN401 - aiokafka has no types
    """Start a client; where it does not start, close it and raise `BrokerError`."""
    try:
        await client.start()
    except BaseException as error:
        await (client.close() if hasattr(client, "close") else client.stop())
        if isinstance(error, KafkaError):
            raise BrokerError(await _why_not(settings, error)) from None
        raise


async def answers(settings: Settings) -> bool:
    """Return whether the broker answers within `ANSWER_S_MAX`."""
    client = AIOKafkaAdminClient(**connection(settings))
    try:
        await asyncio.wait_for(client.start(), ANSWER_S_MAX)
    except (KafkaError, TimeoutError):
        return False
    finally:
        await client.close()
    return True


@contextmanager
def access_errors_explained(settings: Settings) -> Iterator[None]:
    """Turn what the broker does not permit into a `BrokerError`."""
    try:
        yield
    except DENIED as error:
        raise BrokerError(denied(settings, error)) from None


def denied(settings: Settings, error: KafkaError) -> str:
    """Return the sentence for one of `DENIED`."""
    asked_for = {
        ClusterAuthorizationFailedError: "the cluster",
        GroupAuthorizationFailedError: "the consumer group",
        TopicAuthorizationFailedError: "a topic",
        TransactionalIdAuthorizationFailed: "the transactional id",
    }[type(error)]
    names = ", ".join(sorted(set(_names(error))))
    return (
        f"{settings.broker}: {principal(settings)} may not use {asked_for}{' ' + names if names else ''} "
        "as this needs; give it the rights that rampwatch acls lists"
    )


def _names(error: KafkaError) -> Iterator[str]:
    """What the client knows of what it may not use: a name, a partition of a topic, some names, or nothing."""
    for told in error.args:
        if isinstance(told, str):
            yield told
        elif isinstance(told, TopicPartition):
            yield told.topic
        elif isinstance(told, set):
            yield from map(str, told)


def principal(settings: Settings) -> str:
    """Return as whom the broker knows this process, in words."""
    if settings.sasl:
        return f"user {settings.sasl_username}"
    return "the holder of the certificate" if settings.ssl_certfile else "a client without a name"


async def _why_not(settings: Settings, error: KafkaError) -> str:
    """Return why no client of these settings starts: ask the broker for nothing, and look at what comes back."""
    if isinstance(error, DENIED):
        return denied(settings, error)
    options = connection(settings)
    host, port, _ = collect_hosts(options.pop("bootstrap_servers"))[0]
    probe = AIOKafkaConnection(host, port, request_timeout_ms=round(1000 * ANSWER_S_MAX), **options)
    told: Exception = error
    try:
        await probe.connect()
        await probe.send(MetadataRequest([]))
    except (KafkaError, OSError, TimeoutError) as answer:
        told = answer
    if not isinstance(told, OSError):
        # there was a connection: without this the loop may end before it is closed
        await asyncio.wait({probe.close()}, timeout=_CLOSE_S_MAX)
    return f"{settings.broker}: {_sentence(settings, told)}"


def _sentence(settings: Settings, error: Exception) -> str:
    protocol, mechanism = settings.security_protocol, settings.sasl_mechanism
    match error:
        case SaslAuthenticationFailed():
            return (
                f"{principal(settings)} is not known here with this password ({mechanism}); mend "
                "RAMPWATCH_SASL_USERNAME and RAMPWATCH_SASL_PASSWORD_FILE, or make the user on the broker"
            )
        case UnsupportedSaslMechanismError():
            return f"{mechanism} is not taken here; set RAMPWATCH_SASL_MECHANISM to one that is"
        case IllegalSaslStateError():
            plainer = "SSL" if settings.tls else "PLAINTEXT"
            return f"nobody is asked for a password here; set RAMPWATCH_SECURITY_PROTOCOL to {plainer}"
        case ssl.SSLCertVerificationError(verify_code=code, verify_message=why) if code in _NAMES_DIFFER:
            return f"the certificate is another host's ({why}); name the broker in RAMPWATCH_BROKER as it names itself"
        case ssl.SSLCertVerificationError(verify_message=why):
            return (
                f"the certificate is not trusted ({why}); name the file of who vouches for it in RAMPWATCH_SSL_CAFILE"
            )
        case ssl.SSLError() | ConnectionResetError() | KafkaConnectionError():
            certificate = " and RAMPWATCH_SSL_CERTFILE" if settings.tls and not settings.ssl_certfile else ""
            return (
                f"hangs up on who comes with {protocol}; see whether it expects that on this port, and set "
                f"RAMPWATCH_SECURITY_PROTOCOL{certificate} as it does"
            )
    return f"no Kafka broker answers ({error}); start one, or set RAMPWATCH_BROKER"
