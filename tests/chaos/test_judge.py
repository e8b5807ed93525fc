"""The judge can fail: a sound log passes, and each thing that must never happen turns it red, and only that."""

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
from tests.chaos.judge import Judgement, Log, judged
from tests.chaos.load import Sent, ground, join_settings, load
from tests.chaos.rows import WORKER_HEADER, Row
from tests.chaos.misrouted import FORWARDED_HEADER
from tests.oracle.records import TOPICS

PARTITIONS = 4
BEGIN_MS = 1_780_000_000_000
MINUTE_MS = 500
SITE = ground().site()
JOIN = join_settings(MINUTE_MS)
INCIDENTS, DEAD_LETTERS = "linked-incidents", "dead-letters"


class _Run:
    """What a run leaves in which nothing goes wrong, made in this process."""

    def __init__(self) -> None:
        site, rules = read_site(json.dumps(SITE).encode(), "chaos"), msgspec.convert(JOIN, JoinRules)
        self.log = Log({topic: [] for topic in TOPICS}, [], [])
        self.pipeline, self.intake = new_pipeline(site, rules), Intake(site, rules)
        self.offsets: Counter[tuple[str, int]] = Counter()

    def place(self, topic: str, partition: int, **rest: Any) -> Row:
        self.offsets[topic, partition] += 1
        return Row(topic, partition, self.offsets[topic, partition] - 1, **rest)

    def publish(self, sent: Sent) -> None:
        partition, stamp_ms = partition_of(sent.key, PARTITIONS), BEGIN_MS + sent.due_ms
        row = self.place(sent.topic, partition, stamp_ms=stamp_ms, key=sent.key.encode(), value=sent.value)
        self.log.inputs[sent.topic].append(row)
        home = self.home_of(row)
        if home != partition:
            headers = {FORWARDED_HEADER: f"{partition}:{row.offset}".encode()}
            row = self.place(sent.topic, home, stamp_ms=stamp_ms, key=None, value=sent.value, headers=headers)
            self.log.inputs[sent.topic].append(row)
        self.join(Record(sent.topic, home, row.offset, stamp_ms, sent.value))

    def home_of(self, row: Row) -> int:
        """The partition where a record can be used; its own where it cannot."""
        try:
            admitted = self.intake.admit(Record(row.topic, row.partition, row.offset, row.stamp_ms, row.value))
        except InvalidRecord:
            return row.partition
        return partition_of(admitted.plate_key, PARTITIONS) if admitted.plate_key else row.partition

    def join(self, record: Record) -> None:
        effects = self.pipeline.apply(record)
        for incident in effects.incidents:
            value, name = ENCODER.encode(incident), incident.incident_id.encode()
            mine = partition_of(plate_key(incident.vehicle.plate), PARTITIONS)
            row = self.place(INCIDENTS, mine, stamp_ms=0, key=name, value=value, producer=(mine, 0))
            self.log.revisions.append(row)
        for dead in effects.dead_letters:
            headers = {name: text.encode() for name, text in dead.headers.items()}
            letter = self.place(
                DEAD_LETTERS, 0, stamp_ms=0, key=dead.key.encode(), value=dead.record.value, headers=headers
            )
            self.log.dead_letters.append(letter)


@cache
def sound() -> Log:
    run = _Run()
    for sent in load(1, BEGIN_MS, 60_000, 20, MINUTE_MS):
        run.publish(sent)
    return run.log


def verdict_on(log: Log) -> Judgement:
    return judged(log, SITE, JOIN, PARTITIONS)


def red(found: Judgement) -> list[str]:
    return [name for name, sentences in found.faults.items() if sentences]


def revisions_of(log: Log, at_least: int, number: int = 0) -> list[Row]:
    """The revisions of an incident that has that many, in their order."""
    many = Counter(row.key for row in log.revisions)
    name = sorted(key or b"" for key, count in many.items() if count >= at_least)[number]
    return [row for row in log.revisions if row.key == name]


def changed(row: Row, change: Callable[[Any], Any]) -> Row:
    return replace(row, value=json.dumps(change(json.loads(row.value or b""))).encode())


def with_revisions(log: Log, *rows: Row) -> Log:
    """The log with these in the places that they name, instead of what was there."""
    places = {row.place: row for row in (*log.revisions, *rows)}
    return replace(log, revisions=list(places.values()))


def behind(log: Log, row: Row) -> Row:
    """The row once more, at the end of its partition."""
    end = max(other.offset for other in log.revisions if other.partition == row.partition)
    return replace(row, offset=end + 1)


# --- the load and the judge agree with the engine ---


def test_a_sound_log_passes_and_holds_what_is_hard() -> None:
    found = verdict_on(sound())
    assert found.clean, found.faults
    assert found.counts["incidents open"] > 50
    assert found.counts["incidents retracted"] > 5
    assert found.counts["revisions"] > 2 * found.counts["incidents"]
    reasons = Counter(row.headers["rampwatch-reason"] for row in sound().dead_letters)
    assert set(reasons) >= {b"not_json", b"schema", b"plate", b"placeholder", b"unknown_ramp", b"future", b"late"}
    assert {row.partition for row in sound().revisions} == set(range(PARTITIONS))
    assert found.counts["strays"] > 5
    assert found.counts["repeats"] == found.counts["dead letters repeated"] == found.counts["revisions left out"] == 0


def test_a_load_is_a_function_of_its_seed_and_begin() -> None:
    assert load(3, BEGIN_MS, 9_000, 20, MINUTE_MS) == load(3, BEGIN_MS, 9_000, 20, MINUTE_MS)
    assert load(3, BEGIN_MS, 9_000, 20, MINUTE_MS) != load(4, BEGIN_MS, 9_000, 20, MINUTE_MS)


# --- what incidents say in the end ---


def test_a_lost_incident_turns_it_red() -> None:
    name = revisions_of(sound(), 2)[0].key
    log = replace(sound(), revisions=[row for row in sound().revisions if row.key != name])
    found = verdict_on(log)
    assert red(found) == ["lost"]
    assert len(found.lost) == 1


def test_a_lost_last_revision_turns_it_red() -> None:
    last = revisions_of(sound(), 3)[-1]
    found = verdict_on(replace(sound(), revisions=[row for row in sound().revisions if row != last]))
    assert red(found) == ["wrong"]


WRONG: dict[str, Callable[[Any], Any]] = {
    "status": lambda said: said | {"status": "retracted" if said["status"] == "open" else "open"},
    "sightings": lambda said: said | {"sightings": [], "set_aside": said["sightings"] + said["set_aside"]},
    "shot": lambda said: said | {"shot": said["shot"] | {"occurred_at_ms": said["shot"]["occurred_at_ms"] + 1}},
    "vehicle": lambda said: said | {"vehicle": said["vehicle"] | {"revision": said["vehicle"]["revision"] + 1}},
    "frozen_at_ms": lambda said: said | {"frozen_at_ms": said["frozen_at_ms"] + 1},
    "review": lambda said: said | {"review": [*said["review"], {"action_id": "never"}]},
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_incident_turns_it_red(name: str) -> None:
    last = next(row for row in reversed(sound().revisions) if json.loads(row.value or b"")["sightings"])
    last = [row for row in sound().revisions if row.key == last.key][-1]
    found = verdict_on(with_revisions(sound(), changed(last, WRONG[name])))
    assert red(found) in (["wrong"], ["wrong", "groundless"])
    assert any(name in sentence for sentence in found.wrong)


@pytest.mark.parametrize("name", ["status", "sightings", "shot", "vehicle"])
def test_a_revision_without_grounds_turns_it_red_also_where_a_later_one_is_right(name: str) -> None:
    first = next(row for row in revisions_of(sound(), 5, number=3) if json.loads(row.value or b"")["sightings"])
    found = verdict_on(with_revisions(sound(), changed(first, WRONG[name])))
    assert red(found) == ["groundless"]
    assert all(first.place in sentence for sentence in found.groundless)


def test_a_read_that_nobody_sent_turns_it_red() -> None:
    first = next(row for row in revisions_of(sound(), 5) if json.loads(row.value or b"")["sightings"])

    def invent(said: Any) -> Any:
        return said | {"sightings": [said["sightings"][0] | {"read_id": "never"}, *said["sightings"][1:]]}

    assert red(verdict_on(with_revisions(sound(), changed(first, invent)))) == ["groundless"]


def test_an_incident_that_should_not_be_turns_it_red() -> None:
    last = revisions_of(sound(), 1)[-1]
    invented = replace(changed(last, lambda said: said | {"incident_id": "0" * 32}), key=b"0" * 32)
    assert red(verdict_on(with_revisions(sound(), behind(sound(), invented)))) == ["wrong"]


def test_an_incident_in_two_partitions_turns_it_red() -> None:
    last = revisions_of(sound(), 1)[-1]
    elsewhere = replace(last, partition=(last.partition + 1) % PARTITIONS)
    elsewhere = replace(behind(sound(), elsewhere), producer=None, headers={WORKER_HEADER: b"w"})
    assert "wrong" in red(verdict_on(with_revisions(sound(), elsewhere)))


# --- how they came to say it ---


def test_a_revision_that_goes_backwards_turns_it_red() -> None:
    one, two, three, *_ = revisions_of(sound(), 4)
    swapped = replace(two, offset=three.offset), replace(three, offset=two.offset)
    found = verdict_on(with_revisions(sound(), *swapped))
    assert red(found) == ["backwards"]
    assert f"at {swapped[0].place}" in found.backwards[0]
    assert red(
        verdict_on(with_revisions(sound(), replace(one, offset=two.offset), replace(two, offset=one.offset)))
    ) == ["backwards"]


def test_one_revision_with_two_contents_turns_it_red() -> None:
    one, two, *_ = revisions_of(sound(), 3)
    forked = changed(two, lambda said: said | {"revision": json.loads(one.value or b"")["revision"]})
    assert red(verdict_on(with_revisions(sound(), forked))) == ["backwards"]


def test_a_repeat_is_counted_and_is_no_fault() -> None:
    last = revisions_of(sound(), 2)[-1]
    found = verdict_on(with_revisions(sound(), behind(sound(), last)))
    assert found.clean
    assert found.counts["repeats"] == 1


def test_a_revision_that_changes_nothing_and_one_left_out_are_counted() -> None:
    last = revisions_of(sound(), 2)[-1]
    later = changed(last, lambda said: said | {"revision": said["revision"] + 2})
    found = verdict_on(with_revisions(sound(), behind(sound(), later)))
    assert found.clean
    assert found.counts["revisions that change nothing"] == found.counts["revisions left out"] == 1


# --- what lay on a wrong partition ---


def test_a_stray_that_was_not_sent_on_turns_it_red() -> None:
    reads = sound().inputs["ramp-plate-reads"]
    copy = next(row for row in reads if FORWARDED_HEADER in row.headers)
    found = verdict_on(replace(sound(), inputs=sound().inputs | {copy.topic: [row for row in reads if row != copy]}))
    assert "lost" in red(found)
    assert "was not sent on" in found.lost[0]


def test_a_stray_sent_on_twice_is_counted_and_is_no_fault() -> None:
    reads = sound().inputs["ramp-plate-reads"]
    again = replace(next(row for row in reads if FORWARDED_HEADER in row.headers), offset=10**6)
    found = verdict_on(replace(sound(), inputs=sound().inputs | {again.topic: [*reads, again]}))
    assert found.clean, found.faults
    assert found.counts["strays sent on twice"] == 1


# --- who wrote it ---


def written_by(log: Log, *writers: Any) -> Log:
    """The log with the first revisions of partition 0 written by these, the rest by the last of them."""
    rows = [row for row in log.revisions if row.partition == 0]
    theirs = [*writers, *[writers[-1]] * (len(rows) - len(writers))]
    return with_revisions(log, *(replace(row, **by) for row, by in zip(rows, theirs, strict=True)))


def test_a_successor_is_no_fault() -> None:
    found = verdict_on(written_by(sound(), {"producer": (0, 0)}, {"producer": (0, 1)}, {"producer": (7, 0)}))
    assert found.clean
    assert found.counts["writers"] == PARTITIONS + 2


def test_a_fenced_worker_that_writes_after_its_successor_turns_it_red() -> None:
    fenced, successor = {"producer": (0, 0)}, {"producer": (0, 1)}
    found = verdict_on(written_by(sound(), fenced, successor, fenced, successor))
    assert red(found) == ["fenced"]
    assert len(found.fenced) == 1


def test_a_fenced_worker_known_by_its_header_turns_it_red() -> None:
    one, other = ({"producer": None, "headers": {WORKER_HEADER: name}} for name in (b"a", b"b"))
    assert verdict_on(written_by(sound(), one, other)).clean
    assert red(verdict_on(written_by(sound(), one, other, one, other))) == ["fenced"]


def test_revisions_that_do_not_tell_who_wrote_them_turn_it_red() -> None:
    assert red(verdict_on(written_by(sound(), {"producer": None}, {"producer": (0, 0)}))) == ["fenced"]


# --- what could not be used ---


def test_a_missing_dead_letter_turns_it_red() -> None:
    assert red(verdict_on(replace(sound(), dead_letters=sound().dead_letters[1:]))) == ["dead_letters"]


def test_a_dead_letter_of_a_sound_record_turns_it_red() -> None:
    dead = {row.key for row in sound().dead_letters}
    fine = next(row for row in sound().inputs["ramp-plate-reads"] if row.place.encode() not in dead)
    invented = replace(sound().dead_letters[0], key=fine.place.encode(), value=fine.value, offset=10**6)
    found = verdict_on(replace(sound(), dead_letters=[*sound().dead_letters, invented]))
    assert red(found) == ["dead_letters"]


@pytest.mark.parametrize("spoilt", [{"headers": {"rampwatch-reason": b"limit"}}, {"value": b"other"}])
def test_a_dead_letter_with_another_reason_or_other_bytes_turns_it_red(spoilt: dict[str, Any]) -> None:
    first, *rest = sound().dead_letters
    assert red(verdict_on(replace(sound(), dead_letters=[replace(first, **spoilt), *rest]))) == ["dead_letters"]


def test_a_repeated_dead_letter_is_counted_and_is_no_fault() -> None:
    again = replace(sound().dead_letters[0], offset=10**6)
    found = verdict_on(replace(sound(), dead_letters=[*sound().dead_letters, again]))
    assert found.clean
    assert found.counts["dead letters repeated"] == 1
