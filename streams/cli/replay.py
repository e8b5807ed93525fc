"""Commands around archives: ``replay``, ``generate``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.table import Table

from streams.cli.options import AsOf, Config, SiteName, print_whole, screen, settings_of, site_of, whole
from streams.core.errors import RampwatchError
from streams.core.events import INPUTS, READS, Outcome
from streams.settings import cautions


def replay(
    archive: Annotated[Path, Parameter(help="folder with one file a topic, one JSON record a line")],
    *,
    out: Annotated[Path, Parameter(help="folder for the archive of outcomes")],
    site: SiteName = None,
    config: Config = None,
    expect: Annotated[
        Path | None, Parameter(help="an archive of outcomes to compare with; exit code 1 if any differs")
    ] = None,
    counters_as_of: AsOf = None,
    json: Annotated[bool, Parameter(help="print the outcomes as JSON")] = False,
) -> None:
    """Fold an archive through the engine in-process, without a broker, into an archive of outcomes."""
    import msgspec
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from streams.cli.moments import moment_ms
    from streams.replay import archive as archives
    from streams.replay.compare import differences
    from streams.replay.run import CounterOptions
    from streams.replay.run import replay as run_replay

    if expect is not None and expect.resolve() == out.resolve():
        raise RampwatchError(f"--expect {expect}: is what this replay writes; name the outcomes of another replay")
    settings = settings_of(config, site)
    place = site_of(settings)
    for caution in cautions(settings):
        screen.print(caution, style="yellow", markup=False)
    as_of_ms = None if counters_as_of is None else moment_ms(counters_as_of, place.time_zone)
    counting = CounterOptions(settings.counters, as_of_ms)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        task = progress.add_task("reading the archive")
        records = archives.read_archive(archive, settings.partitions)

        def say(done: int) -> None:
            progress.update(task, description=f"{done:,} of {len(records):,} records")

        outcomes = run_replay(records, place, settings.join, out, settings.partitions, say, counting)
    if json:
        print(msgspec.json.encode(outcomes).decode())
    else:
        _print_outcomes(outcomes, out)
    reads = outcomes[READS]
    if reads["dead"] and reads["dead"] == reads.total():
        screen.print(
            f"no read could be used; {out}/dead-letters.jsonl says why. Is {place.name} the site of this archive?",
            style="yellow",
            markup=False,
        )
    if expect is not None:
        found = differences(out, expect)
        for sentence in found:
            print(sentence, file=sys.stderr if json else sys.stdout)  # JSON stays alone on its stream
        screen.print(f"differences: {len(found)}" if found else "the same answers")
        if found:
            sys.exit(1)


def _print_outcomes(outcomes: Mapping[str, Mapping[Outcome, int]], out: Path) -> None:
    kinds: tuple[Outcome, ...] = ("used", "duplicate", "superseded", "conflict", "forwarded", "late", "dead")
    table = Table("topic", *kinds, "consumed")
    for topic in INPUTS:
        counts = outcomes[topic]
        table.add_row(topic, *(f"{counts.get(kind, 0):,}" for kind in kinds), f"{sum(counts.values()):,}")
    print_whole(table)
    screen.print(f"incidents, dead letters, counters, alerts and outcomes: {out}")


def generate(
    out: Annotated[Path, Parameter(help="folder for the archive")],
    *,
    site: SiteName = None,
    seed: Annotated[int, Parameter(converter=whole, help="the same seed gives the same archive")] = 1,
    days: Annotated[
        int | None,
        Parameter(
            converter=whole, validator=Number(gte=1, lte=366), help="how many to make: 1, or with --shots all it has"
        ),
    ] = None,
    begin: Annotated[str, Parameter(help="local date of the first day")] = "2026-06-05",
    shots: Annotated[Path | None, Parameter(help="real gunshots (CSV of activations), with simulated cars")] = None,
    config: Config = None,
) -> None:
    """Make an archive of a simulated city, with the truth beside it in truth.jsonl."""
    from streams.replay.archive import write_archive
    from streams.simulate import scenarios

    place = site_of(settings_of(config, site))
    with screen.status("simulating"):
        if shots is not None:
            scenario = scenarios.around_shots(place, shots, seed, days)
        else:
            scenario = scenarios.days(place, seed, days or 1, scenarios.local_midnight(place, begin))
        written = write_archive(out, scenarios.rows(scenario), {"truth": scenario.city.truth})
    screen.print(f"{scenario.about}\n{written:,} records: {out}", markup=False)
