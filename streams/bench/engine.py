"""What the engine costs, alone: how many events a second it takes in, how many bytes a kept read takes.

Realistic traffic is a simulated day; the worst is every plate listed and a shot a second. Events are decoded before
the clock starts.
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
from streams.core.events import BROADCAST, HITS, READS, SHOTS, Record
from streams.core.intake import Admitted, Intake
from streams.core.rules import JoinRules
from streams.core.site import Site
from streams.simulate.scenarios import Scenario, rows

BATCH: Final = 500
"""Records between two publications, as the worker takes them from Kafka."""


class EngineRound(msgspec.Struct, frozen=True):
    """Events a second through the engine alone, in one round."""

    engine_per_s: float
    """A simulated day, most of it reads of plates that nobody lists."""
    engine_worst_per_s: float
    """Every plate listed, a shot a second all over the city, twenty reads a second, for a minute."""
    engine_worst_incidents_per_s: float
    """Revisions of incidents that came of the worst."""


def engine_rounds(scenario: Scenario) -> Iterator[EngineRound]:
    """Measure the engine on a scene's traffic and on the worst case, once for each round that is asked for."""
    rules = JoinRules()
    realistic = _admitted(
        scenario.site, rules, (Record(t, 0, n, s, v) for n, (t, s, _, v) in enumerate(rows(scenario)))
    )
    worst = _admitted(scenario.site, rules, _worst(scenario.site, seconds=60))
    while True:
        quick, _ = _rate(scenario.site, rules, realistic)
        slow, incidents = _rate(scenario.site, rules, worst)
        yield EngineRound(quick, slow, incidents)


def _admitted(site: Site, rules: JoinRules, records: Iterator[Record]) -> list[Admitted]:
    intake = Intake(site, rules)
    return [intake.admit(record) for record in records]


def _rate(site: Site, rules: JoinRules, admitted: Sequence[Admitted]) -> tuple[float, float]:
    """Return events a second, and incidents published a second, with publications every `BATCH` events."""
    engine, said = Engine(site, rules), 0
    gc.collect()
    began_s = time.perf_counter()
    for start in range(0, len(admitted), BATCH):
        batch = admitted[start : start + BATCH]
        for record in batch:
            if record.topic in BROADCAST:
                engine.apply_broadcast(record)
            else:
                engine.join(record)
        said += len(engine.changes())
        engine.release(batch[-1].stamp_ms)
    took_s = time.perf_counter() - began_s
    return len(admitted) / took_s, said / took_s


def _worst(site: Site, seconds: int) -> Iterator[Record]:
    """A shot a second all over the city, twenty reads a second, each of a listed plate."""
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
    """Return by how much a process grows for each of so many reads kept, all within a day.

    The process is a new one: what an older one has given back, its reads would fill without a trace.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
        return alone.submit(_growth_per_read, site, rules, number).result()


def _growth_per_read(site: Site, rules: JoinRules, number: int) -> float:
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
    """What the process holds now; where the system does not tell, the most that it ever held."""
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
