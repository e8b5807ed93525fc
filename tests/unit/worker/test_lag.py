"""The lag counts what is not joined, in partitions being rebuilt too, and can be unknown."""

from __future__ import annotations

import math

from streams.core.topics import HITS, READS
from streams.worker import metrics
from streams.worker.lag import Bounds, Lag


def shown(topic: str) -> float:
    value: float = metrics.LAG.labels(topic)._value.get()
    return value


def bounds(*ends: int) -> dict[tuple[str, int], Bounds]:
    """The bounds of partitions 0, 1, … of both topics."""
    return {(topic, number): Bounds(0, end) for topic in (READS, HITS) for number, end in enumerate(ends)}


def assigned(*numbers: int) -> Lag:
    lag = Lag()
    lag.assign(numbers, ())
    return lag


def test_a_partition_without_a_position_makes_its_topics_lag_unknown() -> None:
    lag = assigned(0, 1)
    lag.note_position((READS, 0), 10)
    lag.note_bounds(bounds(100, 100))
    assert math.isnan(shown(READS))
    lag.note_position((READS, 1), 100)
    lag.note_bounds(bounds(100, 100))
    assert shown(READS) == 90
    assert math.isnan(shown(HITS))


def test_a_partition_being_rebuilt_lags_from_the_offset_it_resumes_at() -> None:
    lag = assigned(0)
    lag.note_position((READS, 0), 40)
    lag.note_bounds(bounds(100))
    assert shown(READS) == 60


def test_records_that_are_deleted_are_not_lag() -> None:
    lag = assigned(0)
    lag.note_position((READS, 0), 0)
    lag.note_bounds({(READS, 0): Bounds(70, 100)})
    assert shown(READS) == 30


def test_ends_that_cannot_be_queried_make_the_lag_unknown() -> None:
    lag = assigned(0)
    lag.note_position((READS, 0), 100)
    lag.note_bounds(bounds(100))
    assert shown(READS) == 0
    lag.note_bounds({})
    assert math.isnan(shown(READS))


def test_only_retained_partitions_keep_their_position() -> None:
    lag = assigned(0, 1)
    for number in (0, 1):
        lag.note_position((READS, number), 100)
    lag.note_bounds(bounds(100, 100))
    lag.assign((0, 1), retained=(0,))
    assert lag.records((READS, 0)) == 0
    assert math.isnan(lag.records((READS, 1)))
    lag.assign((0,), retained=(0,))
    assert shown(READS) == 0


def test_a_position_of_a_partition_that_is_not_assigned_is_ignored() -> None:
    lag = assigned(0)
    lag.note_position((READS, 1), 5)
    assert lag.sources == {(READS, 0), (HITS, 0)}


def test_a_spare_worker_has_no_lag_and_a_worker_without_assignment_an_unknown_one() -> None:
    metrics.LAG.labels(READS).set(math.nan)
    lag = Lag()
    lag.note_bounds({})
    assert math.isnan(shown(READS))
    lag.assign((), ())
    assert shown(READS) == 0
