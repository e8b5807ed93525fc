"""Shots and actions: one outcome for all partitions, and the history for engines added later."""

from __future__ import annotations

import pytest
from msgspec import structs

from streams.core.broadcast_state import BroadcastState
from streams.core.events import IncidentAction, InvalidRecord, Record, ShotAlert
from streams.core.intake import Admitted
from streams.core.rules import JoinRules
from streams.core.topics import ACTIONS, SHOTS

RULES = JoinRules(max_shots=2, incident_retention_ms=100, shot_memory_ms=900, max_future_skew_ms=100)
SHOT = ShotAlert("S", "single_gunshot", 0, 41.76, -72.67)
ACTION = IncidentAction("A", "I", "dismiss", "someone", 0)


def shot(stamp_ms: int = 0, alert_id: str = "S", revision: int = 0, source: str | None = None) -> Admitted:
    event = structs.replace(SHOT, alert_id=alert_id, revision=revision, source=source)
    return Admitted(event, "", Record(SHOTS, 0, 0, stamp_ms, b""))


def action(stamp_ms: int = 0, action_id: str = "A", incident: str = "I") -> Admitted:
    event = structs.replace(ACTION, action_id=action_id, incident_id=incident)
    return Admitted(event, "", Record(ACTIONS, 0, 0, stamp_ms, b""))


def test_every_record_counts_as_what_it_is():
    broadcast = BroadcastState(RULES)
    records = [shot(revision=1), shot(), shot(revision=1, source="a"), shot(revision=1), shot(revision=2)]
    assert [broadcast.apply(r) for r in records] == ["used", "superseded", "conflict", "duplicate", "used"]


def test_an_action_is_identified_by_incident_and_action_id():
    broadcast = BroadcastState(RULES)
    records = [action(), action(incident="J"), action(action_id="B"), action()]
    assert [broadcast.apply(r) for r in records] == ["used", "used", "used", "duplicate"]


def test_a_shot_and_an_action_with_the_same_id_are_distinct():
    broadcast = BroadcastState(RULES)
    assert broadcast.apply(shot(alert_id="A")) == "used"
    assert broadcast.apply(action(action_id="A", incident="A")) == "used"


def test_shots_beyond_max_shots_are_rejected():
    broadcast = BroadcastState(RULES)
    broadcast.apply(shot(0, "1"))
    broadcast.apply(shot(0, "2"))
    with pytest.raises(InvalidRecord, match="max_shots") as rejected:
        broadcast.apply(shot(100, "3"))
    assert (rejected.value.reason, rejected.value.field) == ("limit", "alert_id")
    assert broadcast.apply(shot(100, "2", revision=1)) == "used"
    assert broadcast.apply(action(100)) == "used"


def test_a_frozen_shot_no_longer_counts_against_the_limit():
    broadcast = BroadcastState(RULES)
    broadcast.apply(shot(0, "1"))
    broadcast.apply(shot(0, "2"))
    assert broadcast.apply(shot(101, "3")) == "used"


def test_rejected_shots_are_not_in_the_history():
    broadcast = BroadcastState(RULES)
    for n in range(3):
        try:
            broadcast.apply(shot(0, str(n)))
        except InvalidRecord:
            assert n == 2
    assert {r.event.alert_id for r in broadcast.history() if isinstance(r.event, ShotAlert)} == {"0", "1"}


def test_the_history_contains_every_distinct_content_with_its_stamp():
    broadcast = BroadcastState(RULES)
    fed = [shot(1, revision=1), action(2), shot(3), shot(4, revision=1), action(5)]
    for record in fed:
        broadcast.apply(record)
    assert sorted(broadcast.history(), key=lambda r: r.stamp_ms) == fed


def test_nothing_is_released_before_shot_memory_has_passed():
    broadcast = BroadcastState(RULES)
    broadcast.apply(shot(5))
    broadcast.release(1_005)
    assert broadcast.apply(shot(1_005)) == "duplicate"
    broadcast.release(1_006)
    assert list(broadcast.history()) == []
    assert broadcast.apply(shot(1_006)) == "used"
