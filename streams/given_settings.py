"""The values given for settings in a TOML file or the environment, each with its origin.

Unknown names are errors, which say what may have been meant.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Mapping
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from streams.core.errors import RampwatchError
from streams.resources.files import FileError, read_bytes
from streams.secret import contains_secret, may_hold_secret, shortened
from streams.setting_values import text_of

PREFIX: Final = "RAMPWATCH_"
_PATH_CHARACTERS_MAX: Final = 300
_CONFIG_BYTES_MAX: Final = 32_768
"""Far more than all settings need. The parser takes some seconds at worst for so much."""

Tables = Mapping[str, type[Struct]]
"""The types of the tables by name; the settings that are in no table have the name ``""``."""


class SettingsError(RampwatchError):
    """A setting that cannot be used; the message names the setting, the problem and the remedy."""


class Given(Struct, frozen=True):
    """A value for a setting, and where it was given."""

    origin: str
    table: str
    name: str
    value: object
    is_text: bool
    """Whether it is text to be parsed, from the environment or the command line."""

    def shown(self, secrets: set[str]) -> str:
        """Return where it was given, and the value unless it may be or contain a password."""
        if not isinstance(self.value, str | int | float | date):
            return self.origin
        text = text_of(self.value)
        # With an "@", it may be an address that begins with user:password.
        if may_hold_secret(self.name) or contains_secret(text, secrets) or "@" in text:
            return self.origin
        return f"{self.origin}{'=' if self.is_text else ' = '}{shortened(text)}"


def given_in_file(file: Path | None, tables: Tables) -> Iterator[Given]:
    """Yield the values in a TOML file, if one is named; raises `SettingsError`."""
    shown = shortened(str(file), _PATH_CHARACTERS_MAX)
    for key, value in (_read_toml(file, shown) if file else {}).items():
        if key not in tables or not key:
            yield _given_by_key(shown, "", key, value, tables)
        elif isinstance(value, dict):
            yield from (_given_by_key(shown, key, name, value[name], tables) for name in value)
        else:
            raise SettingsError(f"{shown}: [{key}] must be a table; write its keys below a line [{key}]")


def _given_by_key(file: str, table: str, name: str, value: object, tables: Tables) -> Given:
    key = f"{table}.{name}" if table else name
    if key not in _names(tables):
        raise SettingsError(f"{file}: {_unknown(key, _names(tables), 'remove it')}")
    return Given(f"{file}: {key}", table, name, value, False)


def given_in_environment(environment: Mapping[str, str], tables: Tables) -> Iterator[Given]:
    """Yield the values of the variables that begin with `PREFIX`; raises `SettingsError`."""
    variables = {variable_of(name): name for name in _names(tables)}
    for variable, text in sorted(environment.items()):
        if variable.startswith(PREFIX):
            if variable not in variables:
                raise SettingsError(_unknown(variable, variables, "unset it"))
            table, _, name = variables[variable].rpartition(".")
            yield Given(variable, table, name, text, True)


def variable_of(name: str) -> str:
    """Return the variable of a setting, which may be that of a table, as in ``join.before_ms``."""
    return PREFIX + name.replace(".", "_").upper()


def _names(tables: Tables) -> list[str]:
    """Return the names of all settings, such as ``group`` and ``join.before_ms``."""
    names = [(table, name) for table, kind in tables.items() for name in kind.__struct_fields__]
    return [f"{table}.{name}" if table else name for table, name in names if name not in tables]


def _unknown(name: str, names: Collection[str], remedy: str) -> str:
    """Return the message for a name that no setting has, with the one that may be meant."""
    shown = shortened(name)
    bare = {known.removeprefix(PREFIX): known for known in names}
    meant = [known for known in names if known.rpartition(".")[2] == name]
    meant += [bare[near] for near in get_close_matches(shown.removeprefix(PREFIX), bare, 1, 0.75)]
    if meant:
        return f"{shown}: no such setting; correct it ({meant[0]}?) or {remedy}"
    return f"{shown}: no such setting; {remedy}, or use one of {', '.join(sorted(names))}"


def _read_toml(file: Path, shown: str) -> dict[str, Any]:
    try:
        return tomllib.loads(read_bytes(file, _CONFIG_BYTES_MAX).decode("utf-8"))
    except FileError as error:
        raise SettingsError(f"{shown}: cannot be read ({error}); name an existing TOML file") from None
    except RecursionError:
        raise SettingsError(f"{shown}: not valid TOML (nested too deep); settings need one level") from None
    except ValueError as error:  # also text that is not UTF-8, and numbers of thousands of digits
        reason = shortened(str(error).partition("; use sys.")[0])
        raise SettingsError(f"{shown}: not valid TOML ({reason}); correct that line") from None
