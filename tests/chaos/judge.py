"""The verdict on a run, from what is in the topics at its end and nothing else.

* The last revision of each incident equals the oracle's incident for the whole log, apart from
  ``revision``.
* Every earlier revision follows from records in the log (`tests.chaos.intermediate`).
* The revisions of an incident count up in the order of their offsets.
* No worker writes after its successor has written.
* Every unusable record is a dead letter, and no other record is.

Repeats are counted; they are no fault.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

from tests.chaos.intermediate import unfounded
from tests.chaos.misrouted import line, without_misrouted
from tests.chaos.rows import WORKER_HEADER, Row
from tests.oracle.compare import differences
from tests.oracle.join import Court, Verdict
from tests.oracle.records import TOPICS, Value

ALWAYS_COUNTED = ("repeats", "revisions left out", "revisions that change nothing", "dead letters repeated")
Revisions = Sequence[tuple[Row, Value]]


@dataclass(frozen=True)
class Log:
    """Everything in the topics: inputs by topic, revisions of incidents, dead letters."""

    inputs: dict[str, list[Row]]
    revisions: list[Row]
    dead_letters: list[Row]


@dataclass
class Judgement:
    """What is wrong, one sentence each, and what is worth counting."""

    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    unfounded: list[str] = field(default_factory=list)
    backwards: list[str] = field(default_factory=list)
    fenced: list[str] = field(default_factory=list)
    dead_letters: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def faults(self) -> dict[str, list[str]]:
        """The sentences by kind of fault."""
        return {name: sentences for name, sentences in asdict(self).items() if name != "counts"}

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not any(self.faults.values())


def judgement_on(log: Log, site: Value, join: Value, partitions: int) -> Judgement:
    """Judge a log, given the site (GeoJSON) and the join's settings by their TOML names."""
    judgement = Judgement(counts=Counter(dict.fromkeys(ALWAYS_COUNTED, 0)))
    inputs, judgement.lost, misrouted = without_misrouted(log.inputs, Court(site, join), partitions)
    inputs = {topic: sorted(inputs[topic], key=lambda row: row.stamp_ms) for topic in TOPICS}
    archive = {topic: [line(row) for row in rows] for topic, rows in inputs.items()}
    court = _court(archive, site, join)
    court.check_limits()
    court.link()
    verdict = court.verdict
    by_incident: dict[str, list[tuple[Row, Value]]] = defaultdict(list)
    for row in sorted(log.revisions, key=lambda row: (row.partition, row.offset)):
        by_incident[(row.key or b"").decode()].append((row, json.loads(row.value or b"null")))
    _judge_last_revisions(judgement, verdict, by_incident)
    _judge_every_revision(judgement, court, log.revisions)
    for name, revisions in by_incident.items():
        _judge_order(judgement, name, revisions)
    _judge_writers(judgement, log.revisions)
    _judge_dead_letters(judgement, verdict, inputs, log.dead_letters)
    judgement.counts.update(misrouted)
    judgement.counts["records"] = sum(map(len, log.inputs.values()))
    judgement.counts["incidents"] = len(verdict.incidents)
    judgement.counts["revisions"] = len(log.revisions)
    judgement.counts.update(f"incidents {incident['status']}" for incident in verdict.incidents.values())
    return judgement


# ---------------------------------------------------------------------- revisions


def _judge_last_revisions(judgement: Judgement, verdict: Verdict, by_incident: dict[str, Any]) -> None:
    last: dict[str, Value] = {name: revisions[-1][1] for name, revisions in by_incident.items()}
    judgement.lost += [f"incident {name} is lost." for name in sorted(verdict.incidents.keys() - last.keys())]
    for name, incident in last.items():
        expected = {name: verdict.incidents[name]} if name in verdict.incidents else {}
        if unlike := differences(Verdict(incidents=expected), {name: incident}):
            judgement.wrong.append(unlike[0] + (f" And {len(unlike) - 1} more." if len(unlike) > 1 else ""))
        if incident["incident_id"] != name:
            judgement.wrong.append(f"incident {name} has another incident's key.")


def _court(archive: dict[str, list[Value]], site: Value, join: Value) -> Court:
    court = Court(site, join)
    for topic, lines in archive.items():
        for index, each in enumerate(lines):
            court.admit(topic, index, each)
    return court


def _judge_every_revision(judgement: Judgement, court: Court, revisions: Iterable[Row]) -> None:
    for row in revisions:
        revision = json.loads(row.value or b"null")
        judgement.unfounded += [
            f"incident {revision['incident_id']}, revision {revision['revision']} at {row.position}: {what}."
            for what in unfounded(court, revision)
        ]


def _judge_order(judgement: Judgement, name: str, revisions: Revisions) -> None:
    partitions = sorted({row.partition for row, _ in revisions})
    if len(partitions) > 1:
        judgement.wrong.append(f"incident {name} is on partitions {partitions}, should be on one.")
    for (_, before), (row, now) in pairwise(revisions):
        step = now["revision"] - before["revision"]
        if step < 0:
            judgement.backwards.append(
                f"incident {name}: revision {now['revision']} follows {before['revision']} at {row.position}."
            )
        elif step == 0 and now != before:
            judgement.backwards.append(
                f"incident {name}: revision {now['revision']} occurs twice with different contents: {row.position}."
            )
        elif step == 0:
            judgement.counts["repeats"] += 1
        else:
            judgement.counts["revisions left out"] += step - 1
            judgement.counts["revisions that change nothing"] += _content(now) == _content(before)


def _content(revision: Value) -> Value:
    """What converges: everything but the revision and the vehicle's stamp."""
    vehicle = {name: value for name, value in revision["vehicle"].items() if name != "stamp_ms"}
    return {**revision, "revision": 0, "vehicle": vehicle}


def _judge_writers(judgement: Judgement, revisions: Iterable[Row]) -> None:
    """In each partition, a writer that follows another is its successor and fences it."""
    by_partition: dict[int, list[Row]] = defaultdict(list)
    for row in revisions:
        by_partition[row.partition].append(row)
    unknown = 0
    for rows in by_partition.values():
        writers: list[Any] = []
        for row in sorted(rows, key=lambda row: row.offset):
            if row.writer is None:
                unknown += 1
            elif row.writer not in writers:
                writers.append(row.writer)
            elif row.writer != writers[-1]:
                judgement.fenced.append(
                    f"{row.position} was written by {row.writer}, after its successor {writers[-1]}."
                )
        judgement.counts["writers"] += len(writers)
    if unknown:
        judgement.fenced.append(
            f"{unknown} revisions have no known writer, so a fenced worker may have written them: "
            f"use an idempotent or transactional producer, or a header {WORKER_HEADER}."
        )


# ---------------------------------------------------------------------- dead letters


def _judge_dead_letters(
    judgement: Judgement, verdict: Verdict, inputs: dict[str, list[Row]], letters: list[Row]
) -> None:
    expected = {
        inputs[topic][index].position: (reason, inputs[topic][index].value or b"")
        for topic, index, reason in verdict.dead
    }
    actual: dict[str, tuple[str, bytes]] = {}
    for row in letters:
        position = (row.key or b"").decode()
        judgement.counts["dead letters repeated"] += position in actual
        actual[position] = (row.headers["rampwatch-reason"].decode(), row.value or b"")
    judgement.counts["dead letters"] = len(expected)
    for position in sorted(expected.keys() | actual.keys()):
        reason, value = expected.get(position, ("", b""))
        actual_reason, actual_value = actual.get(position, ("", b""))
        if position not in actual:
            judgement.dead_letters.append(f"{position} ({reason}) is no dead letter and should be.")
        elif position not in expected:
            judgement.dead_letters.append(f"{position} is a dead letter ({actual_reason}) and should not be.")
        elif actual_reason != reason:
            judgement.dead_letters.append(
                f"{position} is a dead letter because of {actual_reason}, should be because of {reason}."
            )
        elif actual_value != value:
            judgement.dead_letters.append(f"the dead letter of {position} has other bytes than the record.")
