"""What a pair notes of its reads: no more than an incident keeps, and always the first ones."""

from __future__ import annotations

import random

import pytest

from streams.core import pairs as pairs_module
from streams.core.events import PlateRead
from streams.core.incidents import StampedRead
from streams.core.pairs import Pair, ReadOrder

MOST = 3


@pytest.fixture(autouse=True)
def few_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs_module, "MAX_READS", MOST)


def read(at_ms: int, name: str = "r", stamp_ms: int = 0) -> StampedRead:
    return StampedRead(PlateRead(name, "SIMB01", at_ms, "ramp", "camera", 0.9), stamp_ms)


def filled(*times_ms: int) -> Pair:
    pair = Pair("id")
    for at_ms in times_ms:
        pair.put((at_ms, "r"), read(at_ms))
    return pair


def times(pair: Pair) -> tuple[list[int], int | None]:
    kept, left_out_from_ms = pair.reads()
    return [stamped.read.captured_at_ms for stamped in kept], left_out_from_ms


def test_the_first_reads_are_kept_and_the_time_of_the_next_one():
    assert times(filled(5, 1, 4, 3, 2)) == ([1, 2, 3], 4)
    assert times(filled(2, 1)) == ([1, 2], None)


def test_a_full_pair_ignores_later_reads_only():
    pair = filled(1, 2, 3, 4)
    assert pair.is_full
    assert pair.ignores(5)
    assert not pair.ignores(4)
    assert not filled(1, 2, 3).ignores(5)
    pair.finalize(9)
    assert pair.ignores(5)


def test_the_same_read_again_changes_nothing_and_another_stamp_does():
    pair = filled(1)
    assert not pair.put((1, "r"), read(1))
    assert pair.put((1, "r"), read(1, stamp_ms=-5))
    assert pair.open == [read(1, stamp_ms=-5)]
    assert pair.put((1, "r"), None)
    assert not pair.put((1, "r"), None)


def test_finalized_reads_stay_and_count_once():
    pair = filled(1, 2, 3)
    pair.finalize(3)
    assert [stamped.read.captured_at_ms for stamped in pair.finalized] == [1, 2]
    assert not pair.put((1, "r"), None), "final"
    assert not pair.put((1, "r"), read(1, stamp_ms=9)), "final, and a copy that came late is the same read"
    assert times(pair) == ([1, 2, 3], None)
    assert pair.put((4, "r"), read(4))
    pair.finalize(9)
    assert times(pair) == ([1, 2, 3], 4)
    assert not pair.open


def test_a_read_that_comes_late_moves_the_last_one_out():
    pair = filled(1, 3, 4)
    pair.finalize(9)
    assert pair.put((2, "r"), read(2))
    assert times(pair) == ([1, 2, 3], 4)


def test_a_refill_stops_where_no_read_can_matter():
    seen = []

    def reads() -> object:
        for at_ms in range(100):
            seen.append(at_ms)
            yield (at_ms, "r"), read(at_ms) if at_ms % 2 else None

    pair = Pair("id")
    pair.refill(reads())  # type: ignore[arg-type]
    assert times(pair) == ([1, 3, 5], 7)
    assert max(seen) == 8


def test_any_order_of_changes_ends_as_a_refill_does():
    for seed in range(200):
        rng = random.Random(seed)
        attached: dict[ReadOrder, StampedRead | None] = {}
        pair = Pair("id")
        for _ in range(30):
            order = (rng.randrange(12), rng.choice("ab"))
            attached[order] = read(*order, stamp_ms=rng.randrange(3)) if rng.random() < 0.7 else None
            was_full = pair.is_full
            if pair.ignores(order[0]):
                continue
            if pair.put(order, attached[order]) and was_full and attached[order] is None:
                pair.refill(sorted(attached.items()))
        again = Pair("id")
        again.refill(sorted(attached.items()))
        assert pair.open == again.open, seed


@pytest.mark.parametrize("late_ms", [(1, 2), (2, 1)])
def test_any_number_of_reads_that_come_late_move_the_last_ones_out(late_ms):
    pair = filled(4, 5, 6, 7)
    pair.finalize(9)
    for at_ms in late_ms:
        assert not pair.ignores(at_ms)
        assert pair.put((at_ms, "r"), read(at_ms))
    assert times(pair) == ([1, 2, 4], 5)
    pair.refill(((at_ms, "r"), read(at_ms)) for at_ms in (1, 2))
    assert times(pair) == ([1, 2, 4], 5)
    pair.finalize(9)
    assert times(pair) == ([1, 2, 4], 5)
    assert pair.ignores(6)


def test_late_reads_beyond_what_an_incident_keeps_are_not_kept():
    pair = filled(40, 50, 60)
    pair.finalize(99)
    for at_ms in range(30):
        pair.put((at_ms, "r"), read(at_ms))
    assert times(pair) == ([0, 1, 2], 3)
    assert len(pair.open) == MOST + 1
