"""The command: ``.venv/bin/python -m tests.chaos --faults 50 --seed 1``.

An hour with everything: ``.venv/bin/python -m tests.chaos --minutes 60 --seed 7``.
"""

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

from tests.chaos.report import Plan, Report, as_object, lines
from tests.chaos.run import run

FAULTS_MAX = 100_000

app = App(
    name="chaos",
    help=(
        "Run real workers on a local Kafka under steady load with lateness, duplicates and revisions, while workers "
        "are killed, stopped, added, and paused longer than their session, and the broker is killed and paused. Then "
        "read all topics back and compare them with the brute-force oracle's verdict on the whole log."
        "\n\n"
        "The faults and the load follow from the seed. The faults are printed before they happen; the same seed gives "
        "the same schedule, but never the same interleaving. Progress goes to standard error, the report to standard "
        "output. Exit code 0: nothing is lost or wrong, no revision goes backwards or comes from a fenced worker, and "
        "every unusable record is a dead letter, and no worker grows. Exit code 1: something is wrong; logs and topics "
        "are kept."
    ),
)


@app.default
def main(
    *,
    faults: Annotated[
        int | None, Parameter(help="number of faults; by default 50, or as many as fit", validator=Number(gte=0))
    ] = None,
    minutes: Annotated[
        float | None, Parameter(help="length of the load, with --everything", validator=Number(gt=0))
    ] = None,
    everything: Annotated[
        bool,
        Parameter(
            negative="",
            help="also hostile records, bulk imports, hot plates, overloads, idle gaps, a broker that is away for long",
        ),
    ] = False,
    seed: Annotated[int, Parameter(help="seed of the schedule and the load")] = 1,
    workers: Annotated[int, Parameter(help="number of workers at the start", validator=Number(gte=2))] = 3,
    partitions: Annotated[int, Parameter(help="partitions of the joined topics", validator=Number(gte=1))] = 4,
    rate: Annotated[float, Parameter(help="records per second", validator=Number(gt=0))] = 40.0,
    minute_ms: Annotated[
        int,
        Parameter(
            help="length of a minute of the small worlds: with 1000, reads are kept for 20 s and incidents for 100 s",
            validator=Number(gte=100, lte=60_000),
        ),
    ] = 1_000,
    keep: Annotated[Path | None, Parameter(help="a new folder for logs and topics, kept in any case")] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="print the report as one JSON object")] = False,
) -> None:
    """Run it and exit with 0 or 1."""
    if faults is None:
        faults = 50 if minutes is None else FAULTS_MAX
    everything = everything or minutes is not None
    plan = Plan(faults, seed, workers, partitions, rate, minute_ms, minutes, everything)
    screen = Console(stderr=True, highlight=False, soft_wrap=True)
    screen.print(
        f"[bold]seed {seed}[/], {len(plan.schedule)} faults, {plan.load_s:.0f} s, {workers} workers, "
        f"{partitions} partitions, {rate:g} records/s"
    )
    for planned in plan.schedule:
        screen.print(f"  {planned}", markup=False)
    if keep is not None:
        report = asyncio.run(run(plan, keep, _progress_on(screen)))
    else:
        folder = Path(tempfile.mkdtemp(prefix="rampwatch-chaos-"))
        report = asyncio.run(run(plan, folder, _progress_on(screen)))
        _remove_or_name(folder, report, screen)
    if as_json:
        sys.stdout.write(json.dumps(as_object(report)) + "\n")
    else:
        out = Console(highlight=False, soft_wrap=True)
        for text, colour in lines(report):
            out.print(text, style=colour, markup=False)
    sys.exit(0 if report.clean else 1)


def _progress_on(screen: Console) -> Callable[[str], None]:
    def progress(text: str) -> None:
        colour = "yellow" if "fault " in text else "red" if "by itself" in text or "not settled" in text else None
        screen.print(text, style=colour, markup=False)

    return progress


def _remove_or_name(folder: Path, report: Report, screen: Console) -> None:
    if report.clean and not report.slow_exits:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        screen.print(f"logs and topics are in {folder}", markup=False)


if __name__ == "__main__":
    app()
