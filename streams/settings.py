"""Every setting, with unit and meaning; read once from the environment and an optional TOML file.

The setting ``name`` is the variable ``RAMPWATCH_NAME`` in the environment and the key ``name`` in
the file. The rules of the join and the counters are ``RAMPWATCH_JOIN_…`` and
``RAMPWATCH_COUNTERS_…`` in the environment and the tables ``[join]`` and ``[counters]`` in the
file. The environment overrides the file. Unknown names and invalid values are errors.

A secret ``name`` can be read from a file that the setting ``name_file`` names. Error messages and
printed settings never contain a secret.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import fields

from streams.core.counters.rules import CounterRules
from streams.core.rules import JoinRules
from streams.given_settings import (
    PREFIX,
    Given,
    SettingsError,
    given_in_environment,
    given_in_file,
)
from streams.resources.files import FileError, read_bytes
from streams.secret import Secret
from streams.setting_values import (
    BROKERS,
    HOST,
    expected,
    is_broker_list,
    is_host,
    parse,
    to_secret,
    unusable_characters,
)

__all__ = ["Secret", "Settings", "SettingsError", "as_environment", "read_settings", "warnings"]

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

_RULES: Final[dict[str, type[Struct]]] = {"join": JoinRules, "counters": CounterRules}
_SECRETS: Final = ("sasl_password", "ssl_key_password")
"""For each, a second setting with the suffix ``_file`` names a file to read the secret from."""

_SECRET_FILE_BYTES_MAX: Final = 65_536


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of a rampwatch process."""

    broker: Annotated[
        str, Meta(min_length=1, description="Kafka bootstrap server, host:port; several are separated by commas")
    ] = "127.0.0.1:9092"
    prefix: Annotated[
        str,
        Meta(
            pattern="^[A-Za-z0-9._-]*$",
            max_length=200,
            description="put before the names of topics, consumer group and transactional ids, so that a replay can "
            "run beside production",
        ),
    ] = ""
    partitions: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000,
            description="partitions of each joined topic and of linked-incidents; fixed once the topics exist",
        ),
    ] = 12
    site: Annotated[
        str, Meta(min_length=1, description="built-in site (hartford, kansas-city), or path of a GeoJSON site file")
    ] = "hartford"
    calibration: Annotated[
        str,
        Meta(description="file of the score's numbers, as rampwatch calibrate writes it; without it, the shipped one"),
    ] = ""
    group: Annotated[str, Meta(min_length=1, max_length=255, description="consumer group of the workers")] = "rampwatch"
    allowed_outage_ms: Annotated[
        int,
        Meta(
            ge=0,
            le=2**53,
            description="how long all workers may be down without losing a read, in milliseconds; the topic retains "
            "reads that much longer",
        ),
    ] = 86_400_000
    session_timeout_ms: Annotated[
        int,
        Meta(
            ge=1_000,
            le=90_000,
            description="a worker that sends no heartbeat for this many milliseconds loses its partitions",
        ),
    ] = 10_000
    metrics_host: Annotated[
        str,
        Meta(
            min_length=1,
            description="listen address of the metrics and health endpoints; by default reachable from this machine "
            "only",
        ),
    ] = "127.0.0.1"
    metrics_port: Annotated[
        int, Meta(ge=0, le=65_535, description="port of the metrics and health endpoints; 0 disables them")
    ] = 0
    stalled_after_ms: Annotated[
        int,
        Meta(
            ge=1_000,
            le=2**53,
            description="a worker that has work but commits none of it for this many milliseconds exits; keep it "
            "above 90000, because requests to an unreachable broker fail only after 90 s",
        ),
    ] = 120_000
    wait: Annotated[
        bool,
        Meta(description="a worker that starts waits for the broker, the topics and its rights; otherwise it exits"),
    ] = False
    security_protocol: Annotated[
        SecurityProtocol, Meta(description="protocol of the connection to the broker: SSL encrypts, SASL authenticates")
    ] = "PLAINTEXT"
    sasl_mechanism: Annotated[SaslMechanism, Meta(description="SASL authentication mechanism")] = "SCRAM-SHA-512"
    sasl_username: Annotated[str, Meta(description="SASL user of this process")] = ""
    sasl_password: Annotated[Secret, Meta(description="password of the SASL user; prefer sasl_password_file")] = (
        Secret()
    )
    sasl_password_file: Annotated[str, Meta(description="file that contains the password of the SASL user")] = ""
    ssl_cafile: Annotated[
        str, Meta(description="PEM file of trusted CA certificates; without it, those of the operating system")
    ] = ""
    ssl_certfile: Annotated[
        str, Meta(description="PEM file of this process's client certificate, if the broker requires one")
    ] = ""
    ssl_keyfile: Annotated[
        str, Meta(description="PEM file of the client certificate's private key; without it, the certificate's file")
    ] = ""
    ssl_key_password: Annotated[
        Secret, Meta(description="password of the private key, if it is encrypted; prefer ssl_key_password_file")
    ] = Secret()
    ssl_key_password_file: Annotated[str, Meta(description="file that contains the private key's password")] = ""
    republish: Annotated[
        bool,
        Meta(
            description="republish incidents as soon as a changed site file, rules or calibration give another result; "
            "otherwise an incident changes only when its records do"
        ),
    ] = False
    plain_records: Annotated[
        bool, Meta(description="avoid the copy that aiokafka makes of each record, which is faster")
    ] = True
    join: JoinRules = JoinRules()
    counters: CounterRules = CounterRules()

    @property
    def sasl(self) -> bool:
        """Whether the connection is authenticated with SASL."""
        return self.security_protocol.startswith("SASL_")

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.security_protocol.endswith("SSL")


_TABLES: Final[dict[str, type[Struct]]] = {"": Settings, **_RULES}
"""The tables of the TOML file, the first without a name."""


def read_settings(
    environment: Mapping[str, str], file: Path | None = None, options: Mapping[str, str] | None = None
) -> Settings:
    """Return the settings of this process; raises `SettingsError`.

    ``options`` are those of the command line, by the name of the setting. They override the
    environment, which overrides the file.
    """
    given = [*given_in_file(file, _TABLES), *given_in_environment(environment, _TABLES)]
    given += [Given(f"--{name}", "", name, text, True) for name, text in (options or {}).items()]
    of_secrets = [one for one in given if one.name.removesuffix("_file") in _SECRETS]
    secrets = {one.value for one in of_secrets if one.name in _SECRETS and isinstance(one.value, str)}
    values: dict[str, dict[str, Any]] = {table: {} for table in _TABLES}
    for one in of_secrets:
        values[""][one.name] = _converted(one, secrets)
    origins = {one.name: one.origin for one in of_secrets}
    for name in _SECRETS:
        _read_secret_file(values[""], name, origins)
        secrets.add(values[""].get(name, Secret()).reveal())
    for one in given:
        if one not in of_secrets:
            values[one.table][one.name] = _converted(one, secrets - {""})
    top, join, counters = (values[table] for table in _TABLES)
    settings = Settings(**top, join=JoinRules(**join), counters=CounterRules(**counters))
    for message in _errors(settings):
        raise SettingsError(message)
    return settings


def _converted(given: Given, secrets: set[str]) -> object:
    """Return a value as the type of its setting."""
    annotation = next(field.type for field in fields(_TABLES[given.table]) if field.name == given.name)
    try:
        if given.is_text:
            value = parse(str(given.value), annotation)
        else:
            value = msgspec.convert(given.value, annotation, dec_hook=to_secret)
    except (msgspec.ValidationError, ValueError, OverflowError, RecursionError):
        raise SettingsError(f"{given.shown(secrets)}: expected {expected(annotation)}") from None
    if unusable_characters(value):
        raise SettingsError(f"{given.shown(secrets)}: contains a control character, or is not UTF-8; remove it")
    if given.name == "broker" and not is_broker_list(str(value)):
        raise SettingsError(f"{given.shown(secrets)}: expected {BROKERS}")
    if given.name == "metrics_host" and not is_host(str(value)):
        raise SettingsError(f"{given.shown(secrets)}: expected {HOST}")
    return value


def as_environment(settings: Settings) -> dict[str, str]:
    """Return the variables that give another process these settings.

    They contain secrets, except those that are read from files.
    """
    values = {field: getattr(settings, field) for field in settings.__struct_fields__}
    for name in _SECRETS:
        secret = values.pop(name)
        values[name] = "" if values[f"{name}_file"] else secret.reveal()
    tables = [(PREFIX, values)]
    tables += [(_prefix_of(name), msgspec.structs.asdict(values.pop(name))) for name in _RULES]
    return {
        (prefix + name).upper(): ",".join(value) if isinstance(value, tuple) else str(value)
        for prefix, table in tables
        for name, value in table.items()
        if value is not None
    }


def _prefix_of(table: str) -> str:
    return f"{PREFIX}{table}_".upper()


# ---------------------------------------------------------------------- secrets


def _read_secret_file(values: dict[str, Any], name: str, origins: Mapping[str, str]) -> None:
    """Set a secret to the content of its file, if one is named, without the trailing line end."""
    path = values.get(f"{name}_file")
    if not path:
        return
    origin, file = origins[f"{name}_file"], Path(path)
    if values.get(name):
        raise SettingsError(f"{name} and {name}_file are both set; unset one of them")
    # Where there is no such file, the text may be the password itself.
    shown = f"{origin}={path}" if os.path.lexists(file) else origin
    try:
        text = _secret_in(file)
    except FileError as error:
        raise SettingsError(f"{shown}: cannot be read ({error}); name a readable file that contains it") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{shown}: not UTF-8; write the password to it as UTF-8 text") from None
    if not text:
        raise SettingsError(f"{shown}: empty; write the password to it")
    if unusable_characters(Secret(text)):
        raise SettingsError(f"{shown}: contains a NUL; write the password to it as UTF-8 text")
    values[name] = Secret(text)


def _secret_in(file: Path) -> str:
    return read_bytes(file, _SECRET_FILE_BYTES_MAX).decode("utf-8").rstrip("\r\n")


# ---------------------------------------------------------------------- combinations of settings


def _errors(settings: Settings) -> Iterator[str]:
    """Yield a message for each invalid combination; a password that would never be sent is one."""
    join = settings.join
    if join.shot_memory_ms < join.incident_retention_ms:
        yield (
            f"join.shot_memory_ms {join.shot_memory_ms} is less than join.incident_retention_ms "
            f"{join.incident_retention_ms}: a late revision would create a new shot; raise the first or lower the "
            "second"
        )
    protocol = settings.security_protocol
    for name in Settings.__struct_fields__:
        if not getattr(settings, name):
            continue
        if name.startswith("sasl_") and name != "sasl_mechanism" and not settings.sasl:
            yield _ignored(name, protocol, "SASL_SSL")
        if name.startswith("ssl_") and not settings.tls:
            yield _ignored(name, protocol, "SSL or SASL_SSL")
    if settings.sasl and not settings.sasl_username:
        yield f"security_protocol {protocol} needs a user; set RAMPWATCH_SASL_USERNAME"
    if settings.sasl and not settings.sasl_password:
        yield (
            f"security_protocol {protocol} needs the user's password; set "
            "RAMPWATCH_SASL_PASSWORD_FILE to a file that contains it, or set RAMPWATCH_SASL_PASSWORD"
        )
    if not settings.ssl_certfile and (settings.ssl_keyfile or settings.ssl_key_password):
        yield "a private key is set without its certificate; set RAMPWATCH_SSL_CERTFILE too"


def _ignored(name: str, protocol: str, protocols: str) -> str:
    return (
        f"{name} is set, but security_protocol {protocol} ignores it; set RAMPWATCH_SECURITY_PROTOCOL to {protocols}, "
        f"or unset {name}"
    )


def warnings(settings: Settings) -> Iterator[str]:
    """Yield a message for each setting that is allowed but may be a mistake.

    Retention of reads can be shorter than the join's window, because law may limit it.
    """
    join = settings.join
    if join.read_retention_ms < join.before_ms:
        yield (
            f"reads are retained for {join.read_retention_ms} ms, less than join.before_ms {join.before_ms}: a car "
            f"that passed a ramp more than {join.read_retention_ms} ms before a shot is not linked to it"
        )
