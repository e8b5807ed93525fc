"""The engine alone: events per second, and bytes of memory per retained read.

The realistic load is a simulated day. The worst case has every plate listed and one shot per
second. Decoding and validation are not timed.
"""

from __future__ import annotations

import gc
import multiprocessing
import random
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Final

import msgspec

from streams.core.engine import Engine
from streams.core.events import Record
from streams.core.intake import Admitted, Intake
from streams.core.rules import JoinRules
from streams.core.site import Site
from streams.core.topics import BROADCAST, HITS, READS, SHOTS
from streams.simulate.scenarios import Scenario, rows

BATCH: Final = 500
"""Events per batch; changed incidents are published after each batch, as a worker does per poll."""


class EngineRound(msgspec.Struct, frozen=True):
    """Results of one round with the engine alone."""

    engine_per_s: float
    """Events per second, for a simulated day; most events are reads of unlisted plates."""
    engine_worst_per_s: float
    """Events per second, with every plate listed, one shot and twenty reads per second."""
    engine_worst_incidents_per_s: float
    """Incident revisions per second in the worst case."""


def engine_rounds(scenario: Scenario) -> Iterator[EngineRound]:
    """Yield round after round of the engine on a scenario's records and on the worst case."""
    site, rules = scenario.site, JoinRules()
    realistic = _admitted(site, rules, (Record(t, 0, n, s, v) for n, (t, s, _, v) in enumerate(rows(scenario))))
    worst = _admitted(site, rules, _worst_case(site, seconds=60))
    while True:
        realistic_per_s, _ = _rates(site, rules, realistic)
        worst_per_s, worst_incidents_per_s = _rates(site, rules, worst)
        yield EngineRound(realistic_per_s, worst_per_s, worst_incidents_per_s)


def _admitted(site: Site, rules: JoinRules, records: Iterator[Record]) -> list[Admitted]:
    intake = Intake(site, rules)
    return [intake.admit(record) for record in records]


def _rates(site: Site, rules: JoinRules, admitted: Sequence[Admitted]) -> tuple[float, float]:
    """Return events per second and incident revisions per second, in batches of `BATCH` events."""
    engine, revisions = Engine(site, rules), 0
    gc.collect()
    began_s = time.perf_counter()
    for start in range(0, len(admitted), BATCH):
        batch = admitted[start : start + BATCH]
        for record in batch:
            if record.topic in BROADCAST:
                engine.apply_broadcast(record)
            else:
                engine.join(record)
        revisions += len(engine.changes())
        engine.release(batch[-1].stamp_ms)
    took_s = time.perf_counter() - began_s
    return len(admitted) / took_s, revisions / took_s


def _worst_case(site: Site, seconds: int) -> Iterator[Record]:
    """Yield one shot per second near random ramps, and twenty reads per second of listed plates."""
    rng = random.Random("the worst")
    ramps = list(site.ramps.values())
    begin_ms = 1_780_000_000_000
    plates = [f"XQ{n:05}" for n in range(1_000)]
    for n, plate in enumerate(plates):
        value = {"hit_id": f"H{n}", "plate": plate, "reported_at_ms": begin_ms}
        yield Record(HITS, 0, n, begin_ms, msgspec.json.encode(value))
    for second in range(seconds):
        at_ms = begin_ms + 1000 * second
        ramp = rng.choice(ramps)
        shot = {
            "alert_id": f"S{second}",
            "kind": "single_gunshot",
            "occurred_at_ms": at_ms,
            "lat": ramp.lat + rng.uniform(-0.02, 0.02),
            "lon": ramp.lon + rng.uniform(-0.02, 0.02),
        }
        yield Record(SHOTS, 0, second, at_ms, msgspec.json.encode(shot))
        for read in range(20):
            value = {
                "read_id": f"R{second}-{read}",
                "plate": rng.choice(plates),
                "captured_at_ms": at_ms,
                "ramp_id": rng.choice(ramps).ramp_id,
                "camera_id": "C",
                "confidence": 0.9,
            }
            yield Record(READS, 0, 20 * second + read, at_ms, msgspec.json.encode(value))


def bytes_per_read(site: Site, rules: JoinRules, number: int) -> float:
    """Return the memory growth of a process per retained read, over ``number`` reads.

    All reads are within the retention of reads. Measured in a new process: in an older one, new
    reads would reuse memory that was freed before, and the growth would not show them.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as new_process:
        return new_process.submit(_growth_per_read, site, rules, number).result()


def _growth_per_read(site: Site, rules: JoinRules, number: int) -> float:
    import numpy  # noqa: F401 - every worker has it loaded: it is not part of a read's memory

    rng = random.Random("memory")
    ramps, intake, engine = list(site.ramps), Intake(site, rules), Engine(site, rules)
    begin_ms, step_ms = 1_780_000_000_000, rules.read_retention_ms // number

    def read(n: int) -> Record:
        value = {
            "read_id": f"{rng.getrandbits(64):016x}",
            "plate": f"{rng.choice('XQ')}{rng.choice('JKVWY')}{rng.randrange(100_000):05}",
            "region": "US-CT",
            "captured_at_ms": begin_ms + n * step_ms,
            "ramp_id": (ramp := rng.choice(ramps)),
            "camera_id": f"{ramp}-1",
            "confidence": round(rng.uniform(0.85, 0.99), 3),
            "direction": "on",
            "make": "Kia",
            "colour": "grey",
        }
        return Record(READS, 0, n, begin_ms + n * step_ms + 700, msgspec.json.encode(value))

    gc.collect()
    before = _resident_bytes()
    for n in range(number):
        engine.join(intake.admit(read(n)))
    gc.collect()
    return (_resident_bytes() - before) / number


def _resident_bytes() -> int:
    """Return the resident memory of this process, or its peak where /proc is not available."""
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, KiB elsewhere
        return peak if sys.platform == "darwin" else peak * 1024
