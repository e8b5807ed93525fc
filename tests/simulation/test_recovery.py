"""JOIN.md, "Recovery": whatever happens to workers, consoles show in the end what the oracle says.

Thousands of worlds: ``python -m simulation.recoveries MODE WORLDS`` in ``tests``.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from streams.core.engine import Engine, PairKey
from streams.core.events import LinkedIncident
from streams.core.incidents import same_content
from tests.simulation.records import TOPICS
from tests.simulation.recoveries import command
from tests.simulation.runs import partitions, play_of, run_world
from tests.simulation.shell import MODES, Shell, Worker
from tests.simulation.taken_away import RULES

WORLDS = 120
AT_ONCE = 20


@pytest.mark.parametrize("first", range(0, WORLDS, AT_ONCE))
@pytest.mark.parametrize("mode", ["plain", "crash", "rare", "kept", "replay"])
def test_whatever_happens_to_workers_consoles_show_what_the_oracle_says(mode: str, first: int) -> None:
    for seed in range(first, first + AT_ONCE):
        assert run_world(seed, mode).faults == [], f"world {seed}, mode {mode}; to see it again: {command(seed, mode)}"


def test_the_shell_is_as_rough_as_it_says() -> None:
    crashed, kept = ([run_world(seed, mode) for seed in range(20)] for mode in ("crash", "kept"))
    assert sum(ran.crashes for ran in crashed) > 100
    assert sum(ran.published for ran in kept) > 20


# --- rebuilt and lived through ---


class Twins(Shell):
    """Now and then a second engine is rebuilt beside the one that runs, and both are asked what they know."""

    compared = 0

    def work(self) -> None:
        super().work()
        if self.worker is not None and self.rng.random() < 0.15:
            committed_before = self.commit
            self.catch_up()
            committed, self.commit = self.commit, committed_before
            self._compare(self.worker, self.worker_type(self))
            self.commit = committed

    def _compare(self, lived: Worker, rebuilt: Worker) -> None:
        """The twin began at an earlier commit, and knows of what came since what was said and what it reads."""
        rebuilt.read(TOPICS, 10**9)
        assert not rebuilt.is_behind()
        assert rebuilt.engine.changes() == [], "what was said stands"
        rebuilt.engine.release(lived.engine._memory.watermark_ms)
        once, again = knowledge(lived.engine), knowledge(rebuilt.engine)
        assert again.keys() == once.keys()
        for key, incident in again.items():
            assert same_content(incident, once[key]), key
            assert incident.revision == once[key].revision
        self.compared += len(once)


def knowledge(engine: Engine) -> dict[PairKey, LinkedIncident]:
    """What an engine would say of every shot and hit that it knows to be linked, with the revision it said last."""
    return dict(_known(engine))


def _known(engine: Engine) -> Iterator[tuple[PairKey, LinkedIncident]]:
    for key, hits in engine._memory.hits.items():
        for alert_id in engine._memory.shots:
            for hit_id in hits:
                facts, pair = engine._facts_of((alert_id, hit_id, key)), engine._pairs.get((alert_id, hit_id, key))
                if facts is not None and (facts.attached or (pair and pair.said)):
                    revision = pair.said.revision if pair and pair.said else 0
                    yield (alert_id, hit_id, key), engine._reporter.incident(facts, revision)


def test_a_rebuilt_engine_knows_what_one_knows_that_lived_through_it() -> None:
    compared = 0
    for seed in range(90):
        play = play_of(seed)
        for n, admitted in enumerate(partitions(play, quiet=False)):
            mode = MODES["crash" if seed % 2 else "plain"]
            twins = Twins(play, admitted, mode, random.Random(f"{seed} {n}"))
            twins.run()
            assert twins.faults == [], seed
            compared += twins.compared
    assert compared > 200


# --- every rule is needed ---

# of each rule a mode and a world; "quiet" where the topics, if kept as long as they must be, tell the same again
WRONG_WITHOUT = {
    "watermark_from_offsets": ("crash", 57),
    "judged_by_nobody": ("crash", 5),
    "hold_back": ("crash", 257),
    "slack": ("plain", 235),
    "strict_passing": ("replay", 5),
    "first_reads": ("crash", 5),
    "judged_at_the_deadline": ("crash", 4),
    "frozen_shots": ("plain", 14),
    "shots_horizon": ("crash", 11),
    "hits_horizon": ("crash", 448),
    "hits_span": ("crash", 89),
    "reads_fed_back": ("quiet", 3),
    "attached_reads_fed_back": ("crash", 3),
    "review_fed_back": ("quiet", 3),
    "left_out_fed_back": ("crash", 30),
    "said_fed_back": ("crash", 3),
}


@pytest.mark.parametrize("rule", RULES)
def test_without_this_rule_some_world_diverges(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mode, seed = WRONG_WITHOUT[rule]
    assert run_world(seed, mode).faults == [], "with the rule the world goes right"
    assert run_world(seed, mode, RULES[rule](monkeypatch)).faults != []
