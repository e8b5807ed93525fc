"""Every setting, once, with its unit and meaning; read once from the environment and an optional TOML file.

A key ``name`` of the file is ``RAMPWATCH_NAME`` in the environment, one of the tables ``[join]`` and ``[counters]`` is
``RAMPWATCH_JOIN_…`` and ``RAMPWATCH_COUNTERS_…``; the environment wins. A name nobody knows is as wrong as a value that
does not fit.

A secret ``name`` may lie in a file that ``name_file`` names. No sentence of ours and no setting printed shows one.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
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
"""Each has a setting beside it, its name with ``_file`` behind, that says which file holds it."""

_NO_DATE: Final = "is no date; give one like 2026-06-05, or remove it"


class Secret:
    """A password. Only `reveal` gives it; whatever prints it says no more than whether it is set."""

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself, for those who must send it."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __str__(self) -> str:
        return "(a secret)" if self._text else ""

    def __repr__(self) -> str:
        return f"<Secret {'set' if self._text else 'unset'}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


class SettingsError(RampwatchError):
    """A setting that cannot be used; the message names it, its value's fault and the remedy."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a rampwatch process runs."""

    broker: Annotated[str, Meta(min_length=1, description="address of a Kafka broker, host:port")] = "127.0.0.1:9092"
    prefix: Annotated[
        str,
        Meta(
            pattern="^[A-Za-z0-9._-]*$",
            description="put before every topic's name, so that a replay can live beside production",
        ),
    ] = ""
    partitions: Annotated[int, Meta(ge=1, le=10_000, description="of the joined topics; fixed for a topic's life")] = 12
    site: Annotated[str, Meta(min_length=1, description="name of a shipped site, or a GeoJSON file")] = "hartford"
    group: Annotated[str, Meta(min_length=1, description="consumer group of the workers")] = "rampwatch"
    allowed_outage_ms: Annotated[
        int, Meta(ge=0, le=2**53, description="how long workers may be away without losing a read")
    ] = 86_400_000
    session_timeout_ms: Annotated[
        int, Meta(ge=1_000, le=90_000, description="a worker not heard of for this long loses its partitions")
    ] = 10_000
    metrics_host: Annotated[
        str, Meta(min_length=1, description="address of the Prometheus endpoint; this machine alone unless told")
    ] = "127.0.0.1"
    metrics_port: Annotated[int, Meta(ge=0, le=65_535, description="of the Prometheus endpoint; 0: none")] = 0
    stalled_after_ms: Annotated[
        int,
        Meta(
            ge=1_000,
            le=2**53,
            description="a worker that had work and committed none for this long ends itself; what a broker that is "
            "away makes of it is known after 90 s",
        ),
    ] = 120_000
    security_protocol: Annotated[SecurityProtocol, Meta(description="how to speak to the broker")] = "PLAINTEXT"
    sasl_mechanism: Annotated[SaslMechanism, Meta(description="how to say who this is")] = "SCRAM-SHA-512"
    sasl_username: Annotated[str, Meta(description="the broker's user that this process is")] = ""
    sasl_password: Annotated[Secret, Meta(description="of the user")] = Secret()
    sasl_password_file: Annotated[str, Meta(description="file that holds the user's password")] = ""
    ssl_cafile: Annotated[
        str, Meta(description="PEM file of who vouches for the broker; without it whom this machine trusts")
    ] = ""
    ssl_certfile: Annotated[str, Meta(description="PEM file of this process's certificate")] = ""
    ssl_keyfile: Annotated[str, Meta(description="PEM file of its key; without it in the file of the certificate")] = ""
    ssl_key_password: Annotated[Secret, Meta(description="of the key, where it is encrypted")] = Secret()
    ssl_key_password_file: Annotated[str, Meta(description="file that holds the key's password")] = ""
    republish: Annotated[
        bool, Meta(description="say incidents anew where another site file, rules or calibration judge them otherwise")
    ] = False
    plain_records: Annotated[
        bool,
        Meta(description="take records as aiokafka's parser makes them: faster"),
    ] = True
    join: JoinRules = JoinRules()
    counters: CounterRules = CounterRules()

    @property
    def sasl(self) -> bool:
        """Whether the broker is told who this is."""
        return self.security_protocol.startswith("SASL_")

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.security_protocol.endswith("SSL")


def read_settings(environment: Mapping[str, str], file: Path | None = None) -> Settings:
    """Return the settings of this process; raises `SettingsError`."""
    values = _from_file(file) if file else {}
    for table in _TABLES:
        if not isinstance(values.setdefault(table, {}), dict):
            raise SettingsError(f"{file}: [{table}] must be a table; write its keys below a line [{table}]")
    for variable, text in sorted(environment.items()):
        if variable.startswith(_PREFIX):
            place, kind, name = _place(variable, values)
            place[name] = _typed(kind, name, text, variable)
    for name in _SECRETS:
        _from_secret_file(values, name)
    try:
        settings = msgspec.convert(values, Settings, dec_hook=_secret)
    except msgspec.ValidationError as error:
        raise SettingsError(_sentence(str(error), str(file or "settings"), values)) from None
    for misfit in _errors(settings):
        raise SettingsError(misfit)
    return settings


def as_environment(settings: Settings) -> dict[str, str]:
    """Return the variables that give another process these settings: secrets too, but those that lie in files."""
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


def _from_file(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read ({error.strerror}); name a TOML file that exists") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: not TOML ({error}); mend that line") from None


def _place(variable: str, values: dict[str, Any]) -> tuple[dict[str, Any], type[Struct], str]:
    """Where a variable of the environment belongs: a table, its type, the key in it."""
    place, kind, prefix = values, cast(type[Struct], Settings), _PREFIX
    for table, of_table in _TABLES.items():
        if variable.startswith(_prefix_of(table)):
            place, kind, prefix = values[table], of_table, _prefix_of(table)
    name = variable.removeprefix(prefix).lower()
    known = {field.name for field in msgspec.structs.fields(kind)} - _TABLES.keys()
    if name not in known:
        names = sorted(variable.removesuffix(name.upper()) + known_name.upper() for known_name in known)
        raise SettingsError(f"{variable}: no such setting; unset it, or use one of {', '.join(names)}")
    return place, kind, name


def _typed(kind: type[Struct], name: str, text: str, variable: str) -> object:
    """Return the text of a variable as the type of its setting; lists are separated by commas."""
    wanted = next(field.type for field in msgspec.structs.fields(kind) if field.name == name)
    raw: object = [part.strip() for part in text.split(",")] if name == "placeholder_plates" else text
    try:
        return msgspec.convert(raw, wanted, strict=False, dec_hook=_secret)
    except msgspec.ValidationError as error:
        fault = _NO_DATE if _about_a_date(str(error)) else f"{error}; give {_fitting(wanted)}"
        raise SettingsError(f"{variable}={text}: {fault}") from None


def _fitting(wanted: Any) -> str:  # noqa: ANN401 - an annotation, whatever its kind
    kind, *_ = get_args(wanted) or (wanted,)
    named = get_args(kind) if get_origin(kind) is Literal else ()
    return f"one of {', '.join(named)}" if named else "a value that fits"


def _about_a_date(error: str) -> bool:
    return error.startswith(("Invalid RFC3339 encoded date", "Expected `date"))


def _sentence(error: str, source: str, values: Mapping[str, Any]) -> str:
    what, _, where = error.partition(" - at `$.")
    name = where.rstrip("`")
    if _about_a_date(what):  # no secret is a date, so its value may be told
        table, _, key = name.partition(".")
        return f"{source}: {name} = {values[table][key]}: {_NO_DATE}"
    return f"{source}: {name + ': ' if name else ''}{what}; mend or remove that key"


# ---------------------------------------------------------------------- secrets, and what goes with what


def _secret(kind: type, value: object) -> Secret:
    """Take a text as a secret, for msgspec; what is no text is not told, for it may be one all the same."""
    assert kind is Secret
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        raise ValueError("Expected a text in quotes")
    return Secret(value)


def _from_secret_file(values: dict[str, Any], name: str) -> None:
    file = values.get(f"{name}_file")
    if not isinstance(file, str) or not file:
        return
    variable = f"{_PREFIX}{name}_file".upper()
    if values.get(name):
        raise SettingsError(f"{name} and {name}_file are both set; unset one of them")
    try:
        text = Path(file).read_text("utf-8").rstrip("\r\n")
    except OSError as error:
        raise SettingsError(f"{variable}={file}: cannot be read ({error.strerror}); name a file that can") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{variable}={file}: is not UTF-8; write the password there as text") from None
    if not text:
        raise SettingsError(f"{variable}={file}: is empty; write the password there")
    values[name] = Secret(text)


def _errors(settings: Settings) -> Iterator[str]:
    """Say what does not go together: a password that nobody is told is as wrong as one that is missing."""
    join = settings.join
    if join.shot_memory_ms < join.incident_retention_ms:
        yield (
            f"join.shot_memory_ms {join.shot_memory_ms} is less than join.incident_retention_ms "
            f"{join.incident_retention_ms}: a late revision would make a new shot; raise the one or lower the other"
        )
    protocol = settings.security_protocol
    given = {name: getattr(settings, name) for name in Settings.__struct_fields__}
    for name, value in given.items():
        if value and name.startswith("sasl_") and name != "sasl_mechanism" and not settings.sasl:
            yield f"{name} is set, but security_protocol {protocol} uses none; {_protocols('SASL_SSL', name)}"
        if value and name.startswith("ssl_") and not settings.tls:
            yield f"{name} is set, but security_protocol {protocol} uses none; {_protocols('SSL or SASL_SSL', name)}"
    if settings.sasl and not settings.sasl_username:
        yield f"security_protocol {protocol} needs a user; set RAMPWATCH_SASL_USERNAME"
    if settings.sasl and not settings.sasl_password:
        yield (
            f"security_protocol {protocol} needs the password of {settings.sasl_username}; name a file that holds it "
            "in RAMPWATCH_SASL_PASSWORD_FILE, or set RAMPWATCH_SASL_PASSWORD"
        )
    if not settings.ssl_certfile and (settings.ssl_keyfile or settings.ssl_key_password):
        yield "a key is set without its certificate; set RAMPWATCH_SSL_CERTFILE as well"


def cautions(settings: Settings) -> Iterator[str]:
    """Hand out a sentence for what is allowed and may not be meant: laws make reads shorter-lived than windows."""
    join = settings.join
    if join.read_retention_ms < join.before_ms:
        yield (
            f"reads are kept {join.read_retention_ms} ms, less than join.before_ms {join.before_ms}: a car that passed "
            "a ramp longer before the shots than that is not linked to them"
        )


def _protocols(fitting: str, name: str) -> str:
    return f"set RAMPWATCH_SECURITY_PROTOCOL to {fitting}, or unset {name}"
