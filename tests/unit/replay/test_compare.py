"""What differs between two archives of outcomes, and what does not count as a difference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from streams.replay.compare import differences
from streams.replay.errors import ArchiveError
from tests.paths import ROOT

INCIDENT: dict[str, Any] = {
    "revision": 1,
    "status": "open",
    "vehicle": {"plate": "SIMB01", "stamp_ms": 1},
    "sightings": [{"read_id": "R"}],
    "set_aside": [],
    "score": 0.5,
}
EMPTY = {**INCIDENT, "status": "retracted", "sightings": []}


def archive(folder: Path, *incidents: tuple[str, Any], dead: tuple[tuple[str, Any], ...] = ()) -> Path:
    folder.mkdir()
    for name, lines in (("linked-incidents", incidents), ("dead-letters", dead)):
        text = "".join(
            json.dumps({"key": key, "headers": {"n": str(n)}, "value": value}) + "\n"
            for n, (key, value) in enumerate(lines)
        )
        (folder / f"{name}.jsonl").write_text(text)
    return folder


def differences_between(tmp_path: Path, produced: Any, expected: Any) -> list[str]:
    return differences(archive(tmp_path / "produced", *produced), archive(tmp_path / "expected", *expected))


def test_revisions_headers_and_vehicle_stamps_are_not_compared(tmp_path):
    other = {**INCIDENT, "revision": 9, "vehicle": {**INCIDENT["vehicle"], "stamp_ms": 2}}
    assert differences_between(tmp_path, [("x", INCIDENT)], [("y", EMPTY), ("x", other)]) == []


def test_only_the_last_line_of_a_key_is_compared(tmp_path):
    changed = {**INCIDENT, "score": 0.6}
    assert differences_between(tmp_path, [("x", changed), ("x", INCIDENT)], [("x", INCIDENT)]) == []


def test_an_empty_retracted_incident_equals_none_unless_it_has_reads_set_aside(tmp_path):
    aside = {**EMPTY, "set_aside": [{"read_id": "R"}]}
    assert differences_between(tmp_path, [("x", EMPTY)], [("y", aside)]) == [
        "linked-incidents y: expected, not produced"
    ]


def test_each_difference_is_a_sentence_that_names_the_fields(tmp_path):
    other = {**INCIDENT, "score": 0.6, "status": "retracted"}
    assert differences_between(tmp_path, [("a", INCIDENT), ("b", INCIDENT)], [("b", other), ("c", INCIDENT)]) == [
        "linked-incidents c: expected, not produced",
        "linked-incidents a: produced, not expected",
        "linked-incidents b: differs in score, status",
    ]


def test_the_vehicle_is_compared_except_for_its_stamp(tmp_path):
    other = {**INCIDENT, "vehicle": {"plate": "T0YZG5", "stamp_ms": 1}}
    assert differences_between(tmp_path, [("x", INCIDENT)], [("x", other)]) == [
        "linked-incidents x: differs in vehicle"
    ]


def test_dead_letters_are_compared_by_their_bytes(tmp_path):
    one = archive(tmp_path / "one", dead=(("t-0-1", {"a": 1}), ("t-0-2", {"a": 1})))
    other = archive(tmp_path / "other", dead=(("t-0-1", {"a": 2}), ("t-0-3", {"a": 1})))
    assert differences(one, other) == [
        "dead-letters t-0-3: expected, not produced",
        "dead-letters t-0-2: produced, not expected",
        "dead-letters t-0-1: differs",
    ]


def test_a_folder_that_is_not_an_archive_of_outcomes_is_reported(tmp_path):
    with pytest.raises(ArchiveError, match=r"contains no linked-incidents\.jsonl"):
        differences(tmp_path, tmp_path)


@pytest.mark.parametrize("line", ["broken", '{"value": 1}'])
def test_a_line_without_a_key_is_reported_with_its_number(tmp_path, line):
    folder = archive(tmp_path / "one", ("x", INCIDENT))
    file = folder / "linked-incidents.jsonl"
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(ArchiveError, match="line 2 is not a record with a key"):
        differences(folder, folder)


@pytest.mark.parametrize("value", [7, {}, {"vehicle": {}}, None])
def test_a_value_that_is_not_an_incident_is_reported(tmp_path, value):
    folder = archive(tmp_path / "one", ("x", value))
    with pytest.raises(ArchiveError, match="linked-incidents"):
        differences(folder, folder)


def with_spikes(folder: Path, count: int = 3, status: str = "raised", revision: int = 1) -> Path:
    folder.mkdir(exist_ok=True)
    examples = ROOT / "schemas" / "examples"

    def write(topic: str, key: str, name: str, **changed: Any) -> None:
        value = {**json.loads((examples / topic / "good" / f"{name}.json").read_bytes()), **changed}
        (folder / f"{topic}.jsonl").write_text(json.dumps({"key": key, "value": value}) + "\n")

    for name in ("linked-incidents", "dead-letters"):
        (folder / f"{name}.jsonl").write_text("")
    write("tallies", "t", "shot")
    write("spike-counters", "c", "with-an-alarm", as_of_ms=count)
    write("spike-alerts", "a", "raised", status=status, revision=revision)
    return folder


def test_counters_and_alerts_are_compared_except_for_the_revision_of_an_alert(tmp_path):
    one = with_spikes(tmp_path / "one")
    assert differences(one, with_spikes(tmp_path / "same", revision=7)) == []
    assert differences(one, with_spikes(tmp_path / "counts", count=4)) == ["spike-counters c: differs in as_of_ms"]
    (ended,) = differences(one, with_spikes(tmp_path / "ended", status="ended"))
    assert ended.endswith("differs in status")
    (withdrawn,) = differences(one, with_spikes(tmp_path / "withdrawn", status="withdrawn"))
    assert withdrawn.endswith("produced, not expected")


def test_tally_revisions_of_an_incident_are_not_compared_but_the_status_of_a_shot_is(tmp_path):
    one, other = with_spikes(tmp_path / "one"), with_spikes(tmp_path / "other")
    incident = {"kind": "linked_incidents", "event_id": "i", "zone_id": "city", "at_ms": 5}
    for folder, revisions in ((one, (1, 2)), (other, (3,))):
        with (folder / "tallies.jsonl").open("a") as file:
            for revision in revisions:
                value = {**incident, "revision": revision, "status": "open", "counts": True}
                file.write(json.dumps({"key": f"i{revision}", "value": value}) + "\n")
            gone = {**incident, "event_id": f"g{revisions}", "revision": 1, "status": "retracted", "counts": False}
            file.write(json.dumps({"key": "g", "value": gone}) + "\n")
    assert differences(one, other) == []
    text = (one / "tallies.jsonl").read_text()
    (one / "tallies.jsonl").write_text(text.replace('"confirmed"', '"unreviewed"'))
    (sentence,) = differences(one, other)
    assert sentence.endswith("differs in status")


def test_an_expected_archive_without_counters_is_compared_by_its_other_topics(tmp_path):
    old = with_spikes(tmp_path / "old")
    for topic in ("tallies", "spike-counters", "spike-alerts"):
        (old / f"{topic}.jsonl").unlink()
    assert differences(with_spikes(tmp_path / "one"), old) == []
    with pytest.raises(ArchiveError, match="contains no tallies"):
        differences(old, with_spikes(tmp_path / "two"))
