"""JOIN.md, "What converges": any interleaving gives the same incidents and releases memory."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.core.engine import Engine
from streams.core.unlisted_reads import CompressedReads
from streams.core.windows import Expiry, IntervalBuffer
from tests.drivers.engine import Console, EngineRun, Scenario, apply, scenario, scenario_with_repeats, split
from tests.lanes import LANE
from tests.oracle.compare import differences
from tests.oracle.records import READS, SHOTS

examples = settings(deadline=None, max_examples=LANE.convergence_examples, suppress_health_check=list(HealthCheck))
seeds = st.integers(0, 100_000)


def finished(run: EngineRun) -> EngineRun:
    """The run, after everything has been read and released."""
    run.run()
    run.finish(run.watermark.value_ms)
    return run


def run_of(whole: Scenario, order: object) -> EngineRun:
    return EngineRun(whole, random.Random(str(order)), whole.admitted)


@examples
@given(seed=seeds, order=seeds)
def test_any_permutation_of_all_records_gives_the_incidents_of_the_oracle(seed: int, order: int) -> None:
    whole, rng = scenario(seed), random.Random(order)
    records = [record for records in whole.admitted.values() for record in records]
    rng.shuffle(records)
    engine, console = Engine(whole.site, whole.rules), Console()
    for record in records:
        apply(engine, record)
        if rng.random() < 0.3:
            console.show(engine.changes())
    console.show(engine.changes())
    assert differences(whole.verdict, console.contents()) == []


@examples
@given(seed=seeds, order=seeds)
def test_inputs_read_at_any_speeds_give_the_incidents_of_the_oracle(seed: int, order: int) -> None:
    whole = scenario(seed)
    assert differences(whole.verdict, finished(run_of(whole, order)).console.contents()) == []


@examples
@given(seed=seeds, order=seeds, partitions=st.integers(2, 5))
def test_any_number_of_partitions_gives_the_incidents_of_the_oracle(seed: int, order: int, partitions: int) -> None:
    whole = scenario(seed)
    incidents: dict[str, Any] = {}
    for n, admitted in enumerate(split(whole, partitions)):
        run = finished(EngineRun(whole, random.Random(f"{order} {n}"), admitted))
        incidents |= run.console.contents()
    assert differences(whole.verdict, incidents) == []


@examples
@given(seed=seeds, order=seeds)
def test_scores_reasons_and_warnings_converge_to_the_same_bytes(seed: int, order: int) -> None:
    whole = scenario(seed)
    one, other = (finished(run_of(whole, f"{order} {n}")).console.encoded() for n in range(2))
    assert one == other


@examples
@given(seed=seeds, order=seeds)
def test_repeated_records_change_nothing(seed: int, order: int) -> None:
    whole = scenario(seed)
    run = run_of(whole, order)
    run.repeats = True
    assert differences(whole.verdict, finished(run).console.contents()) == []


@examples
@given(seed=seeds, order=seeds)
def test_contents_repeated_with_later_stamps_are_judged_by_all_their_stamps(seed: int, order: int) -> None:
    whole = scenario_with_repeats(seed)
    assert differences(whole.verdict, finished(run_of(whole, order)).console.contents()) == []


@examples
@given(seed=seeds, order=seeds)
def test_reading_everything_again_from_the_start_changes_nothing(seed: int, order: int) -> None:
    whole = scenario(seed)
    run = finished(run_of(whole, order))
    for records in whole.admitted.values():
        for record in records:
            outcome = apply(run.engine, record)
            # no facts are kept for a plate that is not listed, so its repeated reads count as used
            assert outcome in ("duplicate", "finalized", "used") or record.topic != READS
    assert run.engine.changes() == []


def held_by(engine: Engine) -> dict[str, Any]:
    """The engine's containers that are not empty."""
    everything = vars(engine) | vars(engine._memory)
    containers = {name: held for name, held in everything.items() if hasattr(held, "__len__") and name != "_ramps"}
    assert {type(held) for held in containers.values()} == {dict, set, Expiry, IntervalBuffer, CompressedReads}
    rows = {f"{name}._rows": held._rows for name, held in containers.items() if isinstance(held, IntervalBuffer)}
    return {name: held for name, held in (containers | rows).items() if len(held)}


@examples
@given(seed=seeds, order=seeds)
def test_an_engine_holds_nothing_once_the_watermark_has_passed_everything(seed: int, order: int) -> None:
    whole = scenario(seed)
    run = run_of(whole, order)
    run.run()
    run.finish(whole.last_ms + whole.rules.hit_horizon_ms + whole.rules.incident_retention_ms + 1)
    frozen = {record.event.alert_id for record in whole.admitted[SHOTS]}  # type: ignore[union-attr]
    held = held_by(run.engine)
    assert held.keys() <= {"_frozen", "_frozen_memory"}
    assert set(held.get("_frozen", {})) == frozen
    run.finish(whole.last_ms + whole.rules.shot_horizon_ms + 1)
    assert held_by(run.engine) == {}
