"""Reads forwarded after the watermark had passed their deadline are joined all the same."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from streams.core import events
from streams.core import incidents as incidents_module
from streams.core import pairs as pairs_module
from streams.core.intake import Admitted
from tests.drivers.engine import EngineRun, apply, scenario_of
from tests.lanes import LANE
from tests.oracle import join as oracle_module
from tests.oracle.compare import differences
from tests.oracle.records import HITS, READS
from tests.worlds.ground import MINUTE_MS
from tests.worlds.small_world import world


def identity_of(record: Admitted) -> tuple[object, ...]:
    return record.plate_key, *events.identity_of(record.event)


@settings(deadline=None, max_examples=LANE.convergence_examples, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), order=st.integers(0, 2**32), most=st.sampled_from([1, 2, 50]))
def test_reads_of_listed_plates_that_come_after_their_deadline_are_joined(seed: int, order: int, most: int) -> None:
    """No shot is frozen meanwhile: then they would be too late."""
    made, rng = world(seed), random.Random(order)
    long_ms = 100_000 * MINUTE_MS
    made = replace(made, join=made.join | {"incident_retention_ms": long_ms, "shot_memory_ms": 2 * long_ms})
    with pytest.MonkeyPatch.context() as patch:
        for module in (pairs_module, incidents_module):
            patch.setattr(module, "MAX_READS", most)
        patch.setattr(oracle_module, "KEPT_READS", most)
        whole = scenario_of(made)
        listed = {record.plate_key for record in whole.admitted[HITS]}
        reads = whole.admitted[READS]
        held_back = {identity_of(record) for record in reads if record.plate_key in listed and rng.random() < 0.4}
        late = [record for record in reads if identity_of(record) in held_back]
        run = EngineRun(whole, rng, whole.admitted | {READS: [record for record in reads if record not in late]})
        run.run()
        run.finish(whole.last_ms + 10_000 * MINUTE_MS)
        rng.shuffle(late)
        for record in late:
            forwarded = structs.replace(record.record, forwarded_from="1:2")
            apply(run.engine, structs.replace(record, record=forwarded))
            run.console.show(run.engine.changes())
            run.watermark.value_ms += rng.choice((0, 1))
            run.engine.release(run.watermark.value_ms)
        run.finish(run.watermark.value_ms + 1)
        assert differences(whole.verdict, run.console.contents()) == []
