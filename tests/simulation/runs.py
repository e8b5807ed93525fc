"""Worlds run through the simulation, with one partition for each listed plate."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from streams.core.events import Record
from streams.core.intake import Admitted, Intake
from streams.core.topics import BROADCAST
from tests.drivers.engine import Scenario, scenario, scenario_of, scenario_with_repeats
from tests.oracle.compare import differences
from tests.oracle.records import HITS, READS, Value
from tests.simulation.environment import MODES, Environment
from tests.simulation.worker import Worker
from tests.worlds.aftermath import with_aftermath
from tests.worlds.ground import MINUTE_MS
from tests.worlds.small_world import world

TICK_MS = 14 * MINUTE_MS


def simulated(seed: int) -> Scenario:
    """The world of a seed: as it is, with repeated records, or with an aftermath, in turn."""
    if seed % 3 == 0:
        return scenario(seed)
    if seed % 3 == 1:
        return scenario_with_repeats(seed)
    return scenario_of(with_aftermath(world(seed), random.Random(seed)))


def partitions(whole: Scenario, quiet: bool) -> list[dict[str, list[Admitted]]]:
    """The inputs of each partition: one for each listed plate; other reads go to the first."""
    listed = sorted({record.plate_key for record in whole.admitted[HITS]}) or [""]
    parts = []
    for n, key in enumerate(listed):
        own = {
            topic: [
                r for r in records if topic in BROADCAST or r.plate_key == key or (n == 0 and r.plate_key not in listed)
            ]
            for topic, records in whole.admitted.items()
        }
        if not quiet:
            own[READS] = sorted([*own[READS], *_ticks(whole, own)], key=lambda record: record.stamp_ms)
        parts.append(own)
    return parts


def _ticks(whole: Scenario, own: dict[str, list[Admitted]]) -> list[Admitted]:
    """A steady stream of reads of an unlisted plate, which advances the watermark."""
    stamps = [record.stamp_ms for records in own.values() for record in records]
    intake = Intake(whole.site, whole.rules)
    value = {"plate": "TICK78", "ramp_id": "ramp-0", "camera_id": "c", "confidence": 0.9}
    return [
        intake.admit(
            Record(READS, 0, -1, at_ms, json.dumps({**value, "read_id": "T", "captured_at_ms": at_ms}).encode())
        )
        for at_ms in range(min(stamps, default=0), max(stamps, default=0), TICK_MS)
    ]


@dataclass
class Result:
    """The results of all partitions of a world together."""

    faults: list[str]
    incidents: int = 0
    published: int = 0
    crashes: int = 0


def run_world(seed: int, mode: str, worker_type: type[Worker] = Worker) -> Result:
    """Run all partitions of a world and compare what consoles show in the end with the oracle."""
    whole, result = simulated(seed), Result([])
    shown: dict[str, Any] = {}
    for n, admitted in enumerate(partitions(whole, MODES[mode].quiet)):
        rng = random.Random(f"{seed} {mode} {n}")
        environment = Environment(whole, admitted, MODES[mode], rng, worker_type)
        environment.run()
        result = replace(
            result,
            faults=[*result.faults, *environment.faults, *memory_left(environment)],
            published=result.published + environment.output.published,
            crashes=result.crashes + environment.crashes,
        )
        shown |= {name: msgspec.to_builtins(incident) for name, incident in environment.output.shown.items()}
    result.faults += differences(whole.verdict, shown)
    result.incidents = len(whole.verdict.incidents)
    return result


def memory_left(environment: Environment) -> list[str]:
    """A fault if the engine holds anything once the watermark has passed everything."""
    assert environment.worker is not None
    engine, rules = environment.worker.engine, environment.scenario.rules
    engine.release(environment.last_ms + rules.shot_memory_ms + rules.hit_horizon_ms + 1)
    held: Value = {
        name: len(container)
        for name, container in (vars(engine) | vars(engine._memory)).items()
        if name != "_ramps" and hasattr(container, "__len__") and len(container)
    }
    return [f"memory still holds {held}"] if held else []


def command(seed: int, mode: str) -> str:
    """The command that runs one world again."""
    return f".venv/bin/python -m tests.simulation {mode} 1 {seed}"
