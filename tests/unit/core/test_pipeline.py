"""The pipeline: each record gives an outcome, effects and incidents."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from streams.core.effects import Effects
from streams.core.engine import Engine
from streams.core.events import Record
from streams.core.intake import Admitted
from streams.core.pipeline import Pipeline
from streams.core.rules import JoinRules
from streams.core.site import Ramp, Site
from streams.core.topics import ACTIONS, HITS, READS, SHOTS

AT_MS = 1_780_000_000_000
BYTES_MAX = 1_000
RULES = JoinRules(max_shots=1)
SITE = Site("example", "America/New_York", {"ramp": Ramp("ramp", "I-91", "48", "on", 41.76, -72.67)})
SHOT = {"alert_id": "S", "kind": "single_gunshot", "occurred_at_ms": AT_MS, "lat": 41.76, "lon": -72.67}
HIT = {"hit_id": "H", "plate": "SIMB01", "reported_at_ms": AT_MS}
READ = {
    "read_id": "R",
    "plate": "SIMB01",
    "captured_at_ms": AT_MS,
    "ramp_id": "ramp",
    "camera_id": "c",
    "confidence": 0.9,
}
ACTION = {"action_id": "A", "incident_id": "I", "kind": "acknowledge", "by": "x", "at_ms": AT_MS}


class ToPartitionOne:
    """Routes every record to partition 1, except forwarded ones, which stay where they are."""

    forward_bytes_max: int | None = BYTES_MAX

    def homes_of(self, admitted: Sequence[Admitted]) -> list[int]:
        return [one.record.partition if one.record.forwarded_from else 1 for one in admitted]

    def all_at_home(self, partition: int, plate_keys: Sequence[str]) -> bool:
        return partition == 1


def record(topic: str, value: Any, partition: int = 0, offset: int = 0, forwarded_from: str = "") -> Record:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Record(topic, partition, offset, AT_MS, raw, forwarded_from)


def pipeline() -> Pipeline:
    return Pipeline(SITE, RULES, Engine(SITE, RULES))


def outcomes(effects: Effects) -> dict[tuple[str, str], int]:
    return {key: count for key, count in effects.outcomes.items() if count}


def test_a_shot_a_hit_and_a_read_produce_an_incident_and_three_tallies():
    whole = pipeline()
    effects = Effects()
    for each in (record(SHOTS, SHOT), record(HITS, HIT), record(READS, READ), record(ACTIONS, ACTION)):
        effects.add(whole.apply(each))
    assert outcomes(effects) == {(topic, "used"): 1 for topic in (SHOTS, HITS, READS, ACTIONS)}
    assert [incident.shot.alert_id for incident in effects.incidents] == ["S"]
    assert [tally.kind for tally in effects.tallies] == ["shots", "stolen_vehicle_hits", "linked_incidents"]
    assert [shot.alert_id for shot in effects.shots] == ["S"]
    assert (effects.dead_letters, effects.forwards) == ([], [])


def test_a_duplicate_is_not_tallied_again():
    whole = pipeline()
    whole.apply(record(SHOTS, SHOT))
    effects = whole.apply(record(SHOTS, SHOT))
    assert (outcomes(effects), effects.tallies, effects.shots) == ({(SHOTS, "duplicate"): 1}, [], [])


def test_an_invalid_record_becomes_a_dead_letter_without_a_traceback():
    effects = pipeline().apply(record(READS, b"x", offset=7))
    (dead,) = effects.dead_letters
    assert (dead.key, dead.error.reason, outcomes(effects)) == (f"{READS}-0-7", "not_json", {(READS, "dead"): 1})
    assert dead.error.__traceback__ is None
    assert dead.error.__context__ is None


def test_a_shot_beyond_the_limit_produces_exactly_one_dead_letter():
    whole = pipeline()
    whole.apply(record(SHOTS, SHOT))
    (dead,) = whole.apply(record(SHOTS, {**SHOT, "alert_id": "S2"})).dead_letters
    assert (dead.error.reason, dead.error.field) == ("limit", "alert_id")


def partitioned_pipeline() -> Pipeline:
    partitioned = Pipeline(SITE, RULES, routing=ToPartitionOne())
    for number in (0, 1):
        partitioned.add(number, Engine(SITE, RULES))
    return partitioned


def test_a_misrouted_record_is_only_forwarded():
    effects = partitioned_pipeline().apply(record(HITS, HIT))
    (forward,) = effects.forwards
    assert (forward.partition, forward.plate_key) == (1, "51M801")
    assert (outcomes(effects), effects.tallies) == ({(HITS, "forwarded"): 1}, [])


def test_a_forwarded_record_is_joined_on_whichever_partition_it_is():
    effects = partitioned_pipeline().apply(record(HITS, HIT, forwarded_from="1:5"))
    assert (outcomes(effects), effects.forwards) == ({(HITS, "used"): 1}, [])


def test_a_record_too_large_to_forward_becomes_a_dead_letter():
    large = json.dumps(HIT).encode() + b" " * BYTES_MAX
    effects = partitioned_pipeline().apply(record(HITS, large))
    assert (outcomes(effects), effects.forwards) == ({(HITS, "dead"): 1}, [])
    assert effects.dead_letters[0].error.reason == "limit"
    assert effects.dead_letters[0].error.__traceback__ is None


def test_a_forward_rejected_by_its_topic_is_counted_as_dead():
    effects = partitioned_pipeline().apply(record(HITS, HIT))
    effects = effects.without_forwards(effects.forwards)
    assert effects.forwards == []
    assert outcomes(effects) == {(HITS, "dead"): 1}
    assert [dead.key for dead in effects.dead_letters] == [f"{HITS}-0-0"]


def test_each_partitions_engine_gets_all_shots_and_publishes_only_its_own_incidents():
    partitioned = Pipeline(SITE, RULES, routing=ToPartitionOne())
    first, later = Engine(SITE, RULES), Engine(SITE, RULES)
    partitioned.add(0, first)
    partitioned.apply(record(SHOTS, SHOT))
    partitioned.add(1, later)
    for each in (record(HITS, HIT, 1), record(READS, READ, 1)):
        assert partitioned.apply(each).incidents == []
    assert first.changes() == []
    assert [incident.shot.alert_id for incident in later.changes()] == ["S"]


def test_reads_applied_as_columns_are_each_counted():
    partitioned = partitioned_pipeline()
    values = [json.dumps({**READ, "read_id": str(n)}).encode() for n in range(5)]
    effects = partitioned.apply_reads(1, values, [AT_MS] * 5)
    assert effects is not None
    assert outcomes(effects) == {(READS, "used"): 5}


def test_misrouted_or_invalid_reads_are_not_applied_as_columns():
    partitioned = partitioned_pipeline()
    valid = json.dumps(READ).encode()
    for partition, values in ((0, [valid]), (1, [valid, b"x"]), (1, [valid, None])):
        assert partitioned.apply_reads(partition, values, [AT_MS] * len(values)) is None


def test_a_clock_far_ahead_does_not_advance_the_time_of_the_last_event():
    whole = pipeline()
    whole.apply(record(SHOTS, SHOT))
    whole.apply(record(ACTIONS, {**ACTION, "at_ms": AT_MS + 10**9}))
    assert whole.last_event_ms == AT_MS
