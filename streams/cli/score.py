"""Commands around the score: ``calibrate``, ``evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from streams.cli.options import Config, SiteName, screen, settings_of, site_of, whole
from streams.core.errors import RampwatchError
from streams.resources.sites import load_site


def calibrate(
    *,
    site: SiteName = None,
    seeds: Annotated[
        int, Parameter(converter=whole, validator=Number(gte=1, lte=1_000), help="how many simulated weeks")
    ] = 100,
    out: Annotated[Path | None, Parameter(help="file to write; without it the one that rampwatch itself uses")] = None,
    config: Config = None,
) -> None:
    """Fit the score to simulated weeks and write its calibration; about a minute."""
    from streams.calibrate.calibrating import FIRST_SEED, as_json
    from streams.calibrate.calibrating import calibrate as fitted_to
    from streams.resources.calibration import FILE
    from streams.resources.paths import resource_path

    place, path = site_of(settings_of(config, site)), out or resource_path("calibration", FILE)
    with screen.status("simulating") as status:
        fitted = fitted_to(place, range(FIRST_SEED, FIRST_SEED + seeds), status.update)
    try:
        path.write_bytes(as_json(fitted))
    except OSError as error:
        raise RampwatchError(f"{path}: cannot be written ({error.strerror}); name another file with --out") from None
    screen.print(f"fitted to {fitted.incidents} simulated incidents, {fitted.linked} of them true: {path}")


def evaluate(
    *,
    site: SiteName = None,
    seeds: Annotated[
        int, Parameter(converter=whole, validator=Number(gte=2), help="how many simulated weeks, none fitted to")
    ] = 60,
    markdown: Annotated[
        Path | None, Parameter(help="document to put the tables into; without it they are printed")
    ] = None,
    config: Config = None,
) -> None:
    """Measure the score on simulated weeks that it was not fitted to, beside simpler rankings; some minutes."""
    from streams.calibrate.calibrating import FIRST_HELD_BACK
    from streams.calibrate.evaluating import evaluate as evaluated_on
    from streams.calibrate.table import around, put
    from streams.calibrate.table import markdown as as_markdown
    from streams.resources.calibration import load_calibration

    if markdown is not None:
        around(markdown)  # before minutes of work, not after
    place, held_back = site_of(settings_of(config, site)), range(FIRST_HELD_BACK, FIRST_HELD_BACK + seeds)
    with screen.status("simulating") as status:
        told = evaluated_on(
            place, load_site("kansas-city"), held_back, max(2, seeds // 2), load_calibration(), status.update
        )
    table = as_markdown(told)
    if markdown is None:
        print(table)
    else:
        put(table, markdown)
        screen.print(f"the tables are in {markdown}")
