"""The commands for counters: report them, scan for clusters, measure the rate of false alarms."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.table import Table

from streams.cli.files import check_writable, write_whole
from streams.cli.options import AsOf, Config, SiteName, screen, settings_of, site_of, whole
from streams.cli.rejected import report_rejected
from streams.console.screen import part_of, progress, text_console
from streams.core.counters.events import KINDS, Kind
from streams.core.errors import RampwatchError

if TYPE_CHECKING:
    from streams.analysis.sources import SourceTallies

Source = Annotated[
    Path, Parameter(help="archive of inputs, outcomes of a replay, or CSV of activations in Kansas City's format")
]


def counters(
    source: Source,
    *,
    site: SiteName = None,
    as_of: AsOf = None,
    picture: Annotated[Path | None, Parameter(help="draw 28-day counts and the alarm line into this SVG file")] = None,
    kind: Annotated[Kind, Parameter(help="kind of events that the picture shows")] = "shots",
    panels: Annotated[
        int,
        Parameter(
            converter=whole,
            validator=Number(gte=1, lte=40),
            help="panels of the picture: the city, zones with an alarm, then the busiest zones",
        ),
    ] = 6,
    json: Annotated[bool, Parameter(help="print counters, alerts and EARS C2 as one JSON object")] = False,
    config: Config = None,
) -> None:
    """Report the spike counters: counts with intervals, alarms, and EARS C2 for comparison."""
    import msgspec

    from streams.analysis.chart import draw_chart
    from streams.analysis.sources import count_tallies, read_tallies
    from streams.analysis.table import alarm_lines, as_of_text, since_lines, tables, wide
    from streams.cli.moments import moment_ms
    from streams.core.counters.ears import c2_alarms

    settings = settings_of(config, site)
    used_site = site_of(settings)
    as_of_ms = None if as_of is None else moment_ms(as_of, used_site.time_zone, "--as-of")
    if picture is not None:
        check_writable("--picture", picture)
    with progress(screen, "reading") as report:
        tallies = read_tallies(source, used_site, settings.join, settings.partitions, part_of(report, 0.0, 0.9))
        report("counting", 0.9)
        engine = count_tallies(tallies, used_site, settings.counters, as_of_ms)
        counts, alerts, c2 = engine.counters(), engine.alerts(), c2_alarms(engine)
    since = {kind: engine.counted_since(kind) for kind in KINDS}
    _report_source(source, tallies)
    if picture is not None:
        _write(picture, draw_chart(engine, used_site, settings.counters, kind, c2, panels))
    if json:
        printed = {
            "as_of_ms": engine.as_of_ms,
            "counted_since": since,
            "rejected": tallies.rejected,
            "counters": counts,
            "alerts": alerts,
            "ears_c2": c2,
        }
        print(msgspec.json.encode(printed).decode())
        return
    console = text_console(soft_wrap=True)
    console.print(f"as of {as_of_text(engine.as_of_ms, used_site)}")
    for line in since_lines(since):
        console.print(line)
    for table in tables(counts, used_site, c2):
        wide(table, text_console()).print(table)
    for line in alarm_lines(alerts):
        console.print(line)


def scan(
    source: Source,
    *,
    site: SiteName = None,
    as_of: AsOf = None,
    days: Annotated[
        int, Parameter(converter=whole, validator=Number(gte=2, lte=3_660), help="number of days to scan")
    ] = 180,
    cluster_days: Annotated[
        int, Parameter(converter=whole, validator=Number(gte=1, lte=366), help="longest duration of a cluster, in days")
    ] = 28,
    radius_m: Annotated[
        int,
        Parameter(converter=whole, validator=Number(gte=1, lte=100_000), help="largest radius of a cluster, in metres"),
    ] = 2_000,
    permutations: Annotated[
        int,
        Parameter(converter=whole, validator=Number(gte=19, lte=99_999), help="permutations that measure the p-value"),
    ] = 999,
    seed: Annotated[int, Parameter(converter=whole, validator=Number(gte=0), help="seed of the permutations")] = 1,
    json: Annotated[bool, Parameter(help="print clusters as JSON lines")] = False,
    config: Config = None,
) -> None:
    """Scan for clusters of shots in space and time across zone borders (Kulldorff et al. 2005)."""
    import msgspec

    from streams.analysis.scan import ScanPlan, clusters
    from streams.analysis.sources import read_tallies
    from streams.analysis.table import Names, wide
    from streams.cli.moments import moment_ms

    settings = settings_of(config, site)
    used_site = site_of(settings)
    plan = ScanPlan(days=days, cluster_days=cluster_days, radius_m=radius_m, permutations=permutations, seed=seed)
    with progress(screen, "reading") as report:
        tallies = read_tallies(source, used_site, settings.join, settings.partitions, part_of(report, 0.0, 0.2))
        if not tallies.shots:
            raise RampwatchError(f"{source}: has no located shots; name an archive of inputs, not of outcomes")
        as_of_ms = tallies.as_of_ms if as_of is None else moment_ms(as_of, used_site.time_zone, "--as-of")
        found = clusters(tallies.shots, used_site, as_of_ms, plan, part_of(report, 0.2, 1.0))
    _report_source(source, tallies)
    if json:
        for cluster in found:
            print(msgspec.json.encode(cluster).decode())
        return
    names, time_zone = Names(used_site), ZoneInfo(used_site.time_zone)
    table = Table("where", "radius", "since", "days", "shots", "expected", "p", "zones")
    for cluster in found:
        since = datetime.fromtimestamp(cluster.from_ms / 1000, time_zone)
        table.add_row(
            f"{cluster.lat:.3f}, {cluster.lon:.3f}",
            f"{cluster.radius_m:,} m",
            f"{since:%Y-%m-%d}",
            str(cluster.days),
            str(cluster.count),
            f"{cluster.expected:.1f}",
            f"{cluster.p_value:.3f}",
            ", ".join(map(names.of, cluster.zone_ids)),
        )
    wide(table, text_console()).print(table)


def false_alarms(
    source: Source,
    *,
    site: SiteName = None,
    shuffles: Annotated[
        int,
        Parameter(
            converter=whole, validator=Number(gte=1, lte=100_000), help="times to shuffle the days of the source"
        ),
    ] = 200,
    seed: Annotated[int, Parameter(converter=whole, validator=Number(gte=0), help="seed of the shuffles")] = 1,
    kind: Annotated[Kind, Parameter(help="kind of events whose alarms are measured")] = "shots",
    json: Annotated[bool, Parameter(help="print the figures as one JSON object")] = False,
    config: Config = None,
) -> None:
    """Measure how often alarms are false, on shuffled days, over which nothing changes.

    The exit code is 1 if the rate differs from the accepted one by more than chance makes.
    """
    import msgspec

    from streams.analysis.false_alarms import false_alarms as measure
    from streams.analysis.sources import count_tallies, read_tallies

    settings = settings_of(config, site)
    used_site = site_of(settings)
    with progress(screen, "reading") as report:
        tallies = read_tallies(source, used_site, settings.join, settings.partitions, part_of(report, 0.0, 0.1))
        days = count_tallies(tallies, used_site, settings.counters).day_counts(kind)
        if days is None or len(days.counts) < 365:
            raise RampwatchError(f"{source}: has less than a year of {kind} to shuffle; name a longer archive")
        shuffled = part_of(report, 0.1, 1.0)
        measured = measure(days.counts, len(used_site.zones), settings.counters, shuffles, seed, shuffled)
    _report_source(source, tallies)
    if json:
        print(msgspec.json.encode(msgspec.to_builtins(measured) | {"rejected": tallies.rejected}).decode())
    else:
        per_year = f"{measured.per_year:.2f} a year"
        print(f"{measured.alarms:,} false alarms in {measured.years:,.0f} shuffled years, {per_year}")
        by_chance = f"{measured.low_per_year:.2f} to {measured.high_per_year:.2f} by chance"
        print(f"accepted: {measured.accepted_per_year:g} a year, {by_chance}")
    if not measured.as_accepted:
        sys.exit(1)


def _report_source(source: Path, tallies: SourceTallies) -> None:
    """Print what a user should know about a source to standard error."""
    for warning in tallies.warnings:
        screen.print(warning, style="yellow")
    report_rejected(str(source), tallies.rows, tallies.rejected, "none of them is counted")


def _write(file: Path, text: str) -> None:
    write_whole("--picture", file, text.encode())
    screen.print(f"picture written to {file}")
