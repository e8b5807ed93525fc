"""An engine that follows each change knows what it would find out from all its facts again."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.core import incidents as incidents_module
from streams.core import pairs as pairs_module
from streams.core.engine import Engine
from streams.core.pairs import Pair
from tests.drivers.engine import EngineRun, scenario_with_repeats
from tests.lanes import LANE


def found_out_again(engine: Engine) -> dict[object, object]:
    """The attached reads of every pair that could have some, from all facts in memory."""
    found = {}
    for key in {
        (shot, hit, plate)
        for plate, hits in engine._memory.hits.items()
        for hit in hits
        for shot in engine._memory.shots
    }:
        pair = engine._pairs.get(key, Pair(""))
        before, engine._pairs[key] = pair.open, pair
        engine._refill(key)
        found[key], pair.open = pair.reads(), before
        if not pair.incident_id:
            del engine._pairs[key]
    return {key: reads for key, reads in found.items() if reads != ([], None)}


@settings(deadline=None, max_examples=LANE.convergence_examples, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), order=st.integers(0, 2**32), most=st.sampled_from([1, 2, 50]))
def test_changes_are_followed_one_by_one_as_if_all_were_found_out_again(seed: int, order: int, most: int) -> None:
    whole = scenario_with_repeats(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs_module, "MAX_READS", most)
        patch.setattr(incidents_module, "MAX_READS", most)
        run = EngineRun(whole, random.Random(order), whole.admitted)
        compared = []

        def compare() -> None:
            again = found_out_again(run.engine)
            compared.append(len(again))
            memory = run.engine._memory
            known = {
                key: pair.reads()
                for key, pair in run.engine._pairs.items()
                if key[0] in memory.shots and key[1] in memory.hits.get(key[2], ()) and pair.reads() != ([], None)
            }
            assert again == known

        show = run.console.show
        run.console.show = lambda changes: (show(changes), compare())  # type: ignore[assignment, func-returns-value]
        run.run()
        assert compared
