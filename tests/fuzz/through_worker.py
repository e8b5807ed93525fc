"""The command: ``.venv/bin/python -m tests.fuzz.through_worker --records 100000 --seed 1``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.console import Console

from streams.local_broker.broker import LocalBroker
from tests.fuzz.worker_run import Report, fuzz_worker

app = App(
    name="through_worker",
    help=(
        "Mutate valid records of all four topics, mix them with honest pairs, and send them through a worker on a "
        "local Kafka. The worker must go on, give every record one outcome, join the honest pairs, keep every unusable "
        "record as a dead letter with the same bytes, and name no plate in its log."
        "\n\n"
        "The records follow from the seed. Progress goes to standard error, the report to standard output. Exit code "
        "0: no fault. Exit code 1: faults; the worker's log is kept."
    ),
)


@app.default
def main(
    *,
    records: Annotated[int, Parameter(help="number of mutated records", validator=Number(gte=1))] = 10_000,
    seed: Annotated[int, Parameter(help="seed of the mutations", validator=Number(gte=0))] = 1,
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="print the report as one JSON object")] = False,
) -> None:
    """Run it and exit with 0 or 1."""
    screen = Console(stderr=True, highlight=False, soft_wrap=True)

    def progress(done: int, took_s: float) -> None:
        left_s = took_s * (records - done) / done
        screen.print(f"{done:,} of {records:,} records, {done / records:.0%}, {left_s:.0f} s left", markup=False)

    folder = Path(tempfile.mkdtemp(prefix="rampwatch-fuzz-"))
    with LocalBroker.start() as broker:
        report = fuzz_worker(broker.address, "fuzz-", folder, records, seed, progress)
    if as_json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        Console(highlight=False, soft_wrap=True).print(_text(report), markup=False)
    if report.faults:
        screen.print(f"the worker's log is in {folder}", markup=False)
    else:
        (folder / "worker.log").unlink()
        (folder / "site.geojson").unlink()
        folder.rmdir()
    sys.exit(1 if report.faults else 0)


def _text(report: Report) -> str:
    lines = [
        f"seed {report.seed}: {report.records:,} mutated records, {report.bytes:,} bytes, {report.took_s:.0f} s",
        f"  consumed {sum(report.consumed.values()):,}, with {report.honest:,} honest pairs and what was forwarded",
        *(f"  {count:>10,}  {outcome}" for outcome, count in report.outcomes.items()),
        f"  {report.dead_letters:>10,}  dead letters",
        f"ms a record, the first and the last quarter: {report.first_ms:.2f}, {report.last_ms:.2f}; "
        f"slowest chunk {report.slowest_ms:.2f}",
        f"faults: {len(report.faults)}",
        *report.faults,
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    app()
