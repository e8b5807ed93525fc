"""JOIN.md, "What converges": any interleaving of the inputs gives the same incidents, and memory is let go."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.core.engine import Engine
from streams.core.unlisted_reads import CompressedReads
from streams.core.windows import Expiry, IntervalBuffer
from tests.property.driving import Console, Worker, echoed, played, split, take_in
from tests.simulation.oracle import differences
from tests.simulation.records import READS, SHOTS

unhurried = settings(deadline=None, max_examples=80, suppress_health_check=list(HealthCheck))
seeds = st.integers(0, 100_000)


@unhurried
@given(seed=seeds, order=seeds)
def test_any_permutation_of_all_records_gives_the_incidents_of_the_oracle(seed: int, order: int) -> None:
    play, rng = played(seed), random.Random(order)
    records = [record for records in play.admitted.values() for record in records]
    rng.shuffle(records)
    engine, console = Engine(play.site, play.rules), Console()
    for record in records:
        take_in(engine, record)
        if rng.random() < 0.3:
            console.apply_broadcast(engine.changes())
    console.apply_broadcast(engine.changes())
    assert differences(play.verdict, console.contents()) == []


@unhurried
@given(seed=seeds, order=seeds)
def test_inputs_read_at_any_speeds_give_the_incidents_of_the_oracle(seed: int, order: int) -> None:
    play = played(seed)
    worker = Worker(play, random.Random(order), play.admitted)
    worker.run()
    worker.finish(worker.watermark.value_ms)
    assert differences(play.verdict, worker.console.contents()) == []


@unhurried
@given(seed=seeds, order=seeds, partitions=st.integers(2, 5))
def test_split_over_partitions_the_incidents_are_the_same(seed: int, order: int, partitions: int) -> None:
    play = played(seed)
    incidents: dict[str, Any] = {}
    for n, admitted in enumerate(split(play, partitions)):
        worker = Worker(play, random.Random(f"{order} {n}"), admitted)
        worker.run()
        worker.finish(worker.watermark.value_ms)
        incidents |= worker.console.contents()
    assert differences(play.verdict, incidents) == []


@unhurried
@given(seed=seeds, order=seeds)
def test_scores_reasons_and_warnings_converge_to_the_byte_too(seed: int, order: int) -> None:
    play, told = played(seed), []
    for n in range(2):
        worker = Worker(play, random.Random(f"{order} {n}"), play.admitted)
        worker.run()
        worker.finish(worker.watermark.value_ms)
        told.append(worker.console.told())
    assert told[0] == told[1]


@unhurried
@given(seed=seeds, order=seeds)
def test_records_that_come_again_change_nothing(seed: int, order: int) -> None:
    play = played(seed)
    worker = Worker(play, random.Random(order), play.admitted)
    worker.repeats = True
    worker.run()
    worker.finish(worker.watermark.value_ms)
    assert differences(play.verdict, worker.console.contents()) == []


@unhurried
@given(seed=seeds, order=seeds)
def test_contents_that_come_again_with_later_stamps_are_judged_by_all_their_stamps(seed: int, order: int) -> None:
    play = echoed(seed)
    worker = Worker(play, random.Random(order), play.admitted)
    worker.run()
    worker.finish(worker.watermark.value_ms)
    assert differences(play.verdict, worker.console.contents()) == []


@unhurried
@given(seed=seeds, order=seeds)
def test_all_records_again_from_the_start_are_no_news(seed: int, order: int) -> None:
    play = played(seed)
    worker = Worker(play, random.Random(order), play.admitted)
    worker.run()
    worker.finish(worker.watermark.value_ms)
    for records in play.admitted.values():
        for record in records:
            outcome = take_in(worker.engine, record)
            # of a plate that nobody lists no facts are kept, so a repeat counts as used
            assert outcome in ("duplicate", "used") or record.topic != READS
    assert worker.engine.changes() == []


def kept(engine: Engine) -> dict[str, Any]:
    """What an engine holds: its containers that are not empty."""
    everything = vars(engine) | vars(engine._memory)
    containers = {name: held for name, held in everything.items() if hasattr(held, "__len__") and name != "_ramps"}
    assert {type(held) for held in containers.values()} == {dict, Expiry, IntervalBuffer, CompressedReads}
    rows = {f"{name}._rows": held._rows for name, held in containers.items() if isinstance(held, IntervalBuffer)}
    return {name: held for name, held in (containers | rows).items() if len(held)}


@unhurried
@given(seed=seeds, order=seeds)
def test_once_the_watermark_has_passed_everything_nothing_is_held(seed: int, order: int) -> None:
    play = played(seed)
    worker = Worker(play, random.Random(order), play.admitted)
    worker.run()
    past_ms = play.last_ms + play.rules.hit_memory_ms + play.rules.incident_retention_ms + 1
    worker.finish(past_ms)
    frozen = {record.event.alert_id for record in play.admitted[SHOTS]}  # type: ignore[union-attr]
    held = kept(worker.engine)
    assert held.keys() <= {"_frozen", "_frozen_memory"}
    assert set(held.get("_frozen", {})) == frozen
    worker.finish(play.last_ms + play.rules.shot_memory_ms + 1)
    assert kept(worker.engine) == {}
