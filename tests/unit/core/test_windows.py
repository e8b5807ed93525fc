"""Event-time windows and the watermark: interval bounds, expiry, release and progress."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.windows import NEVER, Expiry, IntervalBuffer, Watermark

SLACK_MS = 60
no_deadline = settings(deadline=None)
times = st.integers(-50, 50)


def expiry(*due_ms: int) -> Expiry[str]:
    made: Expiry[str] = Expiry()
    for at_ms in due_ms:
        made.add(at_ms, str(at_ms))
    return made


def test_items_are_due_once_and_in_order_of_time():
    made = expiry(30, 10, 20)
    assert list(made.due(25)) == ["10", "20"]
    assert list(made.due(25)) == []
    assert len(made) == 1


def test_a_time_equal_to_the_watermark_has_not_passed():
    made = expiry(10)
    assert list(made.due(10)) == []
    assert list(made.due(11)) == ["10"]


def test_items_due_at_the_same_time_need_no_ordering_and_keep_insertion_order():
    made: Expiry[object] = Expiry()
    items = [object(), object(), object()]
    for item in items:
        made.add(5, item)
    assert list(made.due(6)) == items


def buffer(*rows: tuple[str, int]) -> IntervalBuffer[str, str]:
    made: IntervalBuffer[str, str] = IntervalBuffer()
    for key, at_ms in rows:
        made.add(key, at_ms, f"{key}{at_ms}")
    return made


def test_interval_bounds_are_inclusive():
    made = buffer(("a", 9), ("a", 10), ("a", 20), ("a", 21))
    assert list(made.between("a", 10, 20)) == ["a10", "a20"]


def test_an_interval_that_ends_before_it_begins_is_empty():
    assert list(buffer(("a", 10)).between("a", 11, 9)) == []


def test_keys_are_independent_and_an_unknown_key_is_empty():
    made = buffer(("a", 10), ("b", 11))
    assert list(made.between("b", 0, 99)) == ["b11"]
    assert list(made.between("c", 0, 99)) == []
    assert "c" not in made
    assert sorted(made) == ["a", "b"]


def test_items_at_the_exact_release_time_are_retained():
    made = buffer(("a", 10), ("a", 11))
    assert made.release(10) == []
    assert made.release(11) == [("a", "a10")]
    assert len(made) == 1


def test_a_key_is_removed_once_all_its_items_are_released():
    made = buffer(("a", 10))
    assert made.release(99) == [("a", "a10")]
    assert "a" not in made
    assert len(made) == 0


@no_deadline
@given(rows=st.lists(st.tuples(st.sampled_from("ab"), times)), from_ms=times, to_ms=times, before_ms=times)
def test_a_buffer_behaves_like_a_sorted_list(rows, from_ms, to_ms, before_ms):
    made = buffer(*rows)
    released = made.release(before_ms)
    assert [at for key, at in sorted(rows, key=lambda r: r[1]) if at < before_ms] == sorted(
        int(f[1:]) for _, f in released
    )
    assert sorted(released) == sorted((key, f"{key}{at}") for key, at in rows if at < before_ms)
    for key in "ab":
        retained = sorted(at for k, at in rows if k == key and at >= before_ms and from_ms <= at <= to_ms)
        assert list(made.between(key, from_ms, to_ms)) == [f"{key}{at}" for at in retained]


# --- the watermark ---


def watermark(*inputs: str) -> Watermark:
    return Watermark(frozenset(inputs or ("hits", "reads")), SLACK_MS)


def test_the_watermark_does_not_start_until_every_input_has_been_read():
    made = watermark()
    made.seen("hits", 1_000)
    assert made.value_ms == NEVER
    made.seen("reads", 500)
    assert made.value_ms == 500


def test_the_slowest_input_holds_the_watermark_back():
    made = watermark("hits", "reads", "shots")
    for source, stamp_ms in (("hits", 300), ("reads", 100), ("shots", 200), ("reads", 150)):
        made.seen(source, stamp_ms)
    assert made.value_ms == 150


def test_the_watermark_never_goes_back():
    made = watermark()
    made.seen("hits", 100)
    made.seen("reads", 100)
    made.seen("reads", 50)
    assert made.value_ms == 100
    made.seen("hits", 200)
    assert made.value_ms == 100


def test_an_input_read_to_its_end_counts_as_the_greatest_stamp_at_the_request_minus_slack():
    made = watermark()
    made.seen("reads", 1_000)
    requested_at_ms = made.greatest_ms
    made.seen("reads", 5_000)
    made.read_to_end("hits", requested_at_ms)
    assert made.value_ms == 1_000 - SLACK_MS


def test_an_end_requested_before_any_record_was_seen_has_no_effect():
    made = watermark()
    made.read_to_end("hits", made.greatest_ms)
    made.seen("reads", 1_000)
    assert made.value_ms == NEVER


def test_reading_an_input_to_its_end_does_not_lower_its_own_stamp():
    made = watermark()
    made.seen("hits", 1_000)
    made.seen("reads", 1_000)
    made.read_to_end("hits", 1_000)
    assert made.value_ms == 1_000


def test_an_unknown_input_raises_key_error():
    with pytest.raises(KeyError):
        watermark().seen("weather", 1)


@no_deadline
@given(st.lists(st.tuples(st.sampled_from(["hits", "reads"]), times, st.booleans())))
def test_the_watermark_is_never_ahead_of_its_inputs(steps):
    made, reached = watermark(), {"hits": NEVER, "reads": NEVER}
    for source, stamp_ms, ended in steps:
        before_ms, requested_at_ms = made.value_ms, made.greatest_ms
        if ended:
            made.read_to_end(source, requested_at_ms)
            reached[source] = max(reached[source], requested_at_ms - SLACK_MS if requested_at_ms > NEVER else NEVER)
        else:
            made.seen(source, stamp_ms)
            reached[source] = max(reached[source], stamp_ms)
        assert before_ms <= made.value_ms == min(reached.values())
