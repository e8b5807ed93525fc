"""The commands around the counters: report them, scan for clusters, measure how often alarms are false."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.table import Table

from streams.cli.options import AsOf, Config, SiteName, screen, settings_of, site_of, whole
from streams.core.counters.events import Kind
from streams.core.errors import RampwatchError

Source = Annotated[
    Path, Parameter(help="an archive, the outcomes of a replay, or a CSV of activations (Kansas City's format)")
]


def counters(
    source: Source,
    *,
    site: SiteName = None,
    as_of: AsOf = None,
    picture: Annotated[Path | None, Parameter(help="SVG file to draw 28-day counts and the alarm line into")] = None,
    kind: Annotated[Kind, Parameter(help="what the picture shows")] = "shots",
    panels: Annotated[
        int,
        Parameter(
            converter=whole,
            validator=Number(gte=1, lte=40),
            help="of the picture: the city, zones that alarm, busy ones",
        ),
    ] = 6,
    json: Annotated[bool, Parameter(help="print counters, alerts and EARS C2 as one JSON object")] = False,
    config: Config = None,
) -> None:
    """Report the spike counters: counts with intervals, alarms with their sentences, EARS C2 beside them."""
    import msgspec

    from streams.analysis.chart import picture as drawn
    from streams.analysis.sources import counted, folded
    from streams.analysis.table import alarms, tables, wide
    from streams.analysis.table import as_of as as_of_told
    from streams.cli.moments import moment_ms
    from streams.core.counters.ears import c2_alarms

    settings = settings_of(config, site)
    place = site_of(settings)
    until_ms = None if as_of is None else moment_ms(as_of, place.time_zone)
    with screen.status("counting"):
        engine = folded(counted(source, place, settings.join, settings.partitions), place, settings.counters, until_ms)
        counts, alerts, c2 = engine.counters(), engine.alerts(), c2_alarms(engine)
    if picture is not None:
        _write(picture, drawn(engine, place, settings.counters, kind, c2, panels))
    if json:
        told = {"as_of_ms": engine.as_of_ms, "counters": counts, "alerts": alerts, "ears_c2": c2}
        print(msgspec.json.encode(told).decode())
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"as of {as_of_told(engine.as_of_ms, place)}", markup=False)
    for table in tables(counts, place, c2):
        wide(table, Console(highlight=False)).print(table)
    for line in alarms(alerts):
        console.print(line, markup=False)


def scan(
    source: Source,
    *,
    site: SiteName = None,
    as_of: AsOf = None,
    days: Annotated[int, Parameter(converter=whole, validator=Number(gte=2, lte=3_660), help="looked back")] = 180,
    cluster_days: Annotated[
        int, Parameter(converter=whole, validator=Number(gte=1, lte=366), help="that a cluster lasts at the most")
    ] = 28,
    radius_m: Annotated[
        int, Parameter(converter=whole, validator=Number(gte=1, lte=100_000), help="of a cluster at the most")
    ] = 2_000,
    permutations: Annotated[
        int, Parameter(converter=whole, validator=Number(gte=19, lte=99_999), help="that the p-value is measured on")
    ] = 999,
    seed: Annotated[int, Parameter(converter=whole, validator=Number(gte=0), help="of those")] = 1,
    json: Annotated[bool, Parameter(help="print clusters as JSON lines")] = False,
    config: Config = None,
) -> None:
    """Look for clusters of shots in space and time that cross zone borders (Kulldorff's permutation scan)."""
    import msgspec

    from streams.analysis.scan import ScanPlan, clusters
    from streams.analysis.sources import counted
    from streams.analysis.table import Names, wide
    from streams.cli.moments import moment_ms

    settings = settings_of(config, site)
    place = site_of(settings)
    plan = ScanPlan(days=days, cluster_days=cluster_days, radius_m=radius_m, permutations=permutations, seed=seed)
    with screen.status("reading") as status:
        read = counted(source, place, settings.join, settings.partitions)
        if not read.shots:
            raise RampwatchError(f"{source}: tells no place of any shot; name the archive that was replayed")
        until_ms = read.as_of_ms if as_of is None else moment_ms(as_of, place.time_zone)
        found = clusters(read.shots, place, until_ms, plan, status.update)
    if json:
        for cluster in found:
            print(msgspec.json.encode(cluster).decode())
        return
    names, clock = Names(place), ZoneInfo(place.time_zone)
    table = Table("where", "radius", "since", "days", "shots", "expected", "p", "zones")
    for cluster in found:
        since = datetime.fromtimestamp(cluster.from_ms / 1000, clock)
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
    wide(table, Console(highlight=False)).print(table)


def false_alarms(
    source: Source,
    *,
    site: SiteName = None,
    shuffles: Annotated[
        int, Parameter(converter=whole, validator=Number(gte=1, lte=100_000), help="of the days of the source")
    ] = 200,
    seed: Annotated[int, Parameter(converter=whole, validator=Number(gte=0), help="of those")] = 1,
    kind: Annotated[Kind, Parameter(help="of what")] = "shots",
    json: Annotated[bool, Parameter(help="print the figures as one JSON object")] = False,
    config: Config = None,
) -> None:
    """Measure how often alarms are false: shuffle the days, in which nothing changes then; exit code 1 if too often."""
    import msgspec

    from streams.analysis.false_alarms import false_alarms as measured
    from streams.analysis.sources import counted, folded

    settings = settings_of(config, site)
    place = site_of(settings)
    with screen.status("counting") as status:
        engine = folded(counted(source, place, settings.join, settings.partitions), place, settings.counters)
        days = engine.day_counts(kind)
        if days is None or len(days.counts) < 365:
            raise RampwatchError(f"{source}: less than a year of {kind} cannot be shuffled; name a longer archive")
        found = measured(days.counts, len(place.zones), settings.counters, shuffles, seed, status.update)
    if json:
        print(msgspec.json.encode(found).decode())
    else:
        print(f"{found.alarms:,} false alarms in {found.years:,.0f} shuffled years, {found.per_year:.2f} a year")
        by_chance = f"{found.low_per_year:.2f} to {found.high_per_year:.2f} by chance"
        print(f"accepted: {found.accepted_per_year:g} a year, {by_chance}")
    if not found.as_accepted:
        sys.exit(1)


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RampwatchError(f"{file}: cannot be written ({error.strerror}); name another file") from None
    screen.print(f"drawn: {file}")
