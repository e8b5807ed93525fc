"""The command ``demo``."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from streams.cli.options import Config, SiteName, positive, screen, settings_of, site_of, whole
from streams.console.screen import activity

_FOR_S_MAX = 1e7
"""Longer than anybody waits; beyond some such number the system's timers overflow."""


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
        Parameter(
            name="--for",
            validator=positive,
            help="stop after this many seconds, preparation included; default: play to the end",
        ),
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
    deadline_s = None if for_s is None else time.monotonic() + min(for_s, _FOR_S_MAX)
    from streams.demo import TOO_EARLY, DemoPlan
    from streams.demo import demo as play
    from streams.resources.calibration import load_calibration
    from streams.simulate.scenarios import default_scenario

    settings = settings_of(config, site_name)
    load_calibration(settings.calibration)  # fail before a Kafka is started, not after
    plan = DemoPlan(deadline_s=deadline_s, speed=speed, broker=broker, json=json)
    try:
        with activity(screen, "preparing the scenario"), _ended_at(deadline_s):
            scenario = default_scenario(site_of(settings), seed, shots)
    except _TimeOver:
        screen.print(TOO_EARLY, style="dim")
        return
    asyncio.run(play(scenario, plan, settings, lambda line: screen.print(line, style="dim")))


class _TimeOver(BaseException):
    """The time was over during a computation; not an ``Exception``, which somebody may catch."""


@contextmanager
def _ended_at(deadline_s: float | None) -> Iterator[None]:
    """End the block with `_TimeOver` at that time; it computes, so no event loop can end it."""
    if deadline_s is None:
        yield
        return

    def end(*_: object) -> None:
        raise _TimeOver

    previous = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, max(0.001, deadline_s - time.monotonic()))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
