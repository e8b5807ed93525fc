"""Every setting, once, with its unit and meaning; read once from the environment and an optional TOML file.

A key ``name`` of the file is ``RAMPWATCH_NAME`` in the environment, one of the tables ``[join]`` and ``[counters]`` is
``RAMPWATCH_JOIN_…`` and ``RAMPWATCH_COUNTERS_…``; the environment wins. A name nobody knows is as wrong as a value that
does not fit.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, cast

import msgspec
from msgspec import Meta, Struct

from streams.core.counters.rules import CounterRules
from streams.core.errors import RampwatchError
from streams.core.rules import JoinRules

_PREFIX: Final = "RAMPWATCH_"
_TABLES: Final[dict[str, type[Struct]]] = {"join": JoinRules, "counters": CounterRules}


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
    join: JoinRules = JoinRules()
    counters: CounterRules = CounterRules()


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
    try:
        return msgspec.convert(values, Settings)
    except msgspec.ValidationError as error:
        raise SettingsError(_sentence(str(error), str(file or "settings"))) from None


def as_environment(settings: Settings) -> dict[str, str]:
    """Return the variables that give another process these settings."""
    tables = [(_PREFIX, {field: getattr(settings, field) for field in settings.__struct_fields__})]
    tables += [(_prefix_of(name), msgspec.structs.asdict(tables[0][1].pop(name))) for name in _TABLES]
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
        return msgspec.convert(raw, wanted, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{variable}={text}: {error}; give a value that fits") from None


def _sentence(error: str, source: str) -> str:
    what, _, where = error.partition(" - at `$.")
    name = where.rstrip("`")
    return f"{source}: {name + ': ' if name else ''}{what}; mend or remove that key"
