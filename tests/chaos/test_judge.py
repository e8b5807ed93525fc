"""The judge itself: a sound log passes, and each kind of fault is judgement, and only that kind."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import msgspec
import pytest

from streams.core.codec import ENCODER
from streams.core.events import InvalidRecord, Record
from streams.core.intake import Intake
from streams.core.plates import plate_key
from streams.core.rules import JoinRules
from streams.core.site import read_site
from streams.kafka.partitioner import partition_of
from streams.replay.run import new_pipeline
from tests.chaos.judge import Judgement, Log, judgement_on
from tests.chaos.load import LoadRecord, ground, join_settings, load
from tests.chaos.misrouted import FORWARDED_HEADER
from tests.chaos.rows import WORKER_HEADER, Row
from tests.oracle.records import TOPICS

PARTITIONS = 4
BEGIN_MS = 1_780_000_000_000
MINUTE_MS = 500
SITE = ground().site()
JOIN = join_settings(MINUTE_MS)
INCIDENTS, DEAD_LETTERS = "linked-incidents", "dead-letters"


class _Run:
    """The log of a run in which nothing goes wrong, made in this process."""

    def __init__(self) -> None:
        site, rules = read_site(json.dumps(SITE).encode(), "chaos"), msgspec.convert(JOIN, JoinRules)
        self.log = Log({topic: [] for topic in TOPICS}, [], [])
        self.pipeline, self.intake = new_pipeline(site, rules), Intake(site, rules)
        self.offsets: Counter[tuple[str, int]] = Counter()

    def append_at(self, topic: str, partition: int, **rest: Any) -> Row:
        self.offsets[topic, partition] += 1
        return Row(topic, partition, self.offsets[topic, partition] - 1, **rest)

    def publish(self, record: LoadRecord) -> None:
        partition, stamp_ms = partition_of(record.key, PARTITIONS), BEGIN_MS + record.due_ms
        row = self.append_at(record.topic, partition, stamp_ms=stamp_ms, key=record.key.encode(), value=record.value)
        self.log.inputs[record.topic].append(row)
        home = self.home_of(row)
        if home != partition:
            headers = {FORWARDED_HEADER: f"{partition}:{row.offset}".encode()}
            row = self.append_at(record.topic, home, stamp_ms=stamp_ms, key=None, value=record.value, headers=headers)
            self.log.inputs[record.topic].append(row)
        self.join(Record(record.topic, home, row.offset, stamp_ms, record.value))

    def home_of(self, row: Row) -> int:
        """The partition a record belongs to; its own if it is unusable."""
        try:
            admitted = self.intake.admit(Record(row.topic, row.partition, row.offset, row.stamp_ms, row.value))
        except InvalidRecord:
            return row.partition
        return partition_of(admitted.plate_key, PARTITIONS) if admitted.plate_key else row.partition

    def join(self, record: Record) -> None:
        effects = self.pipeline.apply(record)
        for incident in effects.incidents:
            value, key = ENCODER.encode(incident), incident.incident_id.encode()
            home = partition_of(plate_key(incident.vehicle.plate), PARTITIONS)
            row = self.append_at(INCIDENTS, home, stamp_ms=0, key=key, value=value, producer=(home, 0))
            self.log.revisions.append(row)
        for dead in effects.dead_letters:
            headers = {name: text.encode() for name, text in dead.headers.items()}
            letter = self.append_at(
                DEAD_LETTERS, 0, stamp_ms=0, key=dead.key.encode(), value=dead.record.value, headers=headers
            )
            self.log.dead_letters.append(letter)


@cache
def sound() -> Log:
    run = _Run()
    for record in load(1, BEGIN_MS, 60_000, 20, MINUTE_MS):
        run.publish(record)
    return run.log


def judged(log: Log) -> Judgement:
    return judgement_on(log, SITE, JOIN, PARTITIONS)


def kinds(judgement: Judgement) -> list[str]:
    """The kinds of faults judgement."""
    return [name for name, sentences in judgement.faults.items() if sentences]


def revisions_of(log: Log, at_least: int, number: int = 0) -> list[Row]:
    """The revisions of an incident that has at least so many, in their order."""
    revisions = Counter(row.key for row in log.revisions)
    name = sorted(key or b"" for key, count in revisions.items() if count >= at_least)[number]
    return [row for row in log.revisions if row.key == name]


def changed(row: Row, change: Callable[[Any], Any]) -> Row:
    return replace(row, value=json.dumps(change(json.loads(row.value or b""))).encode())


def with_revisions(log: Log, *rows: Row) -> Log:
    """The log with these rows at their positions, in place of those that were there."""
    by_position = {row.position: row for row in (*log.revisions, *rows)}
    return replace(log, revisions=list(by_position.values()))


def repeated(log: Log, row: Row) -> Row:
    """The row again at the end of its partition."""
    end = max(other.offset for other in log.revisions if other.partition == row.partition)
    return replace(row, offset=end + 1)


# --- the load and the judge agree with the engine ---


def test_a_sound_log_passes_and_contains_hard_cases() -> None:
    judgement = judged(sound())
    assert judgement.clean, judgement.faults
    assert judgement.counts["incidents open"] > 50
    assert judgement.counts["incidents retracted"] > 5
    assert judgement.counts["revisions"] > 2 * judgement.counts["incidents"]
    reasons = Counter(row.headers["rampwatch-reason"] for row in sound().dead_letters)
    assert set(reasons) >= {b"not_json", b"schema", b"plate", b"placeholder", b"unknown_ramp", b"future", b"late"}
    assert {row.partition for row in sound().revisions} == set(range(PARTITIONS))
    assert judgement.counts["misrouted"] >= 5
    assert (
        judgement.counts["repeats"]
        == judgement.counts["dead letters repeated"]
        == judgement.counts["revisions left out"]
        == 0
    )


def test_a_load_is_a_function_of_its_seed_and_begin() -> None:
    assert load(3, BEGIN_MS, 9_000, 20, MINUTE_MS) == load(3, BEGIN_MS, 9_000, 20, MINUTE_MS)
    assert load(3, BEGIN_MS, 9_000, 20, MINUTE_MS) != load(4, BEGIN_MS, 9_000, 20, MINUTE_MS)


# --- last revisions ---


def test_a_lost_incident_is_a_fault() -> None:
    name = revisions_of(sound(), 2)[0].key
    log = replace(sound(), revisions=[row for row in sound().revisions if row.key != name])
    judgement = judged(log)
    assert kinds(judgement) == ["lost"]
    assert len(judgement.lost) == 1


def test_a_lost_last_revision_is_a_fault() -> None:
    last = revisions_of(sound(), 3)[-1]
    judgement = judged(replace(sound(), revisions=[row for row in sound().revisions if row != last]))
    assert kinds(judgement) == ["wrong"]


WRONG: dict[str, Callable[[Any], Any]] = {
    "status": lambda incident: incident | {"status": "retracted" if incident["status"] == "open" else "open"},
    "sightings": lambda incident: (
        incident | {"sightings": [], "set_aside": incident["sightings"] + incident["set_aside"]}
    ),
    "shot": lambda incident: (
        incident | {"shot": incident["shot"] | {"occurred_at_ms": incident["shot"]["occurred_at_ms"] + 1}}
    ),
    "vehicle": lambda incident: (
        incident | {"vehicle": incident["vehicle"] | {"revision": incident["vehicle"]["revision"] + 1}}
    ),
    "frozen_at_ms": lambda incident: incident | {"frozen_at_ms": incident["frozen_at_ms"] + 1},
    "review": lambda incident: incident | {"review": [*incident["review"], {"action_id": "never"}]},
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_incident_is_a_fault(name: str) -> None:
    last = next(row for row in reversed(sound().revisions) if json.loads(row.value or b"")["sightings"])
    last = [row for row in sound().revisions if row.key == last.key][-1]
    judgement = judged(with_revisions(sound(), changed(last, WRONG[name])))
    assert kinds(judgement) in (["wrong"], ["wrong", "unfounded"])
    assert any(name in sentence for sentence in judgement.wrong)


@pytest.mark.parametrize("name", ["status", "sightings", "shot", "vehicle"])
def test_an_unfounded_revision_is_a_fault_even_if_a_later_one_is_right(name: str) -> None:
    first = next(row for row in revisions_of(sound(), 5, number=3) if json.loads(row.value or b"")["sightings"])
    judgement = judged(with_revisions(sound(), changed(first, WRONG[name])))
    assert kinds(judgement) == ["unfounded"]
    assert all(first.position in sentence for sentence in judgement.unfounded)


def test_a_sighting_of_a_read_that_was_never_published_is_a_fault() -> None:
    first = next(row for row in revisions_of(sound(), 5) if json.loads(row.value or b"")["sightings"])

    def invent(incident: Any) -> Any:
        return incident | {"sightings": [incident["sightings"][0] | {"read_id": "never"}, *incident["sightings"][1:]]}

    assert kinds(judged(with_revisions(sound(), changed(first, invent)))) == ["unfounded"]


def test_an_incident_that_should_not_exist_is_a_fault() -> None:
    last = revisions_of(sound(), 1)[-1]
    invented = replace(changed(last, lambda incident: incident | {"incident_id": "0" * 32}), key=b"0" * 32)
    assert kinds(judged(with_revisions(sound(), repeated(sound(), invented)))) == ["wrong"]


def test_an_incident_in_two_partitions_is_a_fault() -> None:
    last = revisions_of(sound(), 1)[-1]
    elsewhere = replace(last, partition=(last.partition + 1) % PARTITIONS)
    elsewhere = replace(repeated(sound(), elsewhere), producer=None, headers={WORKER_HEADER: b"w"})
    assert "wrong" in kinds(judged(with_revisions(sound(), elsewhere)))


# --- the order of revisions ---


def test_a_revision_that_goes_backwards_is_a_fault() -> None:
    one, two, three, *_ = revisions_of(sound(), 4)
    swapped = replace(two, offset=three.offset), replace(three, offset=two.offset)
    judgement = judged(with_revisions(sound(), *swapped))
    assert kinds(judgement) == ["backwards"]
    assert f"at {swapped[0].position}" in judgement.backwards[0]
    assert kinds(judged(with_revisions(sound(), replace(one, offset=two.offset), replace(two, offset=one.offset)))) == [
        "backwards"
    ]


def test_two_contents_of_one_revision_are_a_fault() -> None:
    one, two, *_ = revisions_of(sound(), 3)
    forked = changed(two, lambda incident: incident | {"revision": json.loads(one.value or b"")["revision"]})
    assert kinds(judged(with_revisions(sound(), forked))) == ["backwards"]


def test_a_repeated_revision_is_counted_and_is_no_fault() -> None:
    last = revisions_of(sound(), 2)[-1]
    judgement = judged(with_revisions(sound(), repeated(sound(), last)))
    assert judgement.clean
    assert judgement.counts["repeats"] == 1


def test_a_revision_that_changes_nothing_and_one_left_out_are_counted() -> None:
    last = revisions_of(sound(), 2)[-1]
    later = changed(last, lambda incident: incident | {"revision": incident["revision"] + 2})
    judgement = judged(with_revisions(sound(), repeated(sound(), later)))
    assert judgement.clean
    assert judgement.counts["revisions that change nothing"] == judgement.counts["revisions left out"] == 1


# --- misrouted records ---


def test_a_misrouted_record_that_was_not_forwarded_is_a_fault() -> None:
    reads = sound().inputs["ramp-plate-reads"]
    copy = next(row for row in reads if FORWARDED_HEADER in row.headers)
    judgement = judged(replace(sound(), inputs=sound().inputs | {copy.topic: [row for row in reads if row != copy]}))
    assert "lost" in kinds(judgement)
    assert "was not forwarded" in judgement.lost[0]


def test_a_record_forwarded_twice_is_counted_and_is_no_fault() -> None:
    reads = sound().inputs["ramp-plate-reads"]
    again = replace(next(row for row in reads if FORWARDED_HEADER in row.headers), offset=10**6)
    judgement = judged(replace(sound(), inputs=sound().inputs | {again.topic: [*reads, again]}))
    assert judgement.clean, judgement.faults
    assert judgement.counts["forwarded twice"] == 1


# --- writers ---


def written_by(log: Log, *writers: Any) -> Log:
    """The log with the revisions of partition 0 written by these, the rest by the last one."""
    rows = [row for row in log.revisions if row.partition == 0]
    of_rows = [*writers, *[writers[-1]] * (len(rows) - len(writers))]
    return with_revisions(log, *(replace(row, **by) for row, by in zip(rows, of_rows, strict=True)))


def test_a_successor_is_no_fault() -> None:
    judgement = judged(written_by(sound(), {"producer": (0, 0)}, {"producer": (0, 1)}, {"producer": (7, 0)}))
    assert judgement.clean
    assert judgement.counts["writers"] == PARTITIONS + 2


def test_a_fenced_worker_that_writes_after_its_successor_is_a_fault() -> None:
    fenced, successor = {"producer": (0, 0)}, {"producer": (0, 1)}
    judgement = judged(written_by(sound(), fenced, successor, fenced, successor))
    assert kinds(judgement) == ["fenced"]
    assert len(judgement.fenced) == 1


def test_a_fenced_worker_known_by_its_header_is_a_fault() -> None:
    one, other = ({"producer": None, "headers": {WORKER_HEADER: name}} for name in (b"a", b"b"))
    assert judged(written_by(sound(), one, other)).clean
    assert kinds(judged(written_by(sound(), one, other, one, other))) == ["fenced"]


def test_revisions_without_a_known_writer_are_a_fault() -> None:
    assert kinds(judged(written_by(sound(), {"producer": None}, {"producer": (0, 0)}))) == ["fenced"]


# --- dead letters ---


def test_a_missing_dead_letter_is_a_fault() -> None:
    assert kinds(judged(replace(sound(), dead_letters=sound().dead_letters[1:]))) == ["dead_letters"]


def test_a_dead_letter_of_a_valid_record_is_a_fault() -> None:
    dead = {row.key for row in sound().dead_letters}
    valid = next(row for row in sound().inputs["ramp-plate-reads"] if row.position.encode() not in dead)
    invented = replace(sound().dead_letters[0], key=valid.position.encode(), value=valid.value, offset=10**6)
    judgement = judged(replace(sound(), dead_letters=[*sound().dead_letters, invented]))
    assert kinds(judgement) == ["dead_letters"]


@pytest.mark.parametrize("spoilt", [{"headers": {"rampwatch-reason": b"limit"}}, {"value": b"other"}])
def test_a_dead_letter_with_another_reason_or_other_bytes_is_a_fault(spoilt: dict[str, Any]) -> None:
    first, *rest = sound().dead_letters
    assert kinds(judged(replace(sound(), dead_letters=[replace(first, **spoilt), *rest]))) == ["dead_letters"]


def test_a_repeated_dead_letter_is_counted_and_is_no_fault() -> None:
    again = replace(sound().dead_letters[0], offset=10**6)
    judgement = judged(replace(sound(), dead_letters=[*sound().dead_letters, again]))
    assert judgement.clean
    assert judgement.counts["dead letters repeated"] == 1
