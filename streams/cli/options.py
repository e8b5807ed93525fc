"""What the commands share: options, parsing of numbers, and the console for messages."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, Token
from rich.table import Table

from streams.console.screen import text_console
from streams.core.site import Site
from streams.core.site_fit import far_ramps
from streams.resources.sites import load_site
from streams.secret import shortened
from streams.settings import Settings, read_settings

screen = text_console(stderr=True, soft_wrap=True)
"""Prints messages to standard error, as they are; standard output carries only results."""

passwords: set[str] = set()
"""Those of the settings read so far, so that no message of this process shows one."""

Config = Annotated[
    Path | None, Parameter(name="--config", help="TOML file of settings; RAMPWATCH_ environment variables override it")
]
SiteName = Annotated[
    str | None,
    Parameter(
        name="--site",
        help="built-in site (hartford, kansas-city) or path of a GeoJSON file; default: the setting site (hartford)",
    ),
]
AsOf = Annotated[
    str | None,
    Parameter(
        help="count events before this moment: a date (its end), a time, or milliseconds since the epoch; default: all "
        "events, or what the replay counted"
    ),
]
Prefix = Annotated[
    str | None,
    Parameter(
        name="--prefix",
        help="put before the names of topics, consumer group and transactional ids; default: the setting prefix (none)",
    ),
]


def whole(_: object, tokens: Sequence[Token]) -> int:
    """Parse a whole number; cyclopts itself would round 1.5 to 2."""
    text = tokens[0].value
    try:
        return int(text)
    except ValueError:
        raise ValueError(f'"{shortened(text)}" is not a whole number.') from None


def positive(_: object, value: float | None) -> None:
    """Reject numbers that are not finite or not above 0."""
    # cyclopts.validators.Number would accept NaN.
    if value is not None and not (value > 0 and math.isfinite(value)):
        raise ValueError("Must be a finite number above 0.")


def settings_of(config: Path | None, site: str | None = None, prefix: str | None = None) -> Settings:
    """Return the settings of this process; command-line options override them."""
    options = {name: text for name, text in (("site", site), ("prefix", prefix)) if text is not None}
    settings = read_settings(os.environ, config, options)
    passwords.update({settings.sasl_password.reveal(), settings.ssl_key_password.reveal()} - {""})
    return settings


def site_of(settings: Settings) -> Site:
    """Load the site that the settings name, and warn about ramps in an unlikely place."""
    site = load_site(settings.site)
    far = far_ramps(site)
    if far:
        screen.print(
            f"{settings.site}: {len(far)} of {len(site.ramps)} ramps are more than 100 km from all zones, such as "
            f"{far[0]}; check their coordinates",
            style="yellow",
        )
    return site


def print_table(table: Table) -> None:
    """Print a table in full: a narrow terminal wraps its lines, but truncates no number or name."""
    console = text_console()
    wide = console.options.update(max_width=1_000)
    console.width = max(console.width, console.measure(table, options=wide).maximum)
    console.print(table)
