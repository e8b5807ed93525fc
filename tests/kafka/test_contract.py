"""One suite, three ways to answer it: in-process, by one worker, by three that share the partitions.

The worlds are small and full of what the join's definition is subtle about; an oracle that shares no code with the
engine says what must come out.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streams.core.events import InvalidRecord, PlateRead, Record, VehicleHit, decode
from streams.core.plates import plate_key
from streams.core.rules import JoinRules
from streams.local_broker.broker import LocalBroker
from streams.replay.archive import read_archive
from streams.replay.player import Playable
from streams.replay.run import replay
from streams.resources.sites import load_site
from tests.kafka.conftest import GivenBroker
from tests.kafka.driving import (
    await_handled,
    dead_letters,
    eventually,
    last_incidents,
    members_of,
    publish,
    sums,
    topics_of,
    worker,
)
from tests.simulation.oracle import Verdict, differences, judge, outcome_differences
from tests.simulation.worlds import world, write_archive

SEEDS = (3, 57, 101)
PARTITIONS = 12


@dataclass
class Answers:
    """The last word on each incident, how many dead letters for which reason, what the records ended as."""

    incidents: dict[str, Any]
    dead: Counter[tuple[str, str]]
    outcomes: dict[str, Counter[str]]


def key_of(record: Record) -> str:
    try:
        event = decode(record.topic, record.value)
        return plate_key(event.plate) if isinstance(event, PlateRead | VehicleHit) else ""
    except InvalidRecord:
        return ""


def in_process(records: list[Record], rules: JoinRules, folder: Path) -> Answers:
    site = load_site(str(folder / "site.geojson"))
    outcomes = replay(records, site, rules, folder / "out", PARTITIONS, lambda _: None)
    incidents = lines_of(folder / "out" / "linked-incidents.jsonl")
    refused = [line["headers"] for line in lines_of(folder / "out" / "dead-letters.jsonl")]
    return Answers(
        {line["key"]: line["value"] for line in incidents},
        Counter((headers["rampwatch-topic"], headers["rampwatch-reason"]) for headers in refused),
        {topic: Counter(dict(counts)) for topic, counts in outcomes.items()},
    )


def lines_of(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_bytes().splitlines()]


def through_kafka(
    records: list[Record], rules: JoinRules, folder: Path, address: str, prefix: str, workers: int
) -> Answers:
    config = str(folder / "config.toml")
    with ExitStack() as stack:
        settings = stack.enter_context(topics_of(address, prefix, str(folder / "site.geojson"), rules))
        running = [
            stack.enter_context(worker(settings, folder, "--config", config, name=f"worker-{n}"))
            for n in range(workers)
        ]
        eventually(running, lambda: members_of(settings) == workers, "the group did not settle")
        publish(settings, [Playable(r.topic, r.stamp_ms, key_of(r), r.value or b"") for r in records])
        await_handled(settings, *running)
        outcomes: dict[str, Counter[str]] = {}
        for each in running:
            for topic, counts in each.outcomes().items():
                outcomes.setdefault(topic, Counter()).update(counts)
        dead = Counter((topic, reason) for topic, reason, _, _ in dead_letters(settings))
        return Answers(last_incidents(settings), dead, outcomes)


def disagreements(verdict: Verdict, answers: Answers, in_order: bool) -> list[str]:
    """One sentence per difference; which reads count as repeats is certain only where records come in order."""
    found = differences(verdict, answers.incidents)
    if in_order:
        found += outcome_differences(verdict, answers.outcomes)
    for topic, judged_outcomes in verdict.outcomes.items():
        if sums(answers.outcomes)[topic] != judged_outcomes.total():
            found.append(f"{topic}: {sums(answers.outcomes)[topic]} outcomes of {judged_outcomes.total()} records.")
    judged = Counter((topic, reason) for topic, _, reason in verdict.dead)
    if answers.dead != judged:
        found.append(f"The dead letters are {answers.dead}, should be {judged}.")
    return found


@pytest.mark.parametrize("workers", [0, 1, 3], ids=["in-process", "one-worker", "three-workers"])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_contract(seed: int, workers: int, broker: LocalBroker | GivenBroker, prefix: str, tmp_path: Path) -> None:
    made = world(seed)
    write_archive(made, tmp_path)
    rules = msgspec.convert(made.join, JoinRules)
    records = read_archive(tmp_path, PARTITIONS)
    if workers:
        answers = through_kafka(records, rules, tmp_path, broker.address, prefix, workers)
    else:
        answers = in_process(records, rules, tmp_path)
    verdict = judge(made.archive, made.site, made.join)
    assert verdict.incidents, "a world without incidents proves nothing"
    assert disagreements(verdict, answers, in_order=not workers) == []
