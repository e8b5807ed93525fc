"""Every setting, with unit and meaning; read once from the environment and an optional TOML file.

The setting ``name`` is the variable ``RAMPWATCH_NAME`` in the environment and the key ``name`` in
the file. The rules of the join and the counters are ``RAMPWATCH_JOIN_…`` and
``RAMPWATCH_COUNTERS_…`` in the environment and the tables ``[join]`` and ``[counters]`` in the
file. The environment overrides the file. Unknown names and invalid values are errors.

A secret ``name`` can be read from a file that the setting ``name_file`` names. Error messages and
printed settings never contain a secret.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final, Literal, cast, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from streams.core.counters.rules import CounterRules
from streams.core.errors import RampwatchError
from streams.core.rules import JoinRules

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

_PREFIX: Final = "RAMPWATCH_"
_TABLES: Final[dict[str, type[Struct]]] = {"join": JoinRules, "counters": CounterRules}
_SECRETS: Final = ("sasl_password", "ssl_key_password")
"""For each, a second setting with the suffix ``_file`` names a file to read the secret from."""

_A_DATE: Final = "a date like 2026-06-05"


class Secret:
    """A password. Only `reveal` returns it; printing shows only whether it is set."""

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the password itself, to send it to the broker or to OpenSSL."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __str__(self) -> str:
        return "(secret)" if self._text else ""

    def __repr__(self) -> str:
        return f"<Secret {'set' if self._text else 'unset'}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


class SettingsError(RampwatchError):
    """A setting that cannot be used; the message names the setting, the problem and the remedy."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of a rampwatch process."""

    broker: Annotated[str, Meta(min_length=1, description="Kafka bootstrap server, host:port")] = "127.0.0.1:9092"
    prefix: Annotated[
        str,
        Meta(
            pattern="^[A-Za-z0-9._-]*$",
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
    group: Annotated[str, Meta(min_length=1, description="consumer group of the workers")] = "rampwatch"
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


def read_settings(environment: Mapping[str, str], file: Path | None = None) -> Settings:
    """Return the settings of this process; raises `SettingsError`."""
    values = _read_toml(file) if file else {}
    for table in _TABLES:
        if not isinstance(values.setdefault(table, {}), dict):
            raise SettingsError(f"{file}: [{table}] must be a table; write its keys below a line [{table}]")
    for variable, text in sorted(environment.items()):
        if variable.startswith(_PREFIX):
            table_values, kind, name = _locate(variable, values)
            table_values[name] = _parse(variable, text, _annotation(kind, name))
    for name in _SECRETS:
        _read_secret_file(values, name)
    try:
        settings = msgspec.convert(values, Settings, dec_hook=_to_secret)
    except msgspec.ValidationError as error:
        raise SettingsError(_file_error(str(error), str(file or "settings"), values)) from None
    for message in _errors(settings):
        raise SettingsError(message)
    return settings


def as_environment(settings: Settings) -> dict[str, str]:
    """Return the variables that give another process these settings.

    They contain secrets, except those that are read from files.
    """
    values = {field: getattr(settings, field) for field in settings.__struct_fields__}
    for name in _SECRETS:
        secret = values.pop(name)
        values[name] = "" if values[f"{name}_file"] else secret.reveal()
    tables = [(_PREFIX, values)]
    tables += [(_prefix_of(name), msgspec.structs.asdict(values.pop(name))) for name in _TABLES]
    return {
        (prefix + name).upper(): ",".join(value) if isinstance(value, tuple) else str(value)
        for prefix, table in tables
        for name, value in table.items()
        if value is not None
    }


def _prefix_of(table: str) -> str:
    return f"{_PREFIX}{table}_".upper()


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read ({error.strerror}); name an existing TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: not valid TOML ({error}); correct that line") from None


def _locate(variable: str, values: dict[str, Any]) -> tuple[dict[str, Any], type[Struct], str]:
    """Return the table that a variable belongs to, the type of the table, and the key in it."""
    table_values, kind, prefix = values, cast(type[Struct], Settings), _PREFIX
    for table, type_of_table in _TABLES.items():
        if variable.startswith(_prefix_of(table)):
            table_values, kind, prefix = values[table], type_of_table, _prefix_of(table)
    name = variable.removeprefix(prefix).lower()
    known = {field.name for field in msgspec.structs.fields(kind)} - _TABLES.keys()
    if name not in known:
        names = sorted(variable.removesuffix(name.upper()) + known_name.upper() for known_name in known)
        raise SettingsError(f"{variable}: no such setting; unset it, or use one of {', '.join(names)}")
    return table_values, kind, name


def _annotation(kind: type[Struct], name: str) -> Any:  # noqa: ANN401 - a type annotation
    return next(field.type for field in msgspec.structs.fields(kind) if field.name == name)


def _parse(variable: str, text: str, annotation: Any) -> object:  # noqa: ANN401 - a type annotation
    """Convert the text of a variable to the setting's type; commas separate the items of a list."""
    is_list = get_origin(_type_and_limits(annotation)[0]) is tuple
    raw: object = [part.strip() for part in text.split(",")] if is_list else text
    try:
        return msgspec.convert(raw, annotation, strict=False, dec_hook=_to_secret)
    except msgspec.ValidationError:
        raise SettingsError(f"{variable}={text}: expected {_expected(annotation)}") from None


def _file_error(error: str, source: str, values: Mapping[str, Any]) -> str:
    """Return our message for msgspec's error.

    It shows a value only where a date is expected, and so never a secret.
    """
    problem, _, path = error.partition(" - at `$.")
    name = path.rstrip("`").partition("[")[0]
    if problem.startswith("Object contains unknown field"):
        unknown = problem.partition("`")[2].rstrip("`")
        return f"{source}: {name and name + '.'}{unknown}: no such setting; correct or remove it"
    table, _, key = name.rpartition(".")
    expected = _expected(_annotation(_TABLES.get(table, Settings), key))
    shown = f"{name} = {values[table][key]}" if expected == _A_DATE else name
    return f"{source}: {shown}: expected {expected}"


def _expected(annotation: Any) -> str:  # noqa: ANN401 - a type annotation
    """Describe the values that a setting accepts."""
    kind, limits = _type_and_limits(annotation)
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    if date in (kind, *get_args(kind)):
        return _A_DATE
    if kind is bool:
        return "true or false"
    if kind in (int, float):
        words = {"ge": "from", "gt": "above", "le": "to" if "ge" in limits else "and at most"}
        bounds = [f"{word} {limits[name]}" for name, word in words.items() if name in limits]
        return " ".join(["a whole number" if kind is int else "a number", *bounds])
    if get_origin(kind) is tuple:
        return "a list of strings"
    if "pattern" in limits:
        return f"a string that matches {limits['pattern']}"
    return "a non-empty string" if "min_length" in limits else "a string"


def _type_and_limits(annotation: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401 - a type annotation
    if get_origin(annotation) is not Annotated:
        return annotation, {}
    kind, *metas = get_args(annotation)
    names = ("ge", "gt", "le", "min_length", "pattern")
    return kind, {name: getattr(meta, name) for meta in metas for name in names if getattr(meta, name) is not None}


# ---------------------------------------------------------------------- secrets


def _to_secret(kind: type, value: object) -> Secret:
    """Convert a string to a secret, for msgspec; never echoes a value, which may be the secret."""
    assert kind is Secret
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        raise ValueError("Expected `str`")
    return Secret(value)


def _read_secret_file(values: dict[str, Any], name: str) -> None:
    """Set a secret to the content of its file, if one is named, without the trailing line end."""
    file = values.get(f"{name}_file")
    if not isinstance(file, str) or not file:
        return
    variable = f"{_PREFIX}{name}_file".upper()
    if values.get(name):
        raise SettingsError(f"{name} and {name}_file are both set; unset one of them")
    try:
        text = Path(file).read_text("utf-8").rstrip("\r\n")
    except OSError as error:
        raise SettingsError(f"{variable}={file}: cannot be read ({error.strerror}); name a readable file") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{variable}={file}: not UTF-8; write the password to it as UTF-8 text") from None
    if not text:
        raise SettingsError(f"{variable}={file}: empty; write the password to it")
    values[name] = Secret(text)


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
            f"security_protocol {protocol} needs the password of {settings.sasl_username}; set "
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
