"""JOIN.md, "Recovery": whatever happens to workers, consoles show in the end what the oracle says.

Many more worlds: ``python -m tests.simulation MODE WORLDS``.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from streams.core.engine import Engine
from streams.core.events import LinkedIncident
from streams.core.incidents import same_content
from streams.core.pairs import PairKey
from tests.lanes import LANE
from tests.oracle.records import TOPICS
from tests.simulation.environment import EVERYTHING, MODES, Environment
from tests.simulation.mutations import MUTATIONS
from tests.simulation.runs import command, partitions, run_world, simulated
from tests.simulation.worker import Worker

WORLDS_PER_TEST = 20


@pytest.mark.parametrize("first", range(0, LANE.recovery_worlds, WORLDS_PER_TEST))
@pytest.mark.parametrize("mode", ["plain", "crash", "rare", "revoked", "replay"])
def test_whatever_happens_to_workers_consoles_show_what_the_oracle_says(mode: str, first: int) -> None:
    for seed in range(first, first + WORLDS_PER_TEST):
        assert run_world(seed, mode).faults == [], f"world {seed}, mode {mode}; run it again: {command(seed, mode)}"


def test_the_simulation_does_crash_and_publish() -> None:
    crashed, revoked = ([run_world(seed, mode) for seed in range(20)] for mode in ("crash", "revoked"))
    assert sum(result.crashes for result in crashed) > 100
    assert sum(result.published for result in revoked) > 20


# --- a rebuilt engine beside one that never stopped


class Twins(Environment):
    """An environment that sometimes rebuilds a second engine and compares it with the first."""

    compared = 0

    def work(self) -> None:
        super().work()
        if self.worker is not None and self.rng.random() < 0.15:
            committed_before = self.commit
            self.catch_up()
            committed, self.commit = self.commit, committed_before
            self._compare(self.worker, self.worker_type(self))
            self.commit = committed

    def _compare(self, running: Worker, rebuilt: Worker) -> None:
        """The rebuilt one starts from an earlier commit, and learns the rest by reading."""
        rebuilt.read(TOPICS, EVERYTHING)
        assert not rebuilt.is_behind()
        assert rebuilt.engine.changes() == [], "published incidents stand"
        rebuilt.engine.release(running.engine._memory.watermark_ms)
        expected, actual = knowledge(running.engine), knowledge(rebuilt.engine)
        assert actual.keys() == expected.keys()
        for key, incident in actual.items():
            assert same_content(incident, expected[key]), key
            assert incident.revision == expected[key].revision
        self.compared += len(expected)


def knowledge(engine: Engine) -> dict[PairKey, LinkedIncident]:
    """The incident of every linked shot and hit in the engine, with the revision published last."""
    return dict(_known(engine))


def _known(engine: Engine) -> Iterator[tuple[PairKey, LinkedIncident]]:
    for key, pair in engine._pairs.items():
        facts = engine._facts_of(key, pair)
        if facts is not None and (facts.attached or pair.published):
            yield key, engine._builder.build(facts, pair.published.revision if pair.published else 0)


def test_a_rebuilt_engine_knows_what_one_that_never_stopped_knows() -> None:
    compared = 0
    for seed in range(LANE.rebuilt_worlds):
        whole = simulated(seed)
        for n, admitted in enumerate(partitions(whole, quiet=False)):
            mode = MODES["crash" if seed % 2 else "plain"]
            twins = Twins(whole, admitted, mode, random.Random(f"{seed} {n}"), Worker)
            twins.run()
            assert twins.faults == [], seed
            compared += twins.compared
    assert compared > 200


# --- every rule is needed

# For each mutation a mode and a world that goes wrong. "quiet" where the topics, if they are kept
# as long as they must be, hold the same facts anyway.
WRONG_WITHOUT = {
    "watermark_from_offsets": ("crash", 57),
    "unknown_finalized_time": ("crash", 5),
    "hold_back": ("crash", 257),
    "slack": ("plain", 235),
    "strict_passing": ("replay", 5),
    "first_reads": ("crash", 5),
    "facts_at_the_deadline": ("crash", 4),
    "frozen_shots": ("plain", 14),
    "shots_horizon": ("crash", 11),
    "hits_horizon": ("crash", 448),
    "hits_span": ("crash", 89),
    "pending_reads_restored": ("quiet", 3),
    "attached_reads_restored": ("crash", 3),
    "review_restored": ("quiet", 3),
    "left_out_restored": ("crash", 30),
    "published_revision_restored": ("crash", 3),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_without_this_rule_some_world_goes_wrong(mutation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mode, seed = WRONG_WITHOUT[mutation]
    assert run_world(seed, mode).faults == [], "with the rule the world goes right"
    assert run_world(seed, mode, MUTATIONS[mutation](monkeypatch)).faults != []
