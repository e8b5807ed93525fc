"""The command ``bench``."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from streams.cli.options import Config, SiteName, print_table, screen, settings_of, site_of, whole
from streams.console.screen import Report, progress


def bench(
    *,
    rounds: Annotated[
        int | None,
        Parameter(
            converter=whole,
            validator=Number(gte=1, lte=99),
            help="rounds, each of which measures everything once; default: 5, or 1 with --quick",
        ),
    ] = None,
    quick: Annotated[bool, Parameter(help="one short round, to see whether it works, not how fast")] = False,
    broker: Annotated[bool, Parameter(help="measure on a real Kafka; --no-broker measures only the engine")] = True,
    site_name: SiteName = None,
    json: Annotated[bool, Parameter(help="print the figures as one JSON object")] = False,
    config: Config = None,
) -> None:
    """Measure a worker's speed and latency beside a bare loop and stock Faust; takes minutes."""
    import msgspec

    from streams.bench.run import QUICK, BenchPlan
    from streams.bench.run import bench as measure
    from streams.bench.table import table

    plan = QUICK if quick else BenchPlan()
    plan = msgspec.structs.replace(plan, broker=broker, rounds=rounds or plan.rounds)
    settings = settings_of(config, site_name)
    with progress(screen, "beginning") as report:
        figures = measure(site_of(settings), settings, plan, _line_by_line(report))
    if json:
        print(msgspec.json.encode(figures).decode())
    else:
        print_table(table(figures))
    for note in figures.notes:
        screen.print(note)


def _line_by_line(report: Report) -> Report:
    """Return a function that reports progress also where there is no terminal: line by line."""

    def report_line(doing: str, share: float) -> None:
        report(doing, share)
        if not screen.is_terminal:
            screen.print(doing)

    return report_line
