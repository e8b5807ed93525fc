"""Which faults happen when: all drawn from the seed before the run."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "kill", "term", "join", "leave", "pause", "broker killed", "broker paused", "broker hangs", "broker restarted"
]

# The first five are one of each fault that matters most; the next five are the others, and more of
# the hardest. One deck adds a worker and the other removes one, so that their number stays the
# same.
DECKS: tuple[tuple[Kind, ...], ...] = (
    ("kill", "term", "join", "pause", "broker killed"),
    ("kill", "kill", "leave", "pause", "broker paused"),
)
# Added in runs with everything: the broker is away for longer than most time-outs, or restarted.
LONG_DECK: tuple[Kind, ...] = ("broker hangs", "broker restarted", "kill", "term", "pause")
# The shortest that Kafka allows.
SESSION_TIMEOUT_MS = 6_000
FIRST_AT_S = 5.0
# Most faults leave time to settle; some fall in the middle of the recovery from the one before.
SOON_SHARE = 0.3
SOON_S, SETTLED_S = (0.5, 2.5), (5.0, 11.0)
PAUSED_LONGER_S = (1.0, 4.0)
BROKER_DOWN_S = (0.0, 3.0)
BROKER_PAUSED_S = (2.0, 8.0)
BROKER_HANGS_S = (38.0, 45.0)
# After the last fault is over, so that recovering workers have work.
LOAD_CONTINUES_S = 5.0


Gap = tuple[float, float]
"""An idle gap: from when to when, in seconds after the load began."""


@dataclass(frozen=True)
class Fault:
    """One fault: when, after the load began; what; the victim, modulo the workers; how long."""

    at_s: float
    kind: Kind
    victim: int
    for_s: float

    def __str__(self) -> str:
        duration = f" for {self.for_s:.1f} s" if self.for_s else ""
        return f"{self.at_s:6.1f} s  {self.kind}{duration}"


def schedule(
    seed: int, faults: int, until_s: float = math.inf, long: bool = False, gaps: Sequence[Gap] = ()
) -> list[Fault]:
    """The faults of this seed in the order of their times: ``faults``, or fewer up to ``until_s``.

    ``long``: with the faults of the broker that take long. In ``gaps`` no fault begins.
    """
    rng = random.Random(f"faults {seed}")
    decks = (*DECKS, LONG_DECK) if long else DECKS
    kinds: list[Kind] = []
    at_s, planned = FIRST_AT_S, list[Fault]()
    while len(planned) < faults:
        if not kinds:
            kinds = list(decks[len(planned) // 5 % len(decks)])
            rng.shuffle(kinds)
        at_s = next((to_s + FIRST_AT_S for from_s, to_s in gaps if from_s <= at_s < to_s), at_s)
        if at_s >= until_s:
            break
        kind = kinds.pop(0)
        planned.append(Fault(round(at_s, 1), kind, rng.randrange(1000), _duration_s(rng, kind)))
        at_s += rng.uniform(*(SOON_S if rng.random() < SOON_SHARE else SETTLED_S))
        if kind == "broker hangs":
            at_s += planned[-1].for_s
    return planned


def _duration_s(rng: random.Random, kind: Kind) -> float:
    ranges = {"broker killed": BROKER_DOWN_S, "broker paused": BROKER_PAUSED_S, "broker hangs": BROKER_HANGS_S}
    if kind == "pause":
        return round(SESSION_TIMEOUT_MS / 1000 + rng.uniform(*PAUSED_LONGER_S), 1)
    return round(rng.uniform(*ranges[kind]), 1) if kind in ranges else 0.0


def load_duration_s(planned: list[Fault]) -> float:
    """How long the load lasts under these faults."""
    return max((fault.at_s + fault.for_s for fault in planned), default=FIRST_AT_S) + LOAD_CONTINUES_S
