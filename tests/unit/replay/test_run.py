"""The replay of an archive: outcomes, dead letters, and the files that are written."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from streams.core.digest import results_digest
from streams.core.events import Record
from streams.core.rules import JoinRules
from streams.core.site import Ramp, Site
from streams.core.topics import HITS, READS, SHOTS
from streams.kafka.partitioner import partition_of
from streams.replay.errors import ArchiveError
from streams.replay.run import CounterOptions, new_pipeline, replay
from streams.resources.calibration import load_calibration

AT_MS = 1_780_000_000_000
RULES = JoinRules(max_shots=1, max_hits_per_plate=1)
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


def record(topic: str, value: Any, after_ms: int = 0, offset: int = 0) -> Record:
    raw = value if isinstance(value, bytes) or value is None else json.dumps(value).encode()
    return Record(topic, 2, offset, AT_MS + after_ms, raw)


ALL = [record(SHOTS, SHOT), record(HITS, HIT, 1), record(READS, READ, 2)]


def replayed(records: list[Record], out: Path) -> tuple[list[Any], list[Any], Any]:
    replay(records, SITE, RULES, out, 12, lambda _: None)
    files = [(out / f"{name}.jsonl").read_bytes().splitlines() for name in ("linked-incidents", "dead-letters")]
    return *([json.loads(line) for line in lines] for lines in files), json.loads((out / "outcomes.json").read_bytes())


def test_every_revision_is_written_with_its_stamp_key_digest_and_partition(tmp_path):
    incidents, dead, _ = replayed([*ALL, record(SHOTS, {**SHOT, "revision": 1, "status": "dismissed"}, 9)], tmp_path)
    assert [(line["value"]["revision"], line["value"]["status"]) for line in incidents] == [
        (1, "open"),
        (2, "retracted"),
    ]
    assert [line["timestamp_ms"] - AT_MS for line in incidents] == [2, 9]
    assert [line["offset"] for line in incidents] == [0, 1]
    for line in incidents:
        assert line["key"] == line["value"]["incident_id"]
        assert line["partition"] == partition_of("51M801", 12)
        assert line["headers"] == {"rampwatch-digest": results_digest(SITE, RULES, load_calibration())}
    assert dead == []


@pytest.mark.parametrize(
    ("topic", "value", "after_ms", "reason", "field", "outcome"),
    [
        (READS, b"\xff", 0, "not_json", "", "dead"),
        (READS, b"", 0, "not_json", "", "dead"),
        (READS, None, 0, "not_json", "", "dead"),
        (READS, {**READ, "confidence": 2}, 0, "schema", "confidence", "dead"),
        (HITS, {**HIT, "plate": "-"}, 0, "plate", "plate", "dead"),
        (HITS, {**HIT, "plate": "unknown"}, 0, "placeholder", "plate", "dead"),
        (READS, {**READ, "ramp_id": "?"}, 0, "unknown_ramp", "ramp_id", "dead"),
        (SHOTS, SHOT, -120_001, "future", "occurred_at_ms", "dead"),
        (READS, READ, 86_400_001, "late", "captured_at_ms", "late"),
        (HITS, {**HIT, "hit_id": "H2"}, 5, "limit", "plate", "dead"),
        (SHOTS, {**SHOT, "alert_id": "S2"}, 5, "limit", "alert_id", "dead"),
    ],
)
def test_an_unusable_record_is_written_unchanged_with_the_reason(
    tmp_path, topic, value, after_ms, reason, field, outcome
):
    _, (dead,), outcomes = replayed([*ALL, record(topic, value, after_ms, 7)], tmp_path)
    assert dead["key"] == f"{topic}-2-7"
    assert outcomes[topic][outcome] == 1
    headers = dict(dead["headers"])
    assert headers.pop("rampwatch-detail")
    assert headers.pop("rampwatch-digest") == results_digest(SITE, RULES, load_calibration())
    assert headers == {
        "rampwatch-topic": topic,
        "rampwatch-partition": "2",
        "rampwatch-offset": "7",
        "rampwatch-stamp-ms": str(AT_MS + after_ms),
        "rampwatch-reason": reason,
        "rampwatch-field": field,
    }
    assert dead.get("value") == (value if isinstance(value, dict) else None)


def test_every_record_has_exactly_one_outcome():
    pipeline, outcomes = new_pipeline(SITE, RULES), Counter()
    records = [*ALL, record(READS, b"x", 3), record(READS, READ, 4), record(HITS, {**HIT, "revision": 1}, 5)]
    for n, each in enumerate(records, 1):
        outcomes.update(pipeline.apply(each).outcomes)
        assert outcomes.total() == n
    assert {outcome: n for (topic, outcome), n in outcomes.items() if topic == READS} == {
        "used": 1,
        "dead": 1,
        "duplicate": 1,
    }


def test_a_folder_that_cannot_be_written_is_reported(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ArchiveError, match="cannot be written"):
        replayed(ALL, tmp_path / "file")


def test_an_empty_archive_gives_empty_outcomes(tmp_path):
    assert replayed([], tmp_path)[:2] == ([], [])


def test_progress_is_reported_every_10000_records(tmp_path):
    reported: list[int] = []
    replay([record(READS, b"x")] * 20_001, SITE, RULES, tmp_path, 12, reported.append)
    assert reported == [0, 10_000, 20_000]


# --- what is counted


def lines(out: Path, topic: str) -> list[Any]:
    return [json.loads(line) for line in (out / f"{topic}.jsonl").read_bytes().splitlines()]


def count_of(out: Path, key: str) -> int:
    counter = next(line["value"] for line in lines(out, "spike-counters") if line["key"] == key)
    return counter["periods"]["last_28d_vs_prior_28d"]["count"]


DISMISSED = record(SHOTS, {**SHOT, "revision": 1, "status": "dismissed"}, 9)


def test_every_counted_record_is_tallied_once_and_without_its_plate(tmp_path):
    replayed([*ALL, record(SHOTS, SHOT, 4), DISMISSED], tmp_path)
    tallied = [
        (line["value"]["kind"], line["value"]["revision"], line["value"]["counts"])
        for line in lines(tmp_path, "tallies")
    ]
    assert tallied == [
        ("shots", 0, True),
        ("stolen_vehicle_hits", 0, True),
        ("linked_incidents", 1, True),
        ("shots", 1, False),
        ("linked_incidents", 2, False),
    ]
    assert b"SIMB01" not in (tmp_path / "tallies.jsonl").read_bytes()


def test_counters_are_as_of_just_after_the_last_event(tmp_path):
    replayed(ALL, tmp_path)
    counters = lines(tmp_path, "spike-counters")
    assert {line["value"]["as_of_ms"] for line in counters} == {AT_MS + 1}
    assert {line["timestamp_ms"] for line in counters} == {AT_MS + 1}
    assert {line["key"] for line in counters} == {"shots/city", "stolen_vehicle_hits/city", "linked_incidents/city"}
    assert [count_of(tmp_path, line["key"]) for line in counters] == [1, 1, 1]


def test_counters_are_as_of_the_requested_time_and_include_later_revisions(tmp_path):
    for as_of_ms, count in ((AT_MS, 0), (AT_MS + 1, 1)):
        replay(ALL, SITE, RULES, tmp_path, 12, lambda _: None, CounterOptions(as_of_ms=as_of_ms))
        assert count_of(tmp_path, "shots/city") == count
    replay([*ALL, DISMISSED], SITE, RULES, tmp_path, 12, lambda _: None, CounterOptions(as_of_ms=AT_MS + 1))
    assert [count_of(tmp_path, f"{kind}/city") for kind in ("shots", "linked_incidents")] == [0, 0]


def test_events_outside_the_calendar_and_far_in_the_future_are_harmless(tmp_path):
    old = record(SHOTS, {**SHOT, "occurred_at_ms": -(2**53)})
    action = {"action_id": "A", "incident_id": "I", "kind": "acknowledge", "by": "x", "at_ms": 2**53}
    replayed([old, record(READS, READ, 2), record("incident-actions", action, 3)], tmp_path)
    assert {line["value"]["as_of_ms"] for line in lines(tmp_path, "spike-counters")} == {AT_MS + 1}
    assert count_of(tmp_path, "shots/city") == 0
    ahead = Record(SHOTS, 2, 0, 2**53, json.dumps({**SHOT, "occurred_at_ms": 2**53}).encode())
    replayed([record(HITS, HIT), ahead], tmp_path)
    assert count_of(tmp_path, "shots/city") == 0


def test_a_misrouted_record_is_applied_at_its_forwarded_copy_and_a_header_alone_proves_nothing(tmp_path):
    """A forwarded copy names the partition and offset of the misrouted record.

    A correctly routed record that a header names by mistake is still applied.
    """
    home = partition_of("51M801", 12)
    copy = Record(READS, home, 7, AT_MS + 5, json.dumps(READ).encode(), "2:3")
    misrouted = record(READS, READ, 2, offset=3)
    innocent = Record(READS, home, 5, AT_MS + 2, json.dumps({**READ, "read_id": "innocent"}).encode())
    claims = Record(READS, home, 8, AT_MS + 6, json.dumps({**READ, "read_id": "claims"}).encode(), f"{home}:5")
    assert misrouted.partition != home
    incidents, dead, outcomes = replayed([*ALL[:2], misrouted, innocent, copy, claims], tmp_path)
    assert dead == []
    assert outcomes[READS] == {"forwarded": 1, "used": 3}
    seen = {s["read_id"]: s["stamp_ms"] - AT_MS for s in incidents[-1]["value"]["sightings"]}
    assert seen == {"R": 5, "innocent": 2, "claims": 6}


def test_an_incident_of_records_that_say_they_were_forwarded_is_where_they_are(tmp_path):
    """A worker joins them where they are, and publishes their incidents there."""
    elsewhere = (partition_of("51M801", 12) + 1) % 12
    hit = Record(HITS, elsewhere, 0, AT_MS + 1, json.dumps(HIT).encode(), "3:7")
    read = Record(READS, elsewhere, 0, AT_MS + 2, json.dumps(READ).encode(), "3:7")
    incidents, dead, outcomes = replayed([ALL[0], hit, read], tmp_path)
    assert [line["partition"] for line in incidents] == [elsewhere]
    assert (dead, outcomes[READS], outcomes[HITS]) == ([], {"used": 1}, {"used": 1})
