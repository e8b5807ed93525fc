"""Which faults happen when: all drawn from the seed before anything starts, so that a run can be read and repeated."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Kind = Literal["kill", "term", "join", "leave", "pause", "broker killed", "broker paused"]

# Five in a row hold one of each that matters most; the next five what is left, and more of what is hardest. A worker
# joins in one and leaves in the other, so that their number stays.
DECKS: tuple[tuple[Kind, ...], ...] = (
    ("kill", "term", "join", "pause", "broker killed"),
    ("kill", "kill", "leave", "pause", "broker paused"),
)
# The least that Kafka allows.
SESSION_TIMEOUT_MS = 6_000
FIRST_AT_S = 5.0
# Mostly there is time to settle, sometimes a fault falls into the midst of the recovery from the one before.
SOON_SHARE = 0.3
SOON_S, SETTLED_S = (0.5, 2.5), (5.0, 11.0)
PAUSED_LONGER_S = (1.0, 4.0)
BROKER_DOWN_S = (0.0, 3.0)
BROKER_PAUSED_S = (2.0, 8.0)
# After the last fault is over, so that what recovers has something to do.
LOAD_GOES_ON_S = 5.0


@dataclass(frozen=True)
class Fault:
    """One fault: when, after the load began; what; whom (a number, taken among the workers there are); how long."""

    at_s: float
    kind: Kind
    whom: int
    for_s: float

    def __str__(self) -> str:
        lasting = f" for {self.for_s:.1f} s" if self.for_s else ""
        return f"{self.at_s:6.1f} s  {self.kind}{lasting}"


def schedule(seed: int, faults: int) -> list[Fault]:
    """The faults of this seed, in the order of their times."""
    rng = random.Random(f"faults {seed}")
    kinds: list[Kind] = []
    while len(kinds) < faults:
        deck = list(DECKS[len(kinds) // 5 % 2])
        rng.shuffle(deck)
        kinds += deck
    at_s, planned = FIRST_AT_S, []
    for kind in kinds[:faults]:
        planned.append(Fault(round(at_s, 1), kind, rng.randrange(1000), _lasting_s(rng, kind)))
        at_s += rng.uniform(*(SOON_S if rng.random() < SOON_SHARE else SETTLED_S))
    return planned


def _lasting_s(rng: random.Random, kind: Kind) -> float:
    spans = {"broker killed": BROKER_DOWN_S, "broker paused": BROKER_PAUSED_S}
    if kind == "pause":
        return round(SESSION_TIMEOUT_MS / 1000 + rng.uniform(*PAUSED_LONGER_S), 1)
    return round(rng.uniform(*spans[kind]), 1) if kind in spans else 0.0


def load_lasts_s(planned: list[Fault]) -> float:
    """How long the load goes on under these faults."""
    return max((fault.at_s + fault.for_s for fault in planned), default=FIRST_AT_S) + LOAD_GOES_ON_S
