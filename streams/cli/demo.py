"""The command ``demo``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from streams.cli.options import Config, SiteName, positive, screen, settings_of, site_of, whole


def demo(
    *,
    site: SiteName = None,
    shots: Annotated[
        Path | None, Parameter(help="real gunshots (CSV of activations) to play, with simulated cars")
    ] = None,
    seed: Annotated[int, Parameter(converter=whole, help="of what is simulated: the same seed, the same evening")] = 1,
    for_s: Annotated[
        float | None, Parameter(name="--for", validator=positive, help="end after so many seconds")
    ] = None,
    speed: Annotated[
        float | None,
        Parameter(validator=positive, help="times as fast as life; without it the whole takes three minutes"),
    ] = None,
    broker: Annotated[bool, Parameter(help="through a real Kafka; else the same engine in this process")] = True,
    json: Annotated[bool, Parameter(help="print incidents as JSON lines")] = False,
    config: Config = None,
) -> None:
    """Play an evening (Kansas City: a real week of gunshots) at speed and print linked incidents as they come."""
    from streams.demo import DemoPlan
    from streams.demo import demo as play
    from streams.simulate.scenarios import default_scenario

    settings = settings_of(config, site)
    plan = DemoPlan(for_s=for_s, speed=speed, broker=broker, json=json)
    with screen.status("making the scene"):
        scenario = default_scenario(site_of(settings), seed, shots)
    asyncio.run(play(scenario, plan, settings, lambda line: screen.print(line, style="dim", markup=False)))
