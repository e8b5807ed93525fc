"""The two lanes of the tests: the same code with different numbers. All the numbers are here.

``make test`` uses `QUICK`, which must hold for every change and ends within minutes. ``make soak``
sets SOAK=1 and uses `SOAK`, which takes hours. tests/README.md explains both.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Lane:
    """How much of each kind of test runs."""

    replayed_worlds: int
    """Seeded worlds through the replay, compared with the oracle."""
    recovery_worlds: int
    """Seeded worlds for each kind of failure in the simulation of recovery."""
    rebuilt_worlds: int
    """Seeded worlds in which rebuilt engines are compared with engines that never stopped."""
    convergence_examples: int
    """Hypothesis examples of each law of convergence."""
    admission_examples: int
    """Hypothesis examples of each law of admission and of batches."""
    fuzzed_records: int
    """Mutated records through the intake."""
    hostile_records: int
    """Mutated records through a worker."""
    ring_examples: int
    """Hypothesis examples of histories of the reads of unlisted plates."""
    ring_reads: int
    """Reads of unlisted plates in the measurement of searches."""
    counter_examples: int
    """Hypothesis examples of the laws of the counters; the slowest of them take a third of it."""
    contract_seeds: tuple[int, ...]
    """Small worlds that go through the replay, one worker and three workers."""
    kill_points: tuple[float, ...]
    """How far into an evening its worker is killed, as a share of the records."""
    thefts: int
    """Stolen cars around six years of real gunshots; their reads take most of that test's time."""
    shuffles: int
    """Shuffled histories in the measurement of false alarms."""
    broker_pauses_s: tuple[float, ...]
    """How long a broker is paused while workers are at work, in seconds."""
    idle_gaps: int
    """Idle gaps with one worker and as many with two, between rebalances."""
    idle_gap_s: float
    """How long each lasts."""
    quiet_rebalances: int
    """How often a worker joins and leaves while records come one by one."""
    idle_s: float
    """How long an idle worker's memory is watched."""
    broker_hangs_s: float
    """How long the broker hangs while two workers wait for it."""
    rebuild_kills: int
    """How often the worker that rebuilds is killed."""
    chaos_faults: int
    """Faults in a chaos run that is measured in faults."""
    chaos_minutes: float
    """Length of the chaos run with everything; 0: it is not run."""
    kept_reads: int
    """Reads that a partition keeps while the stolen list is imported in bulk."""
    imported_hits: int
    """Hits of that import."""
    hot_reads: int
    """Reads of one stolen plate."""
    hot_shots: int
    """Shots around them."""


QUICK = Lane(
    replayed_worlds=400,
    recovery_worlds=120,
    rebuilt_worlds=90,
    convergence_examples=80,
    admission_examples=400,
    fuzzed_records=10_000,
    hostile_records=3_000,
    ring_examples=40,
    ring_reads=200_000,
    counter_examples=60,
    contract_seeds=(3, 57),
    kill_points=(0.5,),
    thefts=60,
    shuffles=20,
    broker_pauses_s=(40,),
    idle_gaps=1,
    idle_gap_s=2.0,
    quiet_rebalances=2,
    idle_s=4.0,
    broker_hangs_s=7.0,
    rebuild_kills=2,
    chaos_faults=5,
    chaos_minutes=0,
    kept_reads=100_000,
    imported_hits=10_000,
    hot_reads=10_000,
    hot_shots=100,
)
SOAK = Lane(
    replayed_worlds=10_000,
    recovery_worlds=10_000,
    rebuilt_worlds=3_000,
    convergence_examples=5_000,
    admission_examples=50_000,
    fuzzed_records=1_000_000,
    hostile_records=100_000,
    ring_examples=2_000,
    ring_reads=4_000_000,
    counter_examples=2_000,
    contract_seeds=(3, 57, 101, 202, 303),
    kill_points=(0.2, 0.5, 0.8),
    thefts=1_000,
    shuffles=200,
    broker_pauses_s=(35, 40, 40, 60, 90, 40, 90, 36),
    idle_gaps=20,
    idle_gap_s=60.0,
    quiet_rebalances=100,
    idle_s=1_800.0,
    broker_hangs_s=40.0,
    rebuild_kills=10,
    chaos_faults=50,
    chaos_minutes=60,
    kept_reads=4_000_000,
    imported_hits=100_000,
    hot_reads=100_000,
    hot_shots=1_000,
)
IS_SOAK = os.environ.get("SOAK") == "1"
LANE = SOAK if IS_SOAK else QUICK
