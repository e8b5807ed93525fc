"""The command: ``PYTHONPATH=tests .venv/bin/python -m chaos --faults 50 --seed 1``."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.console import Console

from tests.chaos.run import run
from tests.chaos.report import Plan, Report, as_object, lines

app = App(
    name="chaos",
    help=(
        "Real workers on a Kafka of its own, under steady load with lateness, duplicates and revisions, while workers "
        "are killed, ended, added and paused longer than their session, and the broker is killed and paused. At the "
        "end all topics are read back and compared with the brute-force oracle over the whole log."
        "\n\n"
        "The faults and the load follow from the seed, and are printed before they happen; the same seed gives the "
        "same schedule, though never the same interleaving. Progress goes to standard error, the report to standard "
        "output. Exit code 0: nothing lost, nothing wrong, no revision that goes backwards or comes from a fenced "
        "worker, each unusable record a dead letter. Exit code 1: something was; logs and topics are kept."
    ),
)


@app.default
def main(
    *,
    faults: Annotated[int, Parameter(help="how many faults", validator=Number(gte=0))] = 50,
    seed: Annotated[int, Parameter(help="of the schedule and the load")] = 1,
    workers: Annotated[int, Parameter(help="how many to begin with", validator=Number(gte=2))] = 3,
    partitions: Annotated[int, Parameter(help="of the joined topics", validator=Number(gte=1))] = 4,
    rate: Annotated[float, Parameter(help="records a second", validator=Number(gt=0))] = 40.0,
    minute_ms: Annotated[
        int,
        Parameter(
            help="how long a minute of the small worlds takes: with 1000, reads are kept 20 s and incidents 100 s",
            validator=Number(gte=100, lte=60_000),
        ),
    ] = 1_000,
    keep: Annotated[Path | None, Parameter(help="a new folder for logs and topics, kept also when all is well")] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="the report as one JSON object")] = False,
) -> None:
    """Run it."""
    plan = Plan(faults, seed, workers, partitions, rate, minute_ms)
    screen = Console(stderr=True, highlight=False, soft_wrap=True)
    screen.print(
        f"[bold]seed {seed}[/], {faults} faults, {workers} workers, {partitions} partitions, {rate:g} records/s"
    )
    for planned in plan.schedule:
        screen.print(f"  {planned}", markup=False)
    if keep is not None:
        report = asyncio.run(run(plan, keep, _line(screen)))
    else:
        folder = Path(tempfile.mkdtemp(prefix="rampwatch-chaos-"))
        report = asyncio.run(run(plan, folder, _line(screen)))
        _remove_or_name(folder, report, screen)
    if as_json:
        sys.stdout.write(json.dumps(as_object(report)) + "\n")
    else:
        out = Console(highlight=False, soft_wrap=True)
        for text, colour in lines(report):
            out.print(text, style=colour, markup=False)
    sys.exit(0 if report.clean else 1)


def _line(screen: Console) -> Callable[[str], None]:
    def say(text: str) -> None:
        colour = "yellow" if "fault " in text else "red" if "by itself" in text or "not quiet" in text else None
        screen.print(text, style=colour, markup=False)

    return say


def _remove_or_name(folder: Path, report: Report, screen: Console) -> None:
    if report.clean and not report.slow_to_end:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        screen.print(f"logs and topics are in {folder}", markup=False)


if __name__ == "__main__":
    app()
