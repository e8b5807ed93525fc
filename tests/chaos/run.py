"""One chaos run from the first worker to the verdict: load, faults, rest, judgement."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from streams.core.rules import JoinRules
from streams.kafka import topics
from streams.local_broker.broker import LocalBroker
from streams.settings import Settings
from tests.chaos.fleet import Fleet, Member
from tests.chaos.judge import judgement_on
from tests.chaos.load import ground, join_settings, load
from tests.chaos.log_reader import read_log, until_settled
from tests.chaos.publisher import Publisher
from tests.chaos.raw_publisher import RawPublisher
from tests.chaos.report import Plan, Report
from tests.chaos.sampler import Sampler
from tests.chaos.schedule import SESSION_TIMEOUT_MS, Fault

Progress = Callable[[str], None]

# Longer than any transaction, commit interval or query of end offsets takes.
QUIET_S = 5.0
SETTLED_S_MAX = 150.0


async def run(plan: Plan, folder: Path, progress: Progress) -> Report:
    """Run it and stop every process; ``folder`` receives the site and the workers' logs."""
    # aiokafka logs a line for every attempt while the broker is away
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    began_s = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "site.geojson").write_text(json.dumps(ground().site()), "utf-8")
    broker = await asyncio.to_thread(LocalBroker.start, folder / "kafka")
    try:
        settings = Settings(
            broker=broker.address,
            site=str(folder / "site.geojson"),
            partitions=plan.partitions,
            session_timeout_ms=SESSION_TIMEOUT_MS,
            join=msgspec.convert(join_settings(plan.minute_ms), JoinRules),
        )
        await topics.create(settings)
        report = await _Run(plan, settings, broker, folder, progress).report()
    finally:
        await asyncio.to_thread(broker.stop)
    report.took_s = round(time.monotonic() - began_s, 1)
    return report


class _Run:
    def __init__(self, plan: Plan, settings: Settings, broker: LocalBroker, folder: Path, progress: Progress) -> None:
        self.plan = plan
        self.settings = settings
        self.broker = broker
        self.progress = progress
        self.fleet = Fleet(settings, folder, plan.workers, self.log)
        self.begin_s = 0.0
        self.done: list[str] = []
        self.broker_lock = asyncio.Lock()
        self.sampler = Sampler(self.fleet, plan.gaps)
        self.raw = RawPublisher(settings, plan.gaps)

    def log(self, text: str) -> None:
        now_s = asyncio.get_running_loop().time() - self.begin_s if self.begin_s else 0.0
        self.progress(f"{now_s:6.1f} s  {text}")

    async def report(self) -> Report:
        async with self.fleet:
            await self.fleet.until_up()
            self.log(f"{self.plan.workers} workers are up; the load begins")
            publisher = await self.load_and_faults()
            self.log(f"{len(publisher.acknowledged):,} records acknowledged; waiting for everything to be published")
            unsettled = await until_settled(self.settings, QUIET_S, SETTLED_S_MAX)
            self.log(f"not settled: {unsettled}" if unsettled else "all inputs are committed, no more is published")
        self.log("reading all topics back, and judging")
        log = await read_log(self.settings, self.broker)
        present = {(row.topic, row.partition, row.offset) for rows in log.inputs.values() for row in rows}
        judgement = await asyncio.to_thread(
            judgement_on, log, ground().site(), msgspec.to_builtins(self.settings.join), self.plan.partitions
        )
        return Report(
            plan=self.plan,
            done=self.done,
            judgement=judgement,
            unsettled=unsettled,
            broker_lost=len(publisher.acknowledged - present),
            unexpected_exits=self.fleet.unexpected_exits,
            slow_exits=self.fleet.slow_exits,
            usages=list(self.sampler.usages.values()),
            counts={
                **judgement.counts,
                "workers": self.fleet.started,
                "in doubt": publisher.in_doubt,
                "header names that are not UTF-8": self.raw.published,
                "longest time without a worker, s": round(self.fleet.longest_without_s),
            },
        )

    async def load_and_faults(self) -> Publisher:
        planned, for_s = self.plan.schedule, self.plan.load_s
        self.begin_s = asyncio.get_running_loop().time()
        begin_ms = round(time.time() * 1000)
        records = load(self.plan.seed, begin_ms, round(for_s * 1000), self.plan.rate_per_s, self.plan.minute_ms)
        if self.plan.everything:
            records = self.plan.trials.added_to(records, begin_ms)
        publisher = Publisher(self.settings, records, self.log)
        sampling = asyncio.ensure_future(self.sampler.run(self.begin_s))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(publisher.publish(self.begin_s))
            if self.plan.everything:
                tasks.create_task(self.raw.run(self.begin_s, self.begin_s + for_s))
            for number, fault in enumerate(planned, 1):
                tasks.create_task(self.on_schedule(number, fault))
        sampling.cancel()
        return publisher

    # ------------------------------------------------------------------ faults

    async def on_schedule(self, number: int, fault: Fault) -> None:
        await asyncio.sleep(self.begin_s + fault.at_s - asyncio.get_running_loop().time())
        if fault.kind.startswith("broker"):
            async with self.broker_lock:
                await self.broker_fault(number, fault)
        else:
            await self.worker_fault(number, fault)

    def note(self, number: int, fault: Fault, victim: str) -> None:
        duration = f" for {fault.for_s:.1f} s" if fault.for_s else ""
        self.done.append(f"{fault.kind} {victim}{duration}")
        self.log(f"fault {number} of {len(self.plan.schedule)}: {self.done[-1]}")

    async def broker_fault(self, number: int, fault: Fault) -> None:
        self.note(number, fault, f"pid {self.broker.pid}")
        if fault.kind == "broker killed":
            await asyncio.to_thread(self.broker.kill)
            await asyncio.sleep(fault.for_s)
            await asyncio.to_thread(self.broker.restart)
            self.log("the broker is back")
            return
        if fault.kind == "broker restarted":
            await asyncio.to_thread(self.broker.restart)
            self.log("the broker is back")
            return
        os.kill(self.broker.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(fault.for_s)
        finally:
            with suppress(ProcessLookupError):
                os.kill(self.broker.pid, signal.SIGCONT)

    def victims(self, kind: str) -> list[Member]:
        return self.fleet.victims(kind) if self.plan.everything else self.fleet.awake()

    async def worker_fault(self, number: int, fault: Fault) -> None:
        fleet = self.fleet
        if fault.kind == "join":
            fleet.wanted += 1
            self.note(number, fault, f"worker {fleet.started + 1}")
            return
        while not (victims := self.victims(fault.kind)):
            await asyncio.sleep(0.1)
        victim = victims[fault.victim % len(victims)]
        self.note(number, fault, f"{victim.name} (pid {victim.pid})")
        if fault.kind == "kill":
            fleet.kill(victim)
        elif fault.kind == "pause":
            await fleet.pause(victim, fault.for_s)
        else:
            fleet.wanted -= fault.kind == "leave"
            fleet.terminate(victim)
