"""The engine, one rule at a time: deadlines, freezes, attachment, present facts, release.

Times are in minutes after the shot unless the name has another unit. Reads are retained for
60 minutes; incidents can change for 300.
"""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import json, structs

from streams.core.engine import Engine
from streams.core.events import IncidentAction, InvalidRecord, LinkedIncident, PlateRead, Record, ShotAlert, VehicleHit
from streams.core.incidents import incident_id
from streams.core.intake import Admitted
from streams.core.plates import plate_key
from streams.core.rules import JoinRules
from streams.core.site import Ramp, Site
from streams.core.topics import ACTIONS, HITS, READS, SHOTS
from streams.core.unlisted_reads import CHUNK_READS

MINUTE_MS = 60_000
AT_MS = 1_780_000_000_000
KEPT, FREEZE = 60, 300
TTL = 1_000
RULES = JoinRules(
    read_retention_ms=KEPT * MINUTE_MS,
    incident_retention_ms=FREEZE * MINUTE_MS,
    hit_ttl_ms=TTL * MINUTE_MS,
    shot_memory_ms=5_000 * MINUTE_MS,
    max_hits_per_plate=3,
)
SITE = Site("example", "America/New_York", {"ramp": Ramp("ramp", "I-91", "48", "on", 41.76, -72.67)})
SHOT = ShotAlert("S", "single_gunshot", AT_MS, 41.76, -72.67)
HIT = VehicleHit("H", "SIMB01", AT_MS - 60 * MINUTE_MS)
READ = PlateRead("R", "SIMB01", AT_MS, "ramp", "camera", 0.9)
NAME = incident_id("S", "H", "51M801")


def ms(minutes: float) -> int:
    return AT_MS + round(minutes * MINUTE_MS)


class Case:
    """An engine and the latest revision of each incident it published."""

    def __init__(self, rules: JoinRules = RULES) -> None:
        self.engine = Engine(SITE, rules)
        self.published: dict[str, LinkedIncident] = {}

    def shot(self, stamp: float = 0, **fields: Any) -> Case:
        self.engine.apply_broadcast(Admitted(structs.replace(SHOT, **fields), "", Record(SHOTS, 0, 0, ms(stamp), b"")))
        return self

    def action(self, stamp: float, **fields: Any) -> Case:
        event = IncidentAction("A", NAME, "acknowledge", "someone", ms(stamp))
        self.engine.apply_broadcast(
            Admitted(structs.replace(event, **fields), "", Record(ACTIONS, 0, 0, ms(stamp), b""))
        )
        return self

    def hit(self, stamp: float = -60, **fields: Any) -> Case:
        self.outcome_of(structs.replace(HIT, **fields), HITS, stamp)
        return self

    def read(self, at: float = 1, stamp: float | None = None, **fields: Any) -> Case:
        event = structs.replace(READ, captured_at_ms=ms(at), **fields)
        self.outcome_of(event, READS, at if stamp is None else stamp)
        return self

    def outcome_of(self, event: PlateRead | VehicleHit, topic: str, stamp: float) -> str:
        return self.engine.join(
            Admitted(event, plate_key(event.plate), Record(topic, 0, 0, ms(stamp), json.encode(event)))
        )

    def publish(self) -> list[LinkedIncident]:
        changes = self.engine.changes()
        self.published |= {incident.incident_id: incident for incident in changes}
        return changes

    def advance_past(self, minutes: float) -> Case:
        """Publish, then advance the watermark past the given time."""
        self.publish()
        self.engine.release(ms(minutes) + 1)
        return self

    @property
    def incident(self) -> LinkedIncident:
        self.publish()
        return self.published[NAME]

    @property
    def reads(self) -> tuple[list[str], list[str]]:
        incident = self.incident
        return [s.read_id for s in incident.sightings], [s.read_id for s in incident.set_aside]


def linked() -> Case:
    return Case().shot().hit().read()


# --- linking in any order ---


def test_a_shot_a_hit_and_a_read_link_in_any_order():
    for order in (("shot", "hit", "read"), ("read", "hit", "shot"), ("hit", "read", "shot"), ("read", "shot", "hit")):
        case = Case()
        for step in order:
            assert case.publish() == []
            getattr(case, step)()
        assert (case.incident.status, case.incident.revision, case.incident.incident_id) == ("open", 1, NAME)


def test_an_unchanged_incident_is_not_republished():
    case = linked()
    assert len(case.publish()) == 1
    assert case.publish() == []
    case.shot().hit().read()
    assert case.publish() == []


def test_a_repeated_hit_that_only_changes_the_stamp_publishes_nothing():
    case = linked()
    case.publish()
    case.hit(stamp=-70)
    assert case.publish() == []


def test_two_shots_and_two_hits_for_one_plate_give_four_incidents():
    case = Case().shot().shot(alert_id="S2").hit().hit(hit_id="H2").read()
    assert len(case.publish()) == 4


def test_a_theft_reported_after_the_read_links_while_the_read_is_retained():
    case = Case().shot().read(1).hit(50, reported_at_ms=ms(50))
    assert case.incident.status == "open"


def test_moving_a_shot_away_retracts_the_incident_and_moving_it_back_reopens_it():
    case = linked()
    assert case.incident.status == "open"
    case.shot(5, revision=1, occurred_at_ms=ms(120))
    assert (case.incident.status, case.incident.revision) == ("retracted", 2)
    case.shot(6, revision=2)
    assert (case.incident.status, case.incident.revision) == ("open", 3)


def test_an_incident_without_attached_reads_is_retracted_and_empty():
    case = linked().advance_past(5)
    case.hit(6, revision=1, status="cancelled")
    assert case.incident.status == "retracted"
    assert case.reads == ([], [])


# --- deadlines ---


def test_a_fact_stamped_at_the_deadline_still_attaches():
    assert Case().shot().read(1).hit(1 + KEPT).advance_past(500).published.keys() == {NAME}


def test_a_fact_stamped_after_the_deadline_attaches_nothing():
    case = Case().shot().read(1).hit(1 + KEPT + 1 / MINUTE_MS)
    assert case.publish() == []


def test_a_read_past_its_deadline_is_set_aside_and_restored_by_later_facts():
    case = linked().advance_past(1 + KEPT)
    assert case.engine.reads_kept == 0
    case.hit(90, revision=1, status="cancelled")
    assert case.reads == ([], ["R"])
    assert case.incident.status == "retracted"
    case.hit(91, revision=2)
    assert case.reads == (["R"], [])


def test_a_read_detached_before_its_deadline_is_not_restored_after_it():
    case = linked().advance_past(5)
    case.hit(10, revision=1, status="cancelled").advance_past(1 + KEPT)
    case.hit(90, revision=2)
    assert case.reads == ([], [])


def test_attachment_at_the_deadline_does_not_depend_on_when_it_is_computed():
    """The same stamps as above, but all facts are known before the read's deadline."""
    case = linked().hit(10, revision=1, status="cancelled").hit(90, revision=2)
    assert case.publish() == []
    late = linked().hit(90, revision=1, status="cancelled")
    assert late.reads == ([], ["R"])


def test_a_read_is_released_only_once_the_watermark_is_past_its_deadline():
    case = linked()
    case.publish()
    case.engine.release(ms(1 + KEPT))
    assert case.engine.reads_kept == 1
    case.hit(1 + KEPT, hit_id="H2")
    assert len(case.publish()) == 1
    case.engine.release(ms(1 + KEPT) + 1)
    assert case.engine.reads_kept == 0


def test_a_read_repeated_after_its_release_is_finalized_and_publishes_nothing():
    case = linked().advance_past(1 + KEPT)
    read = structs.replace(READ, captured_at_ms=ms(1))
    assert case.outcome_of(read, READS, 1) == "finalized"
    assert case.publish() == []
    assert case.engine.reads_kept == 0


def test_a_watermark_that_goes_back_changes_nothing():
    case = linked().advance_past(1 + KEPT)
    case.engine.release(ms(0))
    case.hit(90, revision=1, status="cancelled")
    assert case.reads == ([], ["R"])


def test_releasing_memory_before_collecting_changes_is_an_error():
    with pytest.raises(AssertionError, match="before releasing memory"):
        linked().engine.release(ms(500))


# --- the freeze ---


def test_a_record_stamped_at_the_freeze_is_applied_and_one_after_it_is_not():
    case = linked().hit(FREEZE, revision=1, make="at")
    assert case.incident.vehicle.make == "at"
    case.hit(FREEZE + 1 / MINUTE_MS, revision=2, make="after")
    case.shot(FREEZE + 1 / MINUTE_MS, revision=1, status="dismissed")
    case.read(2, FREEZE + 1 / MINUTE_MS, read_id="R2")
    assert case.publish() == []


def test_the_freeze_counts_from_the_first_stamp_of_the_shot():
    case = linked().shot(10, revision=1)
    assert case.incident.frozen_at_ms == ms(FREEZE)
    assert case.incident.shot.stamp_ms == ms(10)


def test_a_revision_of_a_frozen_shot_does_not_make_a_new_shot():
    case = linked().advance_past(FREEZE)
    case.shot(FREEZE + 1, revision=5, occurred_at_ms=ms(FREEZE))
    case.read(FREEZE, read_id="R2")
    assert case.publish() == []


def test_a_shot_repeated_after_shot_memory_is_a_new_shot():
    case = linked().advance_past(5_002)
    case.hit(5_003, reported_at_ms=ms(5_000)).shot(5_003, occurred_at_ms=ms(5_003)).read(5_003)
    assert [incident.frozen_at_ms for incident in case.publish()] == [ms(5_003 + FREEZE)]


def test_a_shot_is_frozen_only_once_the_watermark_is_past_its_freeze():
    case = linked()
    case.publish()
    case.engine.release(ms(FREEZE))
    case.shot(FREEZE, revision=1, status="confirmed")
    assert case.incident.shot.status == "confirmed"


# --- the span of the log ---

SINCE = -(TTL + KEPT + 2)
"""The first minute whose hits are considered for a shot first stamped at 0."""


@pytest.mark.parametrize(("stamp", "counts"), [(SINCE, True), (SINCE - 1 / MINUTE_MS, False)])
def test_hits_are_considered_from_a_fixed_span_before_the_shot(stamp, counts):
    case = Case().hit(stamp, revision=9, make="old").hit(-5, revision=1, make="new").shot().read()
    assert case.incident.vehicle.make == ("old" if counts else "new")


def test_the_first_stamp_decides_the_freeze_of_a_shot_revised_to_another_time():
    case = Case().shot(0, occurred_at_ms=ms(-100)).shot(20, revision=1).hit().read()
    assert case.incident.frozen_at_ms == ms(FREEZE)


# --- many reads ---


def test_the_first_fifty_reads_are_kept_in_order_of_time_and_id():
    case = Case().shot().hit()
    for n in reversed(range(52)):
        case.read(n // 2 * 0.5, read_id=f"R{n:02}")
    incident = case.incident
    assert [s.read_id for s in incident.sightings] == [f"R{n:02}" for n in range(50)]
    assert incident.left_out_from_ms == ms(12.5)


def test_with_exactly_fifty_reads_none_is_omitted():
    case = Case().shot().hit()
    for n in range(50):
        case.read(n * 0.5, read_id=f"R{n}")
    assert case.incident.left_out_from_ms is None


def test_set_aside_reads_count_towards_fifty_and_omitted_reads_stay_omitted():
    case = Case().shot().hit()
    for n in range(60):
        case.read(n * 0.5, read_id=f"R{n:02}")
    case.advance_past(29.5 + KEPT)
    case.hit(FREEZE - 1, revision=1, status="recovered", cleared_at_ms=ms(10))
    incident = case.incident
    assert (len(incident.sightings), len(incident.set_aside)) == (20, 30)
    assert incident.left_out_from_ms == ms(25)


def test_the_incident_does_not_depend_on_how_often_memory_was_released():
    never_released, often_released = Case().shot().hit(), Case().shot().hit()
    for n in range(60):
        at = n * 0.5
        never_released.read(at, read_id=f"R{n:02}")
        often_released.read(at, read_id=f"R{n:02}")
    for n in range(120):
        often_released.advance_past(n)
    assert structs.replace(never_released.incident, revision=1) == structs.replace(often_released.incident, revision=1)


# --- actions ---


def test_an_action_counts_from_the_shots_first_stamp_to_the_freeze():
    case = linked()
    for action_id, stamp in (("a", -1 / MINUTE_MS), ("b", 0), ("c", FREEZE), ("d", FREEZE + 1 / MINUTE_MS)):
        case.action(stamp, action_id=action_id)
    assert [action.action_id for action in case.incident.review] == ["b", "c"]


def test_an_action_received_before_its_incident_is_applied_when_the_incident_appears():
    case = Case().action(2).shot().hit()
    assert case.publish() == []
    case.read()
    assert [action.action_id for action in case.incident.review] == ["A"]


def test_actions_are_ordered_by_time_and_a_dismissal_does_not_change_the_status():
    case = linked().action(5, action_id="b", at_ms=ms(3)).action(6, action_id="a", at_ms=ms(3), kind="dismiss")
    case.action(4, action_id="c", at_ms=ms(9))
    assert [action.action_id for action in case.incident.review] == ["a", "b", "c"]
    assert case.incident.status == "open"


def test_the_first_fifty_actions_are_kept():
    case = linked()
    for n in reversed(range(51)):
        case.action(1, action_id=f"{n:02}", at_ms=ms(n))
    assert [action.action_id for action in case.incident.review] == [f"{n:02}" for n in range(50)]


def test_of_two_versions_of_an_action_the_one_that_does_not_dismiss_counts():
    case = linked()
    for stamp, kind in ((3, "dismiss"), (4, "acknowledge"), (5, "dismiss")):
        case.action(stamp, kind=kind, at_ms=AT_MS)
    assert [(action.kind, action.stamp_ms) for action in case.incident.review] == [("acknowledge", ms(4))]


def test_an_actions_stamp_is_the_smallest_that_counts_even_after_a_release():
    """The action is received once before the shot and twice after it.

    When the retention of the first copy is over, the second still counts.
    """
    case = Case().action(-5, at_ms=0).shot().hit().read().action(1, at_ms=0).action(2, at_ms=0)
    assert [action.stamp_ms for action in case.incident.review] == [ms(1)]
    case.advance_past(FREEZE - 4)
    case.hit(FREEZE - 3, revision=1, make="Ford")
    assert [action.stamp_ms for action in case.incident.review] == [ms(1)]


# --- outcomes and limits ---


def test_each_record_has_the_expected_outcome():
    case = Case()
    outcomes = [
        case.outcome_of(structs.replace(HIT, revision=n, make=make), HITS, 0)
        for n, make in [(1, "a"), (0, "a"), (1, "b"), (1, "a")]
    ]
    assert outcomes == ["used", "superseded", "conflict", "duplicate"]
    case.hit()
    assert [case.outcome_of(structs.replace(READ, confidence=c), READS, 0) for c in (0.9, 0.8, 0.9)] == [
        "used",
        "conflict",
        "duplicate",
    ]


def test_reads_with_different_times_or_plates_are_distinct():
    case = Case().hit().hit(plate="T0YZG5", hit_id="2")
    others: list[dict[str, Any]] = [{}, {"captured_at_ms": AT_MS + 1}, {"plate": "T0YZG5"}]
    assert [case.outcome_of(structs.replace(READ, **other), READS, 0) for other in others] == ["used"] * 3
    assert case.outcome_of(structs.replace(READ, plate="5IM801"), READS, 0) == "conflict"


def test_hits_beyond_max_hits_per_plate_are_rejected_and_the_others_remain():
    case = Case().shot().hit(hit_id="1").hit(hit_id="2").hit(hit_id="3").read()
    with pytest.raises(InvalidRecord, match="max_hits_per_plate") as rejected:
        case.hit(hit_id="4")
    assert (rejected.value.reason, rejected.value.field) == ("limit", "plate")
    case.hit(hit_id="3", revision=1).hit(plate="T0YZG5", hit_id="4")
    assert len(case.publish()) == 3


def test_a_hit_is_retained_while_it_can_matter_and_then_frees_its_place():
    case = Case().hit(hit_id="1").hit(hit_id="2").hit(hit_id="3")
    over_ms = ms(-60 + TTL + FREEZE + KEPT + 2)
    case.publish()
    case.engine.release(over_ms)
    with pytest.raises(InvalidRecord, match="3 hits"):
        case.hit(2_000, hit_id="4")
    case.engine.release(over_ms + 1)
    assert case.outcome_of(structs.replace(HIT, hit_id="4"), HITS, 2_000) == "used"


def test_a_renewed_hit_is_retained():
    case = Case().hit(-60).hit(1_000, revision=1, reported_at_ms=ms(1_000))
    case.advance_past(1_500)
    case.shot(1_500, occurred_at_ms=ms(1_500)).read(1_500)
    assert [incident.status for incident in case.publish()] == ["open"]


def test_reads_of_unlisted_plates_are_released_too():
    case = Case()
    for n in range(100):
        case.read(n, plate=f"X{n}")
    case.engine.release(ms(99 + KEPT))
    assert case.engine.reads_kept == 100
    case.engine.release(ms(99 + KEPT) + 1)
    assert case.engine.reads_kept == 0


def test_compressed_reads_are_joined_once_their_plate_is_listed():
    case = Case().shot()
    for n in range(2 * CHUNK_READS):
        case.read(0, plate=f"X{n}", read_id=f"other {n}")
    case.read().read(read_id="again").read()
    for n in range(CHUNK_READS):
        case.read(0, plate=f"X{n}", read_id=f"later {n}")
    assert case.publish() == []
    [incident] = case.hit(1).publish()
    assert [sighting.read_id for sighting in incident.sightings] == [READ.read_id, "again"]


# --- incidents published under other rules ---


def restored(published: LinkedIncident, finalized_through: float, rules: JoinRules, stands: bool = True) -> Case:
    """An engine with other rules that restores published incidents and rereads the topics."""
    case = Case(rules)
    case.engine = Engine(SITE, rules, finalized_through_ms=ms(finalized_through))
    case.engine.restore(published, under_other_digest=True, stands=stands)
    case.published = {published.incident_id: published}
    return case.shot().hit()


@pytest.mark.parametrize("finalized_through", [FREEZE - 10, FREEZE + 10])
def test_a_longer_retention_also_extends_incidents_published_before_the_change(finalized_through: float) -> None:
    longer = structs.replace(RULES, incident_retention_ms=2 * FREEZE * MINUTE_MS)
    case = restored(linked().incident, finalized_through, longer)
    assert case.publish() == [], "other rules alone change nothing"
    case.advance_past(FREEZE + 20)
    case.hit(FREEZE + 30, revision=1, status="cancelled")
    incident = case.incident
    assert (incident.status, incident.revision, incident.frozen_at_ms) == ("retracted", 2, ms(2 * FREEZE))


@pytest.mark.parametrize("finalized_through", [FREEZE - 10, FREEZE + 10])
def test_republished_under_a_longer_retention_an_incident_freezes_at_the_new_time(finalized_through: float) -> None:
    longer = structs.replace(RULES, incident_retention_ms=2 * FREEZE * MINUTE_MS)
    case = restored(linked().incident, finalized_through, longer, stands=False)
    assert [(each.revision, each.frozen_at_ms) for each in case.publish()] == [(2, ms(2 * FREEZE))]
    case.advance_past(FREEZE + 20)
    case.hit(FREEZE + 30, revision=1, status="cancelled")
    assert (case.incident.status, case.incident.frozen_at_ms) == ("retracted", ms(2 * FREEZE))


def test_a_withheld_incident_is_never_published_and_the_others_are() -> None:
    case = Case()
    case.engine.withhold(NAME)
    case.shot().shot(alert_id="S2").hit().read()
    assert [incident.shot.alert_id for incident in case.publish()] == ["S2"]
    case.shot(1, revision=1, status="confirmed")
    case.advance_past(FREEZE - 1)
    assert case.publish() == []


# --- a shot that comes again long after ---

LONG_KEPT = structs.replace(RULES, read_retention_ms=9_000 * MINUTE_MS)
"""Reads are kept for longer than shots are remembered, so that one may still be attached."""
MEMORY = 5_000


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_revision_after_shot_memory_changes_nothing_whether_or_not_the_shot_is_forgotten(forgotten: bool) -> None:
    case = Case(LONG_KEPT).shot().hit()
    if forgotten:
        case.advance_past(MEMORY + 10)
    case.shot(MEMORY + 20, revision=1).read(1, stamp=MEMORY + 30)
    assert case.publish() == []


@pytest.mark.parametrize("released", [False, True])
def test_the_last_record_that_may_count_finds_its_shot_remembered(released: bool) -> None:
    """The shot's clock was two minutes ahead: it may be revised until memory and two minutes."""
    case = Case(LONG_KEPT).shot(0, occurred_at_ms=ms(2)).hit()
    if released:
        case.publish()
        case.engine.release(ms(MEMORY + 2))
    case.shot(MEMORY + 2, revision=1, occurred_at_ms=ms(2)).read(3, stamp=MEMORY + 3)
    assert case.publish() == []
