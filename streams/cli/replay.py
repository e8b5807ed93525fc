"""The commands for archives: ``replay``, ``generate``."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.table import Table

from streams.cli.options import AsOf, Config, SiteName, print_table, screen, settings_of, site_of, whole
from streams.cli.rejected import report_rejected
from streams.console.screen import counted, part_of, progress
from streams.core.errors import RampwatchError
from streams.core.events import Outcome
from streams.core.site import Site
from streams.core.topics import INPUTS
from streams.settings import Settings, warnings

if TYPE_CHECKING:
    from streams.replay.compare import Contents
    from streams.replay.inputs import Inputs
    from streams.replay.outcomes import Outcomes
    from streams.replay.run import CounterOptions


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

    from streams.cli.moments import moment_ms
    from streams.replay.compare import differences_from
    from streams.replay.folder import check_target
    from streams.replay.manifest import read_manifest
    from streams.replay.run import CounterOptions

    settings = settings_of(config, site_name)
    site = site_of(settings)
    for warning in warnings(settings):
        screen.print(warning, style="yellow")
    as_of_ms = None if counters_as_of is None else moment_ms(counters_as_of, site.time_zone, "--counters-as-of")
    # everything that can be wrong with the folders is found before the work, not after it
    expected = None if expect is None else _expected(expect, archive, out, site)
    check_target(out, "outcomes")
    outcomes, inputs = _replayed(archive, out, site, settings, CounterOptions(settings.counters, as_of_ms))
    manifest = read_manifest(out)
    assert manifest is not None
    for warning in inputs.warnings:
        screen.print(warning, style="yellow")
    report_rejected(str(archive), len(inputs.records), _by_reason(manifest.rejected), f"see {out}/dead-letters.jsonl")
    if json:
        print(msgspec.json.encode({**outcomes, "rejected": manifest.rejected}).decode())
    else:
        _print_outcomes(outcomes, out)
    if expected is not None:
        differing = differences_from(out, expected)
        for difference in differing:
            print(difference, file=sys.stderr if json else sys.stdout)  # standard output carries only the JSON
        screen.print(f"differences: {len(differing)}" if differing else "no differences")
        if differing:
            sys.exit(1)


def _replayed(
    archive: Path, out: Path, site: Site, settings: Settings, options: CounterOptions
) -> tuple[Outcomes, Inputs]:
    """Read the archive and replay it, with progress."""
    from streams.replay.archive import archive_bytes
    from streams.replay.inputs import read_inputs
    from streams.replay.run import replay as run_replay
    from streams.resources.calibration import load_calibration

    rules, partitions, calibration = settings.join, settings.partitions, load_calibration(settings.calibration)
    with progress(screen, "reading the archive") as report:
        read = counted(part_of(report, 0.0, 0.3), "read", archive_bytes(archive), "bytes")
        inputs = read_inputs(archive, site, rules, partitions, read)
        joined = counted(part_of(report, 0.3, 1.0), "joined", len(inputs.records), "records")
        return run_replay(inputs.records, site, rules, out, partitions, joined, options, calibration), inputs


def _expected(expect: Path, archive: Path, out: Path, site: Site) -> Contents:
    """Read the outcomes to compare with; raises `RampwatchError` if they are none of this site."""
    from streams.replay.compare import read_contents
    from streams.replay.manifest import check_manifest, read_manifest

    for other, name in ((out, "--out"), (archive, "the archive")):
        if expect.resolve() == other.resolve():
            raise RampwatchError(f"--expect {expect}: same folder as {name}; name the outcomes of another replay")
    manifest = read_manifest(expect)
    if manifest is not None:
        check_manifest(expect, manifest, "outcomes", site)
    return read_contents(expect)


def _by_reason(rejected: Mapping[str, Mapping[str, int]]) -> Counter[str]:
    return sum((Counter(counts) for counts in rejected.values()), Counter())


def _print_outcomes(outcomes: Mapping[str, Mapping[Outcome, int]], out: Path) -> None:
    kinds: tuple[Outcome, ...] = get_args(Outcome)
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
    from streams.replay.folder import check_target
    from streams.simulate import scenarios

    site = site_of(settings_of(config, site_name))
    check_target(out, "inputs")
    with progress(screen, "simulating") as report:
        simulated = part_of(report, 0.0, 0.6)
        if shots is not None:
            scenario = scenarios.around_shots(site, shots, seed, days, simulated)
        else:
            scenario = scenarios.days(site, seed, days or 1, scenarios.local_midnight(site, begin), simulated)
        step = counted(part_of(report, 0.6, 1.0), "written", len(scenario.city.records), "records")
        written = write_archive(out, scenarios.rows(scenario), {"truth": scenario.city.truth}, site, step)
    screen.print(f"{scenario.about}\n{written:,} records written to {out}")
