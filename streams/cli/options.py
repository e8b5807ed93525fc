"""What the commands have in common: options, how numbers are read, the screen for what is no output."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, Token
from rich.console import Console
from rich.table import Table

from streams.core.site import Site
from streams.resources.sites import load_site
from streams.settings import Settings, read_settings

screen = Console(stderr=True, highlight=False, soft_wrap=True)

Config = Annotated[Path | None, Parameter(name="--config", help="TOML file with settings; RAMPWATCH_… wins over it")]
SiteName = Annotated[
    str | None, Parameter(name="--site", help="a shipped site (hartford, kansas-city) or a GeoJSON file")
]
AsOf = Annotated[
    str | None,
    Parameter(
        help="count what was before: a date (its end), a time, or milliseconds; without it all there is, or what a "
        "replay counted that wrote its outcomes there"
    ),
]
Prefix = Annotated[str | None, Parameter(name="--prefix", help="put before every topic's name")]


def whole(_: object, tokens: Sequence[Token]) -> int:
    """Read a whole number: cyclopts itself rounds 1.5 to 2."""
    text = tokens[0].value
    try:
        return int(text)
    except ValueError:
        raise ValueError(f'"{text}" is no whole number.') from None


def positive(_: object, value: float | None) -> None:
    """Refuse what is not above 0."""
    # not a Number: that one lets NaN pass
    if value is not None and not (value > 0 and math.isfinite(value)):
        raise ValueError("Must be a number above 0.")


def settings_of(config: Path | None, site: str | None = None, prefix: str | None = None) -> Settings:
    """Return the settings of this process, with what the command line says."""
    environment = dict(os.environ)
    if site is not None:
        environment["RAMPWATCH_SITE"] = site
    if prefix is not None:
        environment["RAMPWATCH_PREFIX"] = prefix
    return read_settings(environment, config)


def site_of(settings: Settings) -> Site:
    """Return the site that is set."""
    return load_site(settings.site)


def print_whole(table: Table) -> None:
    """Print a table; a narrow screen may break a line, and never shortens a number or a name."""
    console = Console(highlight=False)
    wide = console.options.update(max_width=1_000)
    console.width = max(console.width, console.measure(table, options=wide).maximum)
    console.print(table)
