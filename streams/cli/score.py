"""The commands for the score: ``calibrate``, ``evaluate``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from streams.cli.files import check_writable, write_whole
from streams.cli.options import Config, SiteName, screen, settings_of, site_of, whole
from streams.console.screen import progress
from streams.core.errors import RampwatchError
from streams.resources.sites import load_site


def calibrate(
    *,
    site_name: SiteName = None,
    seeds: Annotated[
        int,
        Parameter(converter=whole, validator=Number(gte=1, lte=1_000), help="number of simulated weeks to fit to"),
    ] = 100,
    out: Annotated[
        Path | None,
        Parameter(help="file to write, for the setting calibration; default: print the calibration as JSON"),
    ] = None,
    config: Config = None,
) -> None:
    """Fit the score to simulated weeks and write its calibration; takes about a minute."""
    from streams.calibrate.calibrate import FIRST_SEED, as_json
    from streams.calibrate.calibrate import calibrate as fit

    site = site_of(settings_of(config, site_name))
    if out is not None:
        _check_calibration_file(out)
    with progress(screen, "simulating") as report:
        fitted = fit(site, range(FIRST_SEED, FIRST_SEED + seeds), report)
    fitted_to = f"fitted to {fitted.incidents} simulated incidents, of which {fitted.linked} are true"
    if out is None:
        sys.stdout.write(as_json(fitted).decode())
        screen.print(fitted_to)
        return
    write_whole("--out", out, as_json(fitted))
    screen.print(f"{fitted_to}: {out}; set RAMPWATCH_CALIBRATION={out} to use it")


def _check_calibration_file(out: Path) -> None:
    """Raise `RampwatchError` if a calibration must not or cannot be written there."""
    from streams.resources.calibration import CalibrationError, read_calibration, shipped_path

    if out.resolve() == shipped_path().resolve():
        raise RampwatchError(
            f"--out {out}: this is the calibration that ships with rampwatch; name another file, and set "
            "RAMPWATCH_CALIBRATION to it"
        )
    check_writable("--out", out)
    if out.is_file() and out.stat().st_size:
        try:
            read_calibration(out)
        except CalibrationError:
            raise RampwatchError(
                f"--out {out}: exists and is not a calibration, so it is not replaced; name another file"
            ) from None


def evaluate(
    *,
    site_name: SiteName = None,
    seeds: Annotated[
        int,
        Parameter(
            converter=whole,
            validator=Number(gte=2, lte=10_000),
            help="number of simulated weeks, none used for fitting",
        ),
    ] = 60,
    markdown: Annotated[
        Path | None, Parameter(help="Markdown file to update with the tables; default: print them")
    ] = None,
    config: Config = None,
) -> None:
    """Measure the score on held-out simulated weeks, beside simpler rankings; takes minutes."""
    from streams.calibrate.calibrate import FIRST_HELD_OUT
    from streams.calibrate.evaluate import evaluate as measure
    from streams.calibrate.table import check_document, write_tables
    from streams.calibrate.table import markdown as as_markdown
    from streams.resources.calibration import load_calibration

    if markdown is not None:
        check_document(markdown)  # fail before minutes of work, not after
    settings = settings_of(config, site_name)
    site, held_out = site_of(settings), range(FIRST_HELD_OUT, FIRST_HELD_OUT + seeds)
    calibration = load_calibration(settings.calibration)
    with progress(screen, "simulating") as report:
        evaluation = measure(site, load_site("kansas-city"), held_out, max(2, seeds // 2), calibration, report)
    table = as_markdown(evaluation)
    if markdown is None:
        print(table)
    else:
        write_tables(table, markdown)
        screen.print(f"tables written to {markdown}")
