"""The command ``demo``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from streams.cli.options import Config, SiteName, positive, screen, settings_of, site_of, whole


def demo(
    *,
    site_name: SiteName = None,
    shots: Annotated[
        Path | None, Parameter(help="CSV of real activations to play, with simulated cars around them")
    ] = None,
    seed: Annotated[
        int, Parameter(converter=whole, help="random seed of the simulation; the same seed gives the same evening")
    ] = 1,
    for_s: Annotated[
        float | None,
        Parameter(name="--for", validator=positive, help="stop after this many seconds; default: play to the end"),
    ] = None,
    speed: Annotated[
        float | None,
        Parameter(
            validator=positive,
            help="playback speed, as a multiple of real time; default: play everything in three minutes",
        ),
    ] = None,
    broker: Annotated[
        bool, Parameter(help="play through a real Kafka; --no-broker runs the same engine in this process")
    ] = True,
    json: Annotated[bool, Parameter(help="print incidents as JSON lines")] = False,
    config: Config = None,
) -> None:
    """Play a simulated evening (Kansas City: a real week) at speed and print linked incidents."""
    from streams.demo import DemoPlan
    from streams.demo import demo as play
    from streams.simulate.scenarios import default_scenario

    settings = settings_of(config, site_name)
    plan = DemoPlan(for_s=for_s, speed=speed, broker=broker, json=json)
    with screen.status("preparing the scenario"):
        scenario = default_scenario(site_of(settings), seed, shots)
    asyncio.run(play(scenario, plan, settings, lambda line: screen.print(line, style="dim", markup=False)))
