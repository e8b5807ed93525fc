"""The verdict on a run, from what lies in the topics at its end and from nothing else.

The last revision of each incident must say what the brute-force oracle says of the whole log (all but `revision`);
each one before it must follow from records that are in the log (`grounds`); the revisions of an incident go up in the
order of their offsets; nobody writes after a successor has; every record that cannot be used is a dead letter, and no
other. What is only said again is counted.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

from tests.chaos.grounds import ungrounded
from tests.chaos.rows import WORKER_HEADER, Row
from tests.chaos.strays import line, without_strays
from tests.simulation.oracle import Court, Verdict, differences, judge
from tests.simulation.records import TOPICS, Value

ALWAYS_COUNTED = ("repeats", "revisions left out", "revisions that change nothing", "dead letters repeated")


@dataclass(frozen=True)
class Log:
    """All that lies in the topics: inputs by topic, revisions of incidents, dead letters, by partition and offset."""

    inputs: dict[str, list[Row]]
    revisions: list[Row]
    dead_letters: list[Row]


@dataclass
class Judgement:
    """What is wrong, a sentence for each; and what is worth counting."""

    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    groundless: list[str] = field(default_factory=list)
    backwards: list[str] = field(default_factory=list)
    fenced: list[str] = field(default_factory=list)
    dead_letters: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def faults(self) -> dict[str, list[str]]:
        """The sentences under the name of what they are about."""
        return {name: said for name, said in asdict(self).items() if name != "counts"}

    @property
    def clean(self) -> bool:
        return not any(self.faults.values())


def judged(log: Log, site: Value, join: Value, partitions: int) -> Judgement:
    """Judge a log, given the site (GeoJSON), the join's settings by their TOML names, and the number of partitions."""
    found = Judgement(counts=Counter(dict.fromkeys(ALWAYS_COUNTED, 0)))
    inputs, found.lost, strays = without_strays(log.inputs, Court(site, join), partitions)
    inputs = {topic: sorted(inputs[topic], key=lambda row: row.stamp_ms) for topic in TOPICS}
    archive = {topic: [line(row) for row in rows] for topic, rows in inputs.items()}
    verdict = judge(archive, site, join)
    by_incident: dict[str, list[tuple[Row, Value]]] = defaultdict(list)
    for row in sorted(log.revisions, key=lambda row: (row.partition, row.offset)):
        by_incident[(row.key or b"").decode()].append((row, json.loads(row.value or b"null")))
    _judge_contents(found, verdict, by_incident)
    _judge_grounds(found, _court(archive, site, join), log.revisions)
    for name, said in by_incident.items():
        _judge_order(found, name, said)
    _judge_writers(found, log.revisions)
    _judge_dead_letters(found, verdict, inputs, log.dead_letters)
    found.counts.update(strays)
    found.counts["records"] = sum(map(len, log.inputs.values()))
    found.counts["incidents"] = len(verdict.incidents)
    found.counts["revisions"] = len(log.revisions)
    found.counts.update(f"incidents {incident['status']}" for incident in verdict.incidents.values())
    return found


# --- what incidents say in the end ---


def _judge_contents(found: Judgement, verdict: Verdict, by_incident: dict[str, list[tuple[Row, Value]]]) -> None:
    last = {name: said[-1][1] for name, said in by_incident.items()}
    found.lost += [f"incident {name} is lost." for name in sorted(verdict.incidents.keys() - last.keys())]
    said = {name: incident for name, incident in verdict.incidents.items() if name in last}
    for name in last:
        ours = {name: said[name]} if name in said else {}
        if unlike := differences(Verdict(incidents=ours), {name: last[name]}):
            found.wrong.append(unlike[0] + (f" And {len(unlike) - 1} more." if len(unlike) > 1 else ""))
    misnamed = [name for name, incident in last.items() if incident["incident_id"] != name]
    found.wrong += [f"incident {name} lies under another's key." for name in misnamed]


# --- how they came to say it ---


def _court(archive: dict[str, list[Value]], site: Value, join: Value) -> Court:
    court = Court(site, join)
    for topic, lines in archive.items():
        for index, said in enumerate(lines):
            court.apply_broadcast(topic, index, said)
    return court


def _judge_grounds(found: Judgement, court: Court, revisions: Iterable[Row]) -> None:
    for row in revisions:
        said = json.loads(row.value or b"null")
        found.groundless += [
            f"incident {said['incident_id']}, revision {said['revision']} at {row.place}: {what}."
            for what in ungrounded(court, said)
        ]


def _judge_order(found: Judgement, name: str, said: Sequence[tuple[Row, Value]]) -> None:
    partitions = sorted({row.partition for row, _ in said})
    if len(partitions) > 1:
        found.wrong.append(f"incident {name} lies in partitions {partitions}, should be in one.")
    for (_, before), (row, now) in pairwise(said):
        step = now["revision"] - before["revision"]
        if step < 0:
            found.backwards.append(
                f"incident {name}: revision {now['revision']} follows {before['revision']} at {row.place}."
            )
        elif step == 0 and now != before:
            found.backwards.append(
                f"incident {name}: revision {now['revision']} comes twice, and differs: {row.place}."
            )
        elif step == 0:
            found.counts["repeats"] += 1
        else:
            found.counts["revisions left out"] += step - 1
            found.counts["revisions that change nothing"] += _content(now) == _content(before)


def _content(said: Value) -> Value:
    """What converges: all but the revision and the vehicle's stamp."""
    vehicle = {name: value for name, value in said["vehicle"].items() if name != "stamp_ms"}
    return {**said, "revision": 0, "vehicle": vehicle}


def _judge_writers(found: Judgement, revisions: Iterable[Row]) -> None:
    """In each partition whoever has written after somebody else is the successor: the other one is fenced."""
    by_partition: dict[int, list[Row]] = defaultdict(list)
    for row in revisions:
        by_partition[row.partition].append(row)
    nameless = 0
    for rows in by_partition.values():
        writers: list[Any] = []
        for row in sorted(rows, key=lambda row: row.offset):
            if row.writer is None:
                nameless += 1
            elif row.writer not in writers:
                writers.append(row.writer)
            elif row.writer != writers[-1]:
                found.fenced.append(f"{row.place} was written by {row.writer}, after its successor {writers[-1]}.")
        found.counts["writers"] += len(writers)
    if nameless:
        found.fenced.append(
            f"{nameless} revisions do not tell who wrote them, so nobody knows that no fenced worker did: "
            f"write them with an idempotent or transactional producer, or with a header {WORKER_HEADER}."
        )


# --- what could not be used ---


def _judge_dead_letters(found: Judgement, verdict: Verdict, inputs: dict[str, list[Row]], letters: list[Row]) -> None:
    want = {
        inputs[topic][index].place: (reason, inputs[topic][index].value or b"") for topic, index, reason in verdict.dead
    }
    got: dict[str, tuple[str, bytes]] = {}
    for row in letters:
        place = (row.key or b"").decode()
        found.counts["dead letters repeated"] += place in got
        got[place] = (row.headers["rampwatch-reason"].decode(), row.value or b"")
    found.counts["dead letters"] = len(want)
    for place in sorted(want.keys() | got.keys()):
        if place not in got:
            found.dead_letters.append(f"{place} ({want[place][0]}) is no dead letter and should be.")
        elif place not in want:
            found.dead_letters.append(f"{place} is a dead letter ({got[place][0]}) and should not be.")
        elif want[place][0] != got[place][0]:
            found.dead_letters.append(f"{place} is a dead letter for {got[place][0]}, should be for {want[place][0]}.")
        elif want[place][1] != got[place][1]:
            found.dead_letters.append(f"the dead letter of {place} has other bytes than the record.")
