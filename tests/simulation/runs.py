"""Worlds run through the shell: one partition for each listed plate, and what went wrong in all of them."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from streams.core.events import BROADCAST, Record
from streams.core.intake import Admitted, Intake
from tests.property.driving import Played, echoed, played
from tests.property.driving import _played as play_archive
from tests.simulation.aftermath import with_aftermath
from tests.simulation.ground import MINUTE_MS
from tests.simulation.oracle import differences
from tests.simulation.records import HITS, READS, Value
from tests.simulation.shell import MODES, Shell, Worker
from tests.simulation.worlds import world

TICK_MS = 14 * MINUTE_MS


def partitions(play: Played, quiet: bool) -> list[dict[str, list[Admitted]]]:
    """The inputs of each partition, one for each plate that is ever listed; other reads go with the first."""
    listed = sorted({record.plate_key for record in play.admitted[HITS]}) or [""]
    parts = []
    for n, key in enumerate(listed):
        own = {
            topic: [
                r for r in records if topic in BROADCAST or r.plate_key == key or (n == 0 and r.plate_key not in listed)
            ]
            for topic, records in play.admitted.items()
        }
        if not quiet:
            own[READS] = sorted([*own[READS], *_ticks(play, own)], key=lambda record: record.stamp_ms)
        parts.append(own)
    return parts


def _ticks(play: Played, own: dict[str, list[Admitted]]) -> list[Admitted]:
    """A steady stream of reads of a plate that nobody lists; they move the watermark on."""
    stamps = [record.stamp_ms for records in own.values() for record in records]
    intake = Intake(play.site, play.rules)
    value = {"plate": "TICK78", "ramp_id": "ramp-0", "camera_id": "c", "confidence": 0.9}
    return [
        intake.admit(
            Record(READS, 0, -1, at_ms, json.dumps({**value, "read_id": "T", "captured_at_ms": at_ms}).encode())
        )
        for at_ms in range(min(stamps, default=0), max(stamps, default=0), TICK_MS)
    ]


def play_of(seed: int) -> Played:
    """The world of a seed: one as it is, one in which many records come again, one with an aftermath, and so on."""
    if seed % 3 == 0:
        return played(seed)
    if seed % 3 == 1:
        return echoed(seed)
    return play_archive(with_aftermath(world(seed), random.Random(seed)))


@dataclass
class Ran:
    """How the partitions of a world fared together."""

    faults: list[str]
    incidents: int = 0
    published: int = 0
    crashes: int = 0


def run_world(seed: int, mode: str, worker_type: type[Worker] = Worker) -> Ran:
    """Run all partitions of a world and compare what consoles show in the end with the oracle."""
    play, ran = play_of(seed), Ran([])
    shown: dict[str, Any] = {}
    for n, admitted in enumerate(partitions(play, MODES[mode].quiet)):
        shell = Shell(play, admitted, MODES[mode], random.Random(f"{seed} {mode} {n}"), worker_type)
        shell.run()
        ran = replace(
            ran,
            faults=[*ran.faults, *shell.faults, *unbounded(shell)],
            published=ran.published + shell.output.published,
            crashes=ran.crashes + shell.crashes,
        )
        shown |= {name: msgspec.to_builtins(incident) for name, incident in shell.output.shown.items()}
    ran.faults += differences(play.verdict, shown)
    ran.incidents = len(play.verdict.incidents)
    return ran


def unbounded(shell: Shell) -> list[str]:
    """What the engine still holds when the watermark has passed everything."""
    assert shell.worker is not None
    engine, rules = shell.worker.engine, shell.play.rules
    engine.release(shell.last_ms + rules.shot_memory_ms + rules.hit_memory_ms + 1)
    held: Value = {
        name: len(thing)
        for name, thing in (vars(engine) | vars(engine._memory)).items()
        if name != "_ramps" and hasattr(thing, "__len__") and len(thing)
    }
    return [f"memory still holds {held}"] if held else []
