"""Changes worked out in steps: stopped half way, with records and searches in between."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.core import engine as engine_module
from streams.core import incidents as incidents_module
from streams.core import pairs as pairs_module
from streams.core.events import LinkedIncident
from tests.drivers.engine import EngineRun, Scenario, apply, scenario_of
from tests.lanes import LANE
from tests.oracle import join as oracle_module
from tests.oracle.compare import differences
from tests.oracle.records import HITS, TOPICS
from tests.worlds.small_world import world


class InterruptedRun(EngineRun):
    """A run whose changes are often left unfinished; every step is as short as it can be."""

    def _publish(self) -> None:
        while self._work():
            pass
        self.engine.release(self.watermark.value_ms)

    def _work(self) -> bool:
        """Work out changes, perhaps not all; return whether some are left."""
        changed: list[LinkedIncident] = []
        patience = self.rng.choice((1, 3, 10, 10**9, 10**9))
        for _, incident in zip(range(patience), self.engine.changing(), strict=False):
            if incident is not None:
                changed.append(incident)
            if self.rng.random() < 0.15:
                self._read_one(self.rng.choice(TOPICS))
            if self.rng.random() < 0.1:
                self._search()
        self.console.show(changed)
        return bool(self.engine._dirty or self.engine._touched)

    def _read_one(self, topic: str) -> None:
        records, offset = self.admitted[topic], self.offsets[topic]
        if offset < len(records) and records[offset].stamp_ms <= self.now_ms - self.lag_ms[topic]:
            apply(self.engine, records[offset])
            self.watermark.seen(topic, records[offset].stamp_ms)
            self.offsets[topic] += 1

    def _search(self) -> None:
        """Search for plates that may be listed next, perhaps not to the end."""
        keys = [record.plate_key for record in self.admitted[HITS]]
        search = self.engine.search_unlisted(self.rng.sample(keys, min(len(keys), 2)))
        for _ in zip(range(self.rng.choice((0, 1, 99))), search, strict=False):
            pass


def scenario_keeping(most: int, seed: int, patch: pytest.MonkeyPatch) -> Scenario:
    """A world in which an incident keeps few reads, judged alike by the oracle."""
    for module in (pairs_module, incidents_module):
        patch.setattr(module, "MAX_READS", most)
    patch.setattr(oracle_module, "KEPT_READS", most)
    patch.setattr(engine_module, "_CONTENTS_A_STEP", 1)
    patch.setattr(engine_module, "_EVALUATIONS_A_STEP", 1)
    return scenario_of(world(seed))


@settings(deadline=None, max_examples=LANE.convergence_examples, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), order=st.integers(0, 2**32), most=st.sampled_from([1, 2, 50]))
def test_work_that_stops_half_way_and_goes_on_gives_the_incidents_of_the_oracle(
    seed: int, order: int, most: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        whole = scenario_keeping(most, seed, patch)
        run = InterruptedRun(whole, random.Random(order), whole.admitted)
        run.run()
        run.finish(run.watermark.value_ms)
        assert differences(whole.verdict, run.console.contents()) == []
