"""Which of several records is the fact, and the outcome of each."""

from __future__ import annotations

import hashlib
import itertools
import json
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict

from streams.core.events import Event, IncidentAction, PlateRead, ShotAlert, VehicleHit, tie_rank
from streams.core.facts import Versions

E = TypeVar("E", bound=Event)
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


def digest_of(**fields: Any) -> str:
    """The digest of a content, from its canonical JSON written by hand."""
    text = ",".join(f'"{name}":{json.dumps(value, ensure_ascii=False)}' for name, value in sorted(fields.items()))
    return hashlib.sha256(f"{{{text}}}".encode()).hexdigest()[:32]


SHOT = {
    "alert_id": "S",
    "kind": "single_gunshot",
    "lat": 0.0,
    "lon": 0.0,
    "occurred_at_ms": 0,
    "revision": 0,
    "rounds": None,
    "source": None,
    "status": "unreviewed",
    "uncertainty_m": 25,
}


def winning(*events: E) -> E:
    """The fact among events, which must be the same in any order."""
    facts = []
    for order in itertools.permutations(events):
        known: Versions[E] = Versions()
        for event in order:
            known.add(event, 0)
        fact = known.fact(0)
        assert fact is not None
        facts.append(fact.event)
    assert all(fact == facts[0] for fact in facts)
    return facts[0]


@pytest.mark.parametrize(
    ("first", "second"), [({"lat": 1e-05}, {"lat": 1e-10}), ({"source": "é"}, {"source": "😀"}), ({}, {"rounds": 3})]
)
def test_among_equal_revisions_the_content_with_the_greatest_digest_is_the_fact(first, second):
    greatest = max(({**SHOT, **first}, {**SHOT, **second}), key=lambda fields: digest_of(**fields))
    assert asdict(winning(ShotAlert(**(SHOT | first)), ShotAlert(**(SHOT | second)))) == greatest


def test_a_dismissal_never_wins_and_doubt_never_confirms():
    shots = {status: ShotAlert(**(SHOT | {"status": status})) for status in ("dismissed", "unreviewed", "confirmed")}
    assert winning(shots["dismissed"], shots["unreviewed"]) == shots["unreviewed"]
    assert winning(shots["dismissed"], shots["confirmed"]) == shots["confirmed"]
    assert winning(*shots.values()) == shots["unreviewed"]


def test_a_listing_that_has_ended_wins_over_an_active_one():
    active, recovered, cancelled = hit(), hit(status="recovered", cleared_at_ms=9), hit(status="cancelled")
    assert winning(active, recovered) == recovered
    assert winning(active, recovered, cancelled) == cancelled


@pytest.mark.parametrize("kind", ["acknowledge", "plate_verified", "listing_confirmed", "outcome"])
def test_a_dismiss_loses_to_every_other_action_whatever_its_text(kind):
    other = IncidentAction("A", "I", kind, "someone", 0)
    for n in range(20):
        assert winning(IncidentAction("A", "I", "dismiss", "someone", 0, note=str(n)), other) == other


def test_contents_that_differ_in_the_spelling_of_the_plate_have_one_digest_and_the_greater_json_wins():
    spelt = [VehicleHit("H", plate, 0) for plate in ("SIM-B01", "simb01", "SIMB01")]
    assert len({tie_rank(event)[1] for event in spelt}) == 1
    assert winning(*spelt).plate == "simb01"


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
