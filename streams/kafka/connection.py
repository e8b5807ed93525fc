"""How every client connects to the broker, with or without encryption and authentication.

Every Kafka client takes its options from `connection`. If a client does not start, aiokafka reports
only that it could not reach a broker. So `start_client` then opens a single connection itself, and
raises an error with the cause and the remedy.
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
from streams.kafka.client_errors import client_errors_mapped
from streams.settings import Secret, Settings

ACCESS_ERRORS: Final = (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
"""The broker's errors for a user that lacks a right."""
RESPONSE_S_MAX: Final = 10.0
"""How long to wait for the broker's response when testing a connection."""
_CLOSE_S_MAX: Final = 2.0
_HOST_MISMATCH: Final = (62, 64)
"""OpenSSL's error codes for a certificate that was issued for another host name or IP address."""


class BrokerError(RampwatchError):
    """A broker that cannot be used; the message gives the remedy."""


def _has_no_password(record: logging.LogRecord) -> bool:
    requests = (SaslAuthenticateRequest_v0, SaslAuthenticateRequest_v1)
    return not (isinstance(record.args, tuple) and any(isinstance(argument, requests) for argument in record.args))


# At level DEBUG aiokafka logs every request in full, including the one that contains the password.
logging.getLogger("aiokafka.conn").addFilter(_has_no_password)


def connection(settings: Settings) -> dict[str, Any]:
    """Return the connection options of aiokafka's producers, consumers and admin clients.

    They contain the password: never print them. Raises `BrokerError` if a certificate file cannot
    be used.
    """
    options: dict[str, Any] = {"bootstrap_servers": settings.broker, "security_protocol": settings.security_protocol}
    if settings.tls:
        options["ssl_context"] = ssl_context(settings)
    if settings.sasl:
        options |= {
            "sasl_mechanism": settings.sasl_mechanism,
            "sasl_plain_username": settings.sasl_username,
            "sasl_plain_password": settings.sasl_password.reveal(),
        }
    return options


def ssl_context(settings: Settings) -> ssl.SSLContext:
    """Return the TLS context, which always verifies the broker's certificate and host name.

    Raises `BrokerError` if a certificate file cannot be used.
    """
    return _ssl_context(settings.ssl_cafile, settings.ssl_certfile, settings.ssl_keyfile, settings.ssl_key_password)


# Cached because a worker opens a dozen connections or more, all with the same files.
@lru_cache(maxsize=4)
def _ssl_context(cafile: str, certfile: str, keyfile: str, key_password: Secret) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=cafile or None)
    except OSError as error:
        raise BrokerError(
            f"RAMPWATCH_SSL_CAFILE={cafile}: cannot be used ({_reason(error)}); name a PEM file of certificates"
        ) from None
    if certfile:
        try:
            # Always pass a password, even an empty one: or OpenSSL prompts for one and blocks.
            context.load_cert_chain(certfile, keyfile or None, password=key_password.reveal())
        except OSError as error:
            files = certfile + (f" and RAMPWATCH_SSL_KEYFILE={keyfile}" if keyfile else "")
            raise BrokerError(
                f"RAMPWATCH_SSL_CERTFILE={files}: cannot be used ({_reason(error)}); name PEM files of a certificate "
                "and its private key, and set RAMPWATCH_SSL_KEY_PASSWORD_FILE if the key is encrypted"
            ) from None
    return context


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not a PEM file").replace("_", " ").lower()
    return error.strerror or type(error).__name__


async def start_client(client: Any, settings: Settings) -> None:  # noqa: ANN401 - aiokafka has no types
    """Start an aiokafka client; if it does not start, close it and raise `BrokerError`."""
    try:
        await client.start()
    except BaseException as error:
        await (client.close() if hasattr(client, "close") else client.stop())
        if isinstance(error, KafkaError):
            raise BrokerError(await _start_error_message(settings, error)) from None
        raise


async def is_reachable(settings: Settings) -> bool:
    """Return whether the broker responds within `RESPONSE_S_MAX`."""
    client = AIOKafkaAdminClient(**connection(settings))
    try:
        with client_errors_mapped():
            await asyncio.wait_for(client.start(), RESPONSE_S_MAX)
    except KafkaError:
        return False
    finally:
        await client.close()
    return True


@contextmanager
def access_errors_explained(settings: Settings) -> Iterator[None]:
    """Turn `ACCESS_ERRORS` into a `BrokerError` that names the missing right."""
    try:
        yield
    except ACCESS_ERRORS as error:
        raise BrokerError(access_error_message(settings, error)) from None


def access_error_message(settings: Settings, error: KafkaError) -> str:
    """Return the message for one of `ACCESS_ERRORS`."""
    kind = {
        ClusterAuthorizationFailedError: "cluster",
        GroupAuthorizationFailedError: "consumer group",
        TopicAuthorizationFailedError: "topic",
        TransactionalIdAuthorizationFailed: "transactional id",
    }[type(error)]
    names = ", ".join(sorted(set(_names(error))))
    return (
        f"{settings.broker}: {principal(settings)} lacks a right to the {kind}{' ' + names if names else ''}; "
        "grant the rights that rampwatch acls lists"
    )


def _names(error: KafkaError) -> Iterator[str]:
    """Yield the names in an access error: it has a name, a partition, a set of names, or none."""
    for argument in error.args:
        if isinstance(argument, str):
            yield argument
        elif isinstance(argument, TopicPartition):
            yield argument.topic
        elif isinstance(argument, set):
            yield from map(str, argument)


def principal(settings: Settings) -> str:
    """Return, in words, the user as which the broker knows this process."""
    if settings.sasl:
        return f"user {settings.sasl_username}"
    return "the user of the client certificate" if settings.ssl_certfile else "an anonymous user"


async def _start_error_message(settings: Settings, error: KafkaError) -> str:
    """Return why no client with these settings starts: send an empty request to find the cause."""
    if isinstance(error, ACCESS_ERRORS):
        return access_error_message(settings, error)
    options = connection(settings)
    host, port, _ = collect_hosts(options.pop("bootstrap_servers"))[0]
    probe = AIOKafkaConnection(host, port, request_timeout_ms=round(1000 * RESPONSE_S_MAX), **options)
    cause: Exception = error
    try:
        await probe.connect()
        await probe.send(MetadataRequest([]))
    except (KafkaError, OSError, TimeoutError) as response:
        cause = response
    if not isinstance(cause, OSError):
        # The connection was established. Wait until it is closed, or the event loop may end first.
        await asyncio.wait({probe.close()}, timeout=_CLOSE_S_MAX)
    return f"{settings.broker}: {_describe(settings, cause)}"


def _describe(settings: Settings, error: Exception) -> str:
    """Return the problem and the remedy."""
    protocol, mechanism = settings.security_protocol, settings.sasl_mechanism
    match error:
        case SaslAuthenticationFailed():
            return (
                f"authentication of {principal(settings)} failed ({mechanism}); check RAMPWATCH_SASL_USERNAME and "
                "RAMPWATCH_SASL_PASSWORD_FILE, or create the user on the broker"
            )
        case UnsupportedSaslMechanismError():
            return f"the broker does not support {mechanism}; set RAMPWATCH_SASL_MECHANISM to one that it supports"
        case IllegalSaslStateError():
            unauthenticated = "SSL" if settings.tls else "PLAINTEXT"
            return f"the broker does not use SASL here; set RAMPWATCH_SECURITY_PROTOCOL to {unauthenticated}"
        case ssl.SSLCertVerificationError(verify_code=code, verify_message=reason) if code in _HOST_MISMATCH:
            return (
                f"the broker's certificate is for another host ({reason}); set RAMPWATCH_BROKER to a host name that "
                "the certificate contains"
            )
        case ssl.SSLCertVerificationError(verify_message=reason):
            return (
                f"the broker's certificate is not trusted ({reason}); set RAMPWATCH_SSL_CAFILE to the PEM file of the "
                "CA that signed it"
            )
        case ssl.SSLError() | ConnectionResetError() | KafkaConnectionError():
            certificate = " and RAMPWATCH_SSL_CERTFILE" if settings.tls and not settings.ssl_certfile else ""
            return (
                f"the broker closed the {protocol} connection; check which protocol this port expects, and set "
                f"RAMPWATCH_SECURITY_PROTOCOL{certificate} accordingly"
            )
    return f"no Kafka broker responds ({str(error) or type(error).__name__}); start one, or set RAMPWATCH_BROKER"
