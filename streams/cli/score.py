"""The commands for the score: ``calibrate``, ``evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from streams.cli.options import Config, SiteName, screen, settings_of, site_of, whole
from streams.cli.progress import progress_bar
from streams.core.errors import RampwatchError
from streams.resources.sites import load_site


def calibrate(
    *,
    site_name: SiteName = None,
    seeds: Annotated[
        int,
        Parameter(converter=whole, validator=Number(gte=1, lte=1_000), help="number of simulated weeks to fit to"),
    ] = 100,
    out: Annotated[Path | None, Parameter(help="file to write; default: the one that rampwatch itself uses")] = None,
    config: Config = None,
) -> None:
    """Fit the score to simulated weeks and write its calibration; takes about a minute."""
    from streams.calibrate.calibrate import FIRST_SEED, as_json
    from streams.calibrate.calibrate import calibrate as fit
    from streams.resources.calibration import FILE
    from streams.resources.paths import resource_path

    site, path = site_of(settings_of(config, site_name)), out or resource_path("calibration", FILE)
    with progress_bar("simulating") as bar:
        fitted = fit(site, range(FIRST_SEED, FIRST_SEED + seeds), bar.update)
    try:
        path.write_bytes(as_json(fitted))
    except OSError as error:
        raise RampwatchError(f"{path}: cannot be written ({error.strerror}); name another file with --out") from None
    screen.print(f"fitted to {fitted.incidents} simulated incidents, of which {fitted.linked} are true: {path}")


def evaluate(
    *,
    site_name: SiteName = None,
    seeds: Annotated[
        int,
        Parameter(converter=whole, validator=Number(gte=2), help="number of simulated weeks, none used for fitting"),
    ] = 60,
    markdown: Annotated[
        Path | None, Parameter(help="Markdown file to update with the tables; default: print them")
    ] = None,
    config: Config = None,
) -> None:
    """Measure the score on held-out simulated weeks, beside simpler rankings; takes minutes."""
    from streams.calibrate.calibrate import FIRST_HELD_OUT
    from streams.calibrate.evaluate import evaluate as measure
    from streams.calibrate.table import around_markers, write_tables
    from streams.calibrate.table import markdown as as_markdown
    from streams.resources.calibration import load_calibration

    if markdown is not None:
        around_markers(markdown)  # fail before minutes of work, not after
    site, held_out = site_of(settings_of(config, site_name)), range(FIRST_HELD_OUT, FIRST_HELD_OUT + seeds)
    with progress_bar("simulating") as bar:
        evaluation = measure(
            site, load_site("kansas-city"), held_out, max(2, seeds // 2), load_calibration(), bar.update
        )
    table = as_markdown(evaluation)
    if markdown is None:
        print(table)
    else:
        write_tables(table, markdown)
        screen.print(f"tables written to {markdown}")
