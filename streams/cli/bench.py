"""The command ``bench``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.status import Status

from streams.cli.options import Config, SiteName, print_whole, screen, settings_of, site_of, whole


def bench(
    *,
    rounds: Annotated[
        int | None, Parameter(converter=whole, validator=Number(gte=1, lte=99), help="of each, in turn: 5")
    ] = None,
    quick: Annotated[bool, Parameter(help="one round of little: whether it works, not how fast")] = False,
    broker: Annotated[bool, Parameter(help="on a real Kafka; else the engine alone")] = True,
    site: SiteName = None,
    json: Annotated[bool, Parameter(help="print the figures as one JSON object")] = False,
    config: Config = None,
) -> None:
    """Measure a worker beside a bare loop and a stock Faust agent, its latency and memory; some minutes."""
    import msgspec

    from streams.bench.run import QUICK, BenchPlan
    from streams.bench.run import bench as measured
    from streams.bench.table import table

    plan = QUICK if quick else BenchPlan()
    plan = msgspec.structs.replace(plan, broker=broker, rounds=rounds or plan.rounds)
    settings = settings_of(config, site)
    with screen.status("") as status:
        figures = measured(site_of(settings), settings, plan, _progress(status))
    if json:
        print(msgspec.json.encode(figures).decode())
    else:
        print_whole(table(figures))
    for note in figures.notes:
        screen.print(note, markup=False)


def _progress(status: Status) -> Callable[[str], None]:
    """Say what is going on: in place on a terminal, line by line elsewhere."""

    def say(line: str) -> None:
        status.update(line)
        if not screen.is_terminal:
            screen.print(line, markup=False)

    return say
