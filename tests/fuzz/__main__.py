"""The command: ``.venv/bin/python -m tests.fuzz --records 1000000 --seed 1``."""

from __future__ import annotations

import sys
from typing import Annotated

import msgspec
from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.console import Console

from tests.fuzz.run import Report, fuzz

app = App(
    name="fuzz",
    help=(
        "Mutate valid records of all four topics and admit them. Each must be admitted or rejected with a reason, "
        "within a time limit, and the same bytes must get the same verdict."
        "\n\n"
        "The records follow from the seed. Progress goes to standard error, the report to standard output. Exit code "
        "0: no fault. Exit code 1: faults, each with its record."
    ),
)


@app.default
def main(
    *,
    records: Annotated[int, Parameter(help="number of records", validator=Number(gte=1))] = 10_000,
    seed: Annotated[int, Parameter(help="seed of the mutations", validator=Number(gte=0))] = 1,
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="print the report as one JSON object")] = False,
) -> None:
    """Run it and exit with 0 or 1."""
    screen = Console(stderr=True, highlight=False, soft_wrap=True)
    steps = max(1_000, records // 20 // 1_000 * 1_000)

    def progress(done: int, took_s: float) -> None:
        if done % steps == 0:
            left_s = took_s * (records - done) / done
            screen.print(f"{done:,} of {records:,} records, {done / records:.0%}, {left_s:.0f} s left", markup=False)

    report = fuzz(records, seed, progress)
    if as_json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        Console(highlight=False, soft_wrap=True).print(_text(report), markup=False)
    sys.exit(1 if report.faults else 0)


def _text(report: Report) -> str:
    lines = [
        f"seed {report.seed}: {report.records:,} records, {report.bytes:,} bytes, {report.took_s:.0f} s",
        f"largest {report.largest_bytes:,} bytes; slowest {report.slowest_ms:.1f} ms (record {report.slowest_number})",
        *(f"  {count:>10,}  {verdict}" for verdict, count in report.verdicts.items()),
        f"reads also admitted as columns: {report.columns_agree:,}",
        f"faults: {len(report.faults)}",
        *report.faults,
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    app()
