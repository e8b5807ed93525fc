"""The interval buffer joins like other stream engines: Flink's test cases and two known pitfalls.

A join of two buffers takes a few lines: store the record, then query the other side for the
interval around its time. Flink's watermark W means that no record up to and including W will
arrive. Ours is the earliest time at which a record may still arrive, so it is W + 1.
"""

from __future__ import annotations

import copy

import pytest

from streams.core.windows import IntervalBuffer

KEY = "one key"


class Join:
    """Left and right records at whole times; a pair matches if lower <= right - left <= upper."""

    def __init__(self, lower: int, upper: int) -> None:
        self.lower, self.upper = lower, upper
        self.left: IntervalBuffer[str, int] = IntervalBuffer()
        self.right: IntervalBuffer[str, int] = IntervalBuffer()
        self.watermark = -100
        self.pairs: list[str] = []
        self.late: list[str] = []

    def feed(self, *records: str) -> Join:
        for record in records:
            side, at = record[0], int(record[1:])
            if at < self.watermark - 1:
                self.late.append(record)
            elif side == "L":
                self.left.add(KEY, at, at)
                self.pairs += [f"{at}{r}" for r in self.right.between(KEY, at + self.lower, at + self.upper)]
            else:
                self.right.add(KEY, at, at)
                self.pairs += [f"{left}{at}" for left in self.left.between(KEY, at - self.upper, at - self.lower)]
        return self

    def passed(self, flink_watermark: int) -> Join:
        self.watermark = flink_watermark + 1
        self.left.release(self.watermark - max(0, self.upper))
        self.right.release(self.watermark - max(0, -self.lower))
        return self

    def kept(self) -> tuple[list[int], list[int]]:
        return list(self.left.between(KEY, -99, 99)), list(self.right.between(KEY, -99, 99))


LEFT_FIRST = ("L1", "L2", "L3", "L4", "R1", "R2", "R3", "R4")
RIGHT_FIRST = LEFT_FIRST[4:] + LEFT_FIRST[:4]


@pytest.mark.parametrize("records", [LEFT_FIRST, RIGHT_FIRST], ids=["left first", "right first"])
@pytest.mark.parametrize(
    ("lower", "upper", "pairs"),
    [
        pytest.param(1, 2, "12 13 23 24 34", id="[1,3)"),
        pytest.param(-2, -1, "21 31 32 42 43", id="(-3,-1] and [-2,-1]"),
        pytest.param(-1, 1, "11 12 21 22 23 32 33 34 43 44", id="[-1,1]"),
        pytest.param(-2, -2, "31 42", id="(-3,-1)"),
        pytest.param(0, 0, "11 22 33 44", id="(-1,1)"),
    ],
)
def test_pairs_within_the_bounds_match_flink(lower: int, upper: int, pairs: str, records: tuple[str, ...]):
    assert sorted(Join(lower, upper).feed(*records).pairs) == pairs.split()


def test_late_records_are_reported_and_not_joined():
    join = Join(-1, 1).feed("L3", "R3").passed(3).feed("L4", "R4", "L1", "R2", "L5", "R5")
    assert sorted(join.pairs) == ["33", "34", "43", "44", "45", "54", "55"]
    assert join.late == ["L1", "R2"]


def test_the_watermark_removes_exactly_the_records_that_can_no_longer_match():
    join = Join(-1, 0).feed(*(f"{side}{at}" for at in range(1, 6) for side in "LR"))
    assert join.passed(1).kept() == ([2, 3, 4, 5], [1, 2, 3, 4, 5])
    assert join.passed(4).kept() == ([5], [4, 5])
    assert join.passed(6).kept() == ([], [])
    assert len(join.left) == len(join.right) == 0


def test_a_restored_copy_continues_from_the_snapshot():
    join = Join(-1, 1).feed(*(f"{side}{at}" for at in range(1, 4) for side in "LR"))
    assert len(join.pairs) == 7
    restored = copy.deepcopy(join)
    restored.pairs.clear()
    assert sorted(restored.feed("L4", "R4").pairs) == ["34", "43", "44"]


def test_a_left_record_that_arrives_last_still_matches_later_right_records():
    join = Join(-3, 3).feed("R6", "R7", "R8", "R11", "L10")
    assert join.pairs == ["107", "108", "1011"]


def test_one_clock_in_the_future_makes_no_other_record_late():
    join = Join(-1, 1).feed("R99", "L3", "R3")
    assert join.late == []
    assert join.pairs == ["33"]
    assert join.passed(3).kept() == ([3], [3, 99])
