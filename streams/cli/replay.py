"""The commands for archives: ``replay``, ``generate``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.table import Table

from streams.cli.options import AsOf, Config, SiteName, print_table, screen, settings_of, site_of, whole
from streams.core.errors import RampwatchError
from streams.core.events import Outcome
from streams.core.topics import INPUTS, READS
from streams.settings import warnings


def replay(
    archive: Annotated[Path, Parameter(help="folder with one JSONL file per topic, one record per line")],
    *,
    out: Annotated[Path, Parameter(help="folder to write the outcomes to")],
    site_name: SiteName = None,
    config: Config = None,
    expect: Annotated[
        Path | None, Parameter(help="outcomes of another replay to compare with; exit with code 1 if any differs")
    ] = None,
    counters_as_of: AsOf = None,
    json: Annotated[bool, Parameter(help="print the counts of outcomes as JSON")] = False,
) -> None:
    """Replay an archive through the engine, without a broker, and write its outcomes."""
    import msgspec
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from streams.cli.moments import moment_ms
    from streams.replay import archive as archives
    from streams.replay.compare import differences
    from streams.replay.run import CounterOptions
    from streams.replay.run import replay as run_replay
    from streams.resources.calibration import load_calibration

    if expect is not None and expect.resolve() == out.resolve():
        raise RampwatchError(f"--expect {expect}: same folder as --out; name the outcomes of another replay")
    settings = settings_of(config, site_name)
    site = site_of(settings)
    for warning in warnings(settings):
        screen.print(warning, style="yellow", markup=False)
    as_of_ms = None if counters_as_of is None else moment_ms(counters_as_of, site.time_zone, "--counters-as-of")
    counter_options = CounterOptions(settings.counters, as_of_ms)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        task = progress.add_task("reading the archive")
        records = archives.read_archive(archive, settings.partitions)

        def report(done: int) -> None:
            progress.update(task, description=f"{done:,} of {len(records):,} records")

        rules, scores = settings.join, load_calibration(settings.calibration)
        outcomes = run_replay(records, site, rules, out, settings.partitions, report, counter_options, scores)
    if json:
        print(msgspec.json.encode(outcomes).decode())
    else:
        _print_outcomes(outcomes, out)
    reads = outcomes[READS]
    if reads["dead"] and reads["dead"] == reads.total():
        screen.print(
            f"all reads were rejected; see {out}/dead-letters.jsonl. Is {site.name} the site of this archive?",
            style="yellow",
            markup=False,
        )
    if expect is not None:
        differing = differences(out, expect)
        for difference in differing:
            print(difference, file=sys.stderr if json else sys.stdout)  # standard output carries only the JSON
        screen.print(f"differences: {len(differing)}" if differing else "no differences")
        if differing:
            sys.exit(1)


def _print_outcomes(outcomes: Mapping[str, Mapping[Outcome, int]], out: Path) -> None:
    kinds: tuple[Outcome, ...] = ("used", "duplicate", "superseded", "conflict", "forwarded", "late", "dead")
    table = Table("topic", *kinds, "consumed")
    for topic in INPUTS:
        counts = outcomes[topic]
        table.add_row(topic, *(f"{counts.get(kind, 0):,}" for kind in kinds), f"{sum(counts.values()):,}")
    print_table(table)
    screen.print(f"incidents, dead letters, counters, alerts and outcomes written to {out}")


def generate(
    out: Annotated[Path, Parameter(help="folder to write the archive to")],
    *,
    site_name: SiteName = None,
    seed: Annotated[int, Parameter(converter=whole, help="random seed; the same seed gives the same archive")] = 1,
    days: Annotated[
        int | None,
        Parameter(
            converter=whole,
            validator=Number(gte=1, lte=366),
            help="number of days to simulate; default: 1, or with --shots all days of that file",
        ),
    ] = None,
    begin: Annotated[str, Parameter(help="local date of the first day, without --shots")] = "2026-06-05",
    shots: Annotated[Path | None, Parameter(help="CSV of real activations to simulate cars around")] = None,
    config: Config = None,
) -> None:
    """Generate an archive of a simulated city, with the ground truth in truth.jsonl."""
    from streams.replay.archive import write_archive
    from streams.simulate import scenarios

    site = site_of(settings_of(config, site_name))
    with screen.status("simulating"):
        if shots is not None:
            scenario = scenarios.around_shots(site, shots, seed, days)
        else:
            scenario = scenarios.days(site, seed, days or 1, scenarios.local_midnight(site, begin))
        written = write_archive(out, scenarios.rows(scenario), {"truth": scenario.city.truth})
    screen.print(f"{scenario.about}\n{written:,} records written to {out}", markup=False)
