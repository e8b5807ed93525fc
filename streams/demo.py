"""The demo: plays a scenario at speed through Kafka and a worker, or in-process."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
from aiokafka import AIOKafkaConsumer
from msgspec import Struct

from streams.analysis.table import as_of_text, latest_ms, tables, wide
from streams.console.screen import text_console
from streams.console.terminal import IncidentText
from streams.core.codec import ENCODER
from streams.core.counters.ears import C2Alarm, c2_alarms
from streams.core.counters.engine import CounterEngine
from streams.core.counters.events import SpikeCounter
from streams.core.errors import RampwatchError
from streams.core.events import LinkedIncident, Record
from streams.core.topics import COUNTERS, INCIDENTS
from streams.kafka.acls import DEMO_PREFIX
from streams.kafka.connection import access_errors_explained, connection, start_client
from streams.local_broker.broker import BrokerUnavailable, LocalBroker
from streams.local_broker.guard import GuardedProcess
from streams.replay.player import Pace, Playable, play
from streams.replay.run import new_pipeline
from streams.resources.calibration import load_calibration
from streams.settings import Settings, as_environment
from streams.simulate.scenarios import Scenario, counter_rules_for, history_rows, rows

PLAYED_IN_S: Final = 180.0
"""How long a whole scenario takes by default."""
_ROWS: Final = 4
"""Rows of each table of counters: the city and its busiest zones."""
_QUIET_S: Final = 3.0
"""After the last record: with no output for this long, the worker is done."""

TOO_EARLY: Final = "stopped before the first record: the time was over while preparing; give --for more seconds"
_CLEAN_UP_S_MAX: Final = 5.0
"""How long to try to delete the demo's topics; a broker that does not answer keeps them."""
_YIELD_EVERY: Final = 200
"""Records of an evening in this process after which the event loop looks at the time."""

Report = Callable[[str], None]


class DemoPlan(Struct, frozen=True, kw_only=True):
    """When to end, how fast to play (None: all of it in three minutes), and how to print."""

    deadline_s: float | None = None
    """The time of ``time.monotonic`` at which to end, wherever the demo is; None: never."""
    speed: float | None = None
    json: bool = False
    broker: bool = True


class Printer:
    """Prints incidents as they arrive, and keeps what the summary needs."""

    def __init__(self, scenario: Scenario, as_json: bool) -> None:
        self._text = IncidentText(scenario.site)
        self._screen = text_console(soft_wrap=True)
        self._json = as_json
        self._last: dict[str, LinkedIncident] = {}
        self.counters: list[SpikeCounter] = []
        """Shown at the end."""
        self.c2: list[C2Alarm] = []
        self.playing = False

    def begin(self, how: str, report: Report) -> None:
        """Report how the scenario is played, and what the reader should bear in mind."""
        self.playing = True
        report(how)
        if not self._json:
            report("each incident is a lead, not a verdict: confirm it before anyone acts on it")

    def show(self, incident: LinkedIncident) -> None:
        """Print one revision of an incident."""
        self._last[incident.incident_id] = incident
        if self._json:
            sys.stdout.write(ENCODER.encode(incident).decode() + "\n")
            sys.stdout.flush()
        else:
            self._screen.print(self._text.text(incident))

    def show_counters(self, scenario: Scenario) -> None:
        """Print the counters, for people."""
        if not self.counters or self._json:
            return
        self._screen.print(f"\ncounters as of {as_of_text(latest_ms(self.counters), scenario.site)}")
        if scenario.history:
            self._screen.print(
                "the earlier shots are invented; the two year-to-date sums are Hartford's own",
                style="dim",
            )
        for table in tables(self.counters, scenario.site, self.c2, _ROWS):
            wide(table, text_console()).print(table)

    def summary(self) -> str:
        """Return how many incidents there were, by their present strength."""
        now = Counter("retracted" if i.status == "retracted" else i.strength for i in self._last.values())
        counts = [f"{now[name]} {name}" for name in ("high", "medium", "low", "retracted") if now[name]]
        many = len(self._last)
        return f"{many} linked incident{'s' * (many != 1)}" + (f": {', '.join(counts)}" if counts else "")


async def demo(scenario: Scenario, plan: DemoPlan, settings: Settings, report: Report) -> None:
    """Play a scenario until it ends, time is up, or SIGINT or SIGTERM arrives.

    Leaves nothing running.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    report(scenario.about)
    printer = Printer(scenario, plan.json)
    playing = asyncio.ensure_future(_play(scenario, plan, settings, printer, report))
    stopping = asyncio.ensure_future(stop.wait())
    left_s = None if plan.deadline_s is None else max(0.0, plan.deadline_s - time.monotonic())
    await asyncio.wait({playing, stopping}, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
    time_over = not stopping.done()
    stopping.cancel()
    if not playing.done():
        report("the time is over" if time_over else "stopping")
        playing.cancel()
    with suppress(asyncio.CancelledError):
        await playing
    printer.show_counters(scenario)
    early = TOO_EARLY if time_over else "stopped before the first record"
    report(printer.summary() if printer.playing else early)


async def _play(scenario: Scenario, plan: DemoPlan, settings: Settings, printer: Printer, report: Report) -> None:
    records = [Playable(*row) for row in rows(scenario)]
    speed = plan.speed or max(1.0, (records[-1].stamp_ms - scenario.playback_from_ms) / 1000 / PLAYED_IN_S)
    if not plan.broker:
        await _in_process(scenario, settings, records, speed, printer, report)
        return
    async with AsyncExitStack() as stack:
        try:
            address = await _broker(stack, settings, report)
        except BrokerUnavailable as error:
            report(f"{error}\nno Kafka available: running the same engine in this process instead")
            await _in_process(scenario, settings, records, speed, printer, report)
            return
        prefix = DEMO_PREFIX + f"{secrets.token_hex(4)}-"
        counters = counter_rules_for(scenario, settings.counters)
        settings = msgspec.structs.replace(settings, broker=address, prefix=prefix, counters=counters)
        await stack.enter_async_context(_topics(settings, report))
        worker = await stack.enter_async_context(_worker(settings))
        await _through_kafka(scenario, settings, worker, records, speed, printer, report)


def _pace_text(scenario: Scenario, speed: float) -> str:
    begins = datetime.fromtimestamp(scenario.playback_from_ms / 1000, ZoneInfo(scenario.site.time_zone))
    return f"from {begins:%A %H:%M}, at {speed:,.0f} times real time; Ctrl-C ends it"


# ---------------------------------------------------------------------- in this process


async def _in_process(
    scenario: Scenario, settings: Settings, records: Iterable[Playable], speed: float, printer: Printer, report: Report
) -> None:
    pipeline = new_pipeline(scenario.site, settings.join, load_calibration(settings.calibration))
    counters = CounterEngine(scenario.site, counter_rules_for(scenario, settings.counters))
    for number, row in enumerate(map(Playable, *zip(*history_rows(scenario), strict=True)) if scenario.history else ()):
        if number % _YIELD_EVERY == 0:
            await asyncio.sleep(0)
        for tally in pipeline.apply(Record(row.topic, 0, -1, row.stamp_ms, row.value)).tallies:
            counters.apply(tally)
    printer.begin(f"in this process, {_pace_text(scenario, speed)}", report)
    pace = Pace(speed, scenario.playback_from_ms)
    try:
        for offset, record in enumerate(records):
            await pace.until_due(record.stamp_ms)
            if offset % _YIELD_EVERY == 0:
                await asyncio.sleep(0)
            effects = pipeline.apply(Record(record.topic, 0, offset, record.stamp_ms, record.value))
            for tally in effects.tallies:
                counters.apply(tally)
            counters.advance(pipeline.last_event_ms + 1)
            for incident in effects.incidents:
                printer.show(incident)
    finally:
        printer.counters, printer.c2 = counters.counters(), c2_alarms(counters)


# ---------------------------------------------------------------------- through Kafka


async def _broker(stack: AsyncExitStack, settings: Settings, report: Report) -> str:
    """Return a broker's address: the configured one, or one started for the demo."""
    named = "RAMPWATCH_BROKER" in os.environ or settings.broker != Settings().broker
    if named or settings.security_protocol != Settings().security_protocol:
        return settings.broker
    given_up = threading.Event()

    def check_cancelled() -> None:
        if given_up.is_set():
            raise BrokerUnavailable("not needed any more")

    starting = asyncio.ensure_future(asyncio.to_thread(LocalBroker.start, None, None, report, check_cancelled))
    try:
        broker = await asyncio.shield(starting)
    except asyncio.CancelledError:
        given_up.set()
        with suppress(BrokerUnavailable):
            (await starting).stop()
        raise
    stack.callback(broker.stop)
    return broker.address


@asynccontextmanager
async def _topics(settings: Settings, report: Report) -> AsyncIterator[None]:
    """Create the demo's own topics, and delete them afterwards."""
    from streams.kafka import topics

    async def delete() -> None:
        try:
            await asyncio.wait_for(topics.delete(settings), _CLEAN_UP_S_MAX)
        except (TimeoutError, RampwatchError):
            report(f"the broker did not delete the demo's topics; delete those that begin with {settings.prefix}")

    try:
        await topics.create(settings)
    except asyncio.CancelledError:  # some may have been created
        await delete()
        raise
    try:
        yield
    finally:
        await delete()


class _Worker:
    """A real worker in its own process, which ends with this one whatever happens."""

    def __init__(self, process: GuardedProcess, log: Path) -> None:
        self._process = process
        self._log = log

    def check(self) -> None:
        """Raise `RampwatchError` with the end of its log if it has ended."""
        if self._process.ended.is_set():
            log = self._log.read_text("utf-8", "replace")[-2000:].strip()
            raise RampwatchError(f"the worker ended with code {self._process.exit_code}; its log ends with:\n{log}")

    async def until_up(self) -> None:
        """Wait until it has taken over its partitions; raises `RampwatchError` if it ends first."""
        while b"worker up" not in self._log.read_bytes():
            self.check()
            await asyncio.sleep(0.1)


@asynccontextmanager
async def _worker(settings: Settings) -> AsyncIterator[_Worker]:
    with tempfile.TemporaryDirectory(prefix="rampwatch-demo-") as folder:
        log = Path(folder) / "worker.log"
        command = [sys.executable, "-m", "streams.cli", "worker"]
        environment = {**as_environment(settings), "PYTHONPATH": os.pathsep.join(sys.path)}
        process = await asyncio.to_thread(GuardedProcess, command, environment, Path.cwd(), log, False)
        try:
            yield _Worker(process, log)
        finally:
            await asyncio.to_thread(process.close, False)


async def _through_kafka(
    scenario: Scenario,
    settings: Settings,
    worker: _Worker,
    records: list[Playable],
    speed: float,
    printer: Printer,
    report: Report,
) -> None:
    consumer = AIOKafkaConsumer(
        settings.prefix + INCIDENTS,
        settings.prefix + COUNTERS,
        **connection(settings),
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    counters: dict[bytes, SpikeCounter] = {}
    printer.begin(f"through Kafka at {settings.broker}, {_pace_text(scenario, speed)}", report)
    await worker.until_up()
    before = [Playable(*row) for row in history_rows(scenario)]
    player = asyncio.ensure_future(play([*before, *records], settings, speed, scenario.playback_from_ms))
    try:
        await start_client(consumer, settings)
        quiet_since_s = asyncio.get_running_loop().time()
        while True:
            with access_errors_explained(settings):
                rows = await consumer.getmany(timeout_ms=200)
            for row in (row for batch in rows.values() for row in batch):
                if row.topic.endswith(INCIDENTS):
                    printer.show(msgspec.json.decode(row.value, type=LinkedIncident))
                else:
                    counters[row.key] = msgspec.json.decode(row.value, type=SpikeCounter)
            worker.check()
            now_s = asyncio.get_running_loop().time()
            if rows or not player.done():
                quiet_since_s = now_s
            if now_s - quiet_since_s > _QUIET_S:
                report(f"{player.result() - len(before):,} records played")
                return
    finally:
        printer.counters = list(counters.values())
        player.cancel()
        await asyncio.wait({player})
        await consumer.stop()
