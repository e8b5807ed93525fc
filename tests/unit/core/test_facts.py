"""Which of several records is the fact, and the outcome of each."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.events import IncidentAction, PlateRead, ShotAlert, VehicleHit
from streams.core.facts import Versions

no_deadline = settings(deadline=None)


def hit(revision: int = 0, make: str | None = None, **fields: Any) -> VehicleHit:
    return VehicleHit(hit_id="H", plate="TEST 123", reported_at_ms=0, revision=revision, make=make, **fields)


def versions(*records: tuple[int, VehicleHit]) -> Versions[VehicleHit]:
    made: Versions[VehicleHit] = Versions()
    for stamp_ms, event in records:
        made.add(event, stamp_ms)
    return made


def make_of(known: Versions[VehicleHit], until_ms: int, since_ms: int = -1_000) -> str | None:
    fact = known.fact(until_ms, since_ms)
    assert fact is not None
    return fact.event.make


def test_the_greatest_revision_is_the_fact_regardless_of_arrival_order():
    assert make_of(versions((1, hit(2, "second")), (2, hit(1, "first"))), 10) == "second"


def test_among_equal_revisions_the_greatest_canonical_json_is_the_fact():
    assert make_of(versions((1, hit(1, "b")), (2, hit(1, "a")), (3, hit(0, "c"))), 10) == "b"


def test_canonical_json_is_compared_as_utf_8_bytes():
    # U+FF61 comes before U+1F600 in UTF-8, after it in UTF-16
    assert make_of(versions((1, hit(make="\U0001f600")), (2, hit(make="\uff61"))), 10) == "\U0001f600"


@pytest.mark.parametrize(("small", "great"), [(1e-05, 1e-10), (0.5, 1.0), (10.0, 9.5), (-1.0, 1.0)])
def test_canonical_numbers_are_compared_as_text(small, great):
    shots: Versions[ShotAlert] = Versions()
    for lat in (great, small):
        at = ShotAlert(alert_id="S", kind="single_gunshot", occurred_at_ms=0, lat=lat, lon=0.0)
        shots.add(at, 0)
    fact = shots.fact(0)
    assert fact is not None
    assert fact.event.lat == great


def test_both_ends_of_the_span_are_inclusive():
    known = versions((10, hit(5, "early")), (20, hit(3, "late")))
    assert make_of(known, 20, 10) == "early"
    assert make_of(known, 20, 11) == "late"
    assert make_of(known, 19, 10) == "early"
    assert known.fact(19, 11) is None
    assert known.fact(9) is None


def test_content_received_several_times_keeps_all_its_stamps():
    known = versions((30, hit(1, "a")), (10, hit(1, "a")), (20, hit(1, "a")))
    fact = known.fact(10)
    assert fact is not None
    assert (fact.stamp_ms(), fact.stamp_ms(11), fact.stamp_ms(20), fact.stamp_ms(21)) == (10, 20, 20, 30)
    assert known.first_ms == 10


def test_the_first_stamp_is_the_smallest_of_all_contents():
    assert versions((30, hit(1)), (10, hit(0)), (20, hit(2))).first_ms == 10


def test_each_record_has_the_outcome_that_follows_from_earlier_ones():
    known = versions()
    records = [(1, "a"), (0, "a"), (1, "b"), (1, "a"), (0, "a"), (2, "a"), (2, "b")]
    outcomes = [known.add(hit(revision, make), n) for n, (revision, make) in enumerate(records)]
    assert outcomes == ["used", "superseded", "conflict", "duplicate", "duplicate", "used", "conflict"]


def test_events_without_revisions_can_only_conflict():
    reads: Versions[PlateRead] = Versions()
    actions: Versions[IncidentAction] = Versions()
    for confidence, outcome in ((0.9, "used"), (0.8, "conflict"), (0.9, "duplicate")):
        read = PlateRead("R", "TEST 123", 0, "ramp", "camera", confidence)
        assert reads.add(read, 0) == outcome
    for note, outcome in ((None, "used"), ("seen", "conflict"), ("seen", "duplicate")):
        assert actions.add(IncidentAction("A", "I", "dismiss", "someone", 0, note=note), 0) == outcome


def test_negative_zero_is_different_content_because_its_text_differs():
    shots = [ShotAlert("S", "single_gunshot", 0, lat, 0.0) for lat in (0.0, -0.0)]
    facts = set()
    for order in (shots, shots[::-1]):
        known: Versions[ShotAlert] = Versions()
        for shot in order:
            known.add(shot, 0)
        fact = known.fact(0)
        assert fact is not None
        facts.add(str(fact.event.lat))
    assert len(facts) == 1, "the fact depends on which came first"


records_of_one_hit = st.lists(
    st.tuples(st.integers(0, 20), st.builds(hit, st.integers(0, 3), st.sampled_from("ab"))), min_size=1, max_size=12
)


@no_deadline
@given(records_of_one_hit, st.randoms(use_true_random=False), st.integers(-1, 21), st.integers(-1, 21))
def test_the_fact_does_not_depend_on_arrival_order(records, rng, until_ms, since_ms):
    orders = [records, rng.sample(records, len(records))]
    facts = [versions(*order).fact(until_ms, since_ms) for order in orders]
    results = [fact and (fact.event, fact.stamp_ms(since_ms)) for fact in facts]
    assert results[0] == results[1]


@no_deadline
@given(records_of_one_hit, st.integers(0, 25), st.integers(0, 10))
def test_forgetting_changes_no_fact_from_the_watermark_on(records, watermark_ms, keep_ms):
    """Checks spans that begin at most ``keep_ms`` before the watermark and end at or after it."""
    whole, thinned = versions(*records), versions(*records)
    forgotten = thinned.forget(watermark_ms, keep_ms)
    assert forgotten == all(stamp_ms + keep_ms < watermark_ms for stamp_ms, _ in records)
    for since_ms in range(watermark_ms - keep_ms, watermark_ms + 1):
        for until_ms in range(watermark_ms, watermark_ms + 5):
            facts = [known.fact(until_ms, since_ms) for known in (whole, thinned)]
            if forgotten:
                assert facts[0] is None
            else:
                assert (facts[0] and facts[0].event) == (facts[1] and facts[1].event)


def test_an_identity_is_forgotten_only_after_its_retention():
    assert not versions((10, hit())).forget(15, 5)
    assert versions((10, hit())).forget(16, 5)
