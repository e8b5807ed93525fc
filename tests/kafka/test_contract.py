"""One contract, three implementations: the replay, one worker, three workers.

The worlds are small and full of the join's edge cases; the oracle, which shares no code with the
engine, says what the results must be.
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

from streams.core.codec import decode
from streams.core.events import InvalidRecord, PlateRead, Record, VehicleHit
from streams.core.plates import plate_key
from streams.core.rules import JoinRules
from streams.replay.archive import read_archive
from streams.replay.player import Playable
from streams.replay.run import replay
from streams.resources.sites import load_site
from tests.drivers.brokers import Broker
from tests.drivers.replayed import totals
from tests.drivers.topics import dead_letters, last_incidents, publish, topics_of
from tests.drivers.waiting import eventually
from tests.drivers.workers import await_handled, members_of, worker
from tests.lanes import LANE
from tests.oracle.compare import differences, outcome_differences
from tests.oracle.join import Verdict, judge
from tests.worlds.small_world import world, write_archive

PARTITIONS = 12


@dataclass
class Results:
    """The last revision of each incident, dead letters by reason, and outcomes."""

    incidents: dict[str, Any]
    dead: Counter[tuple[str, str]]
    outcomes: dict[str, Counter[str]]


def key_of(record: Record) -> str:
    try:
        event = decode(record.topic, record.value)
        return plate_key(event.plate) if isinstance(event, PlateRead | VehicleHit) else ""
    except InvalidRecord:
        return ""


def in_process(records: list[Record], rules: JoinRules, folder: Path) -> Results:
    site = load_site(str(folder / "site.geojson"))
    outcomes = replay(records, site, rules, folder / "out", PARTITIONS, lambda _: None)
    incidents = lines_of(folder / "out" / "linked-incidents.jsonl")
    dead = [line["headers"] for line in lines_of(folder / "out" / "dead-letters.jsonl")]
    return Results(
        {line["key"]: line["value"] for line in incidents},
        Counter((headers["rampwatch-topic"], headers["rampwatch-reason"]) for headers in dead),
        {topic: Counter(dict(counts)) for topic, counts in outcomes.items()},
    )


def lines_of(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_bytes().splitlines()]


def through_kafka(
    records: list[Record], rules: JoinRules, folder: Path, address: str, prefix: str, workers: int
) -> Results:
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
        return Results(last_incidents(settings), dead, outcomes)


def disagreements(verdict: Verdict, results: Results, in_order: bool) -> list[str]:
    """One sentence per difference; which reads are repeats is certain only in order."""
    sentences = differences(verdict, results.incidents)
    if in_order:
        sentences += outcome_differences(verdict, results.outcomes)
    for topic, judged_outcomes in verdict.outcomes.items():
        if totals(results.outcomes)[topic] != judged_outcomes.total():
            sentences.append(
                f"{topic}: {totals(results.outcomes)[topic]} outcomes of {judged_outcomes.total()} records."
            )
    judged = Counter((topic, reason) for topic, _, reason in verdict.dead)
    if results.dead != judged:
        sentences.append(f"The dead letters are {results.dead}, should be {judged}.")
    return sentences


@pytest.mark.parametrize("workers", [0, 1, 3], ids=["in-process", "one-worker", "three-workers"])
@pytest.mark.parametrize("seed", LANE.contract_seeds)
def test_incidents_dead_letters_and_outcomes_are_those_of_the_oracle(
    seed: int, workers: int, broker: Broker, prefix: str, tmp_path: Path
) -> None:
    made = world(seed)
    write_archive(made, tmp_path)
    rules = msgspec.convert(made.join, JoinRules)
    records = read_archive(tmp_path, PARTITIONS)
    if workers:
        results = through_kafka(records, rules, tmp_path, broker.address, prefix, workers)
    else:
        results = in_process(records, rules, tmp_path)
    verdict = judge(made.archive, made.site, made.join)
    assert verdict.incidents, "a world without incidents proves nothing"
    assert disagreements(verdict, results, in_order=not workers) == []
