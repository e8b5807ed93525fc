"""Seeded worlds through the replay, against the oracle, which shares no code with it.

A failure names its seed and the command that runs that world again.
"""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from streams.core.plates import plate_key
from streams.core.rules import JoinRules
from streams.core.site import read_site
from streams.kafka.partitioner import partition_of
from streams.replay.archive import read_archive
from streams.replay.errors import ArchiveError
from streams.replay.run import replay
from tests.lanes import LANE
from tests.oracle.compare import differences, outcome_differences
from tests.oracle.join import Verdict, judge
from tests.oracle.records import HITS, READS, SHOTS, TOPICS, Value
from tests.paths import ROOT
from tests.worlds.cases import DAY_MS, JOIN, MINUTE_MS, SHOT_MS, hit, read, shot
from tests.worlds.ground import Ground
from tests.worlds.small_world import World, world, write_archive

FEW = range(1_000, 1_025)
"""Worlds for tests of how an archive is written; the join itself is tested on all the others."""


def replayed(made: World, folder: Path, partitions: int = 3) -> tuple[dict[str, Value], list[Value], Value]:
    """Replay ``folder/in``; return the last revisions, the dead letters and the outcomes."""
    site = read_site((folder / "in" / "site.geojson").read_bytes(), "world")
    records = read_archive(folder / "in", partitions)
    outcomes = replay(records, site, msgspec.convert(made.join, JoinRules), folder / "out", partitions, lambda _: None)
    written_outcomes = json.loads((folder / "out" / "outcomes.json").read_bytes())
    assert written_outcomes == outcomes
    incidents = {line["key"]: line["value"] for line in lines_of(folder / "out" / "linked-incidents.jsonl")}
    return incidents, lines_of(folder / "out" / "dead-letters.jsonl"), written_outcomes


def lines_of(file: Path) -> list[Value]:
    return [json.loads(line) for line in file.read_bytes().splitlines()]


def reasons(dead_letters: Iterable[Value]) -> Counter[tuple[str, str]]:
    return Counter((line["headers"]["rampwatch-topic"], line["headers"]["rampwatch-reason"]) for line in dead_letters)


def disagreements(made: World, folder: Path, verdict: Verdict, partitions: int = 3) -> list[str]:
    incidents, dead, outcomes = replayed(made, folder, partitions)
    sentences = differences(verdict, incidents) + outcome_differences(verdict, outcomes)
    expected = Counter((topic, reason) for topic, _, reason in verdict.dead)
    if reasons(dead) != expected:
        sentences.append(f"The dead letters are {reasons(dead)}, should be {expected}.")
    return sentences


def named(seed: int) -> str:
    return f"world {seed}"


def written(made: World, folder: Path) -> World:
    write_archive(made, folder / "in")
    return made


def judged(made: World) -> Verdict:
    return judge(made.archive, made.site, made.join)


@pytest.mark.parametrize("seed", range(LANE.replayed_worlds))
def test_a_replay_agrees_with_the_oracle(seed: int, tmp_path: Path) -> None:
    made = written(world(seed), tmp_path)
    again = f"pytest '{Path(__file__).relative_to(ROOT)}::test_a_replay_agrees_with_the_oracle[{seed}]'"
    assert disagreements(made, tmp_path, judged(made)) == [], f"world {seed}; run it again: {again}"


# --- the same records in other forms ---


def shuffled(made: World, rng: random.Random) -> World:
    return replace(made, archive={topic: rng.sample(lines, len(lines)) for topic, lines in made.archive.items()})


def with_offsets(made: World, rng: random.Random) -> World:
    """Lines in any order, each with its offset in a topic of one partition."""
    archive = {
        topic: [{**line, "partition": 0, "offset": 10 * n} for n, line in enumerate(lines)]
        for topic, lines in made.archive.items()
    }
    return shuffled(replace(made, archive=archive), rng)


def over_any_partitions(made: World, rng: random.Random) -> World:
    """Each line in a random partition, at an increasing offset."""
    archive = {
        topic: [{**line, "partition": rng.randrange(7), "offset": n} for n, line in enumerate(lines)]
        for topic, lines in made.archive.items()
    }
    return replace(made, archive=archive)


def keyed(made: World, rng: random.Random) -> World:
    """Each line with a usable plate in the partition of its key, of two, with the key beside it."""
    archive = {
        topic: [with_key(line) if topic in (HITS, READS) else line for line in lines]
        for topic, lines in made.archive.items()
    }
    return replace(made, archive=archive)


def with_key(line: Value) -> Value:
    value = line.get("value")
    plate = value.get("plate") if isinstance(value, dict) else None
    if plate not in ("SIMB01", "T0YZG5"):
        return line
    key = plate_key(plate)
    return {**line, "key": key, "partition": partition_of(key, 2)}


@pytest.mark.parametrize("rewritten", [shuffled, with_offsets, over_any_partitions, keyed])
def test_the_arrangement_of_an_archives_lines_changes_no_incident(
    rewritten: Callable[[World, random.Random], World], tmp_path: Path
) -> None:
    for seed in FEW:
        made = world(seed)
        if all("timestamp_ms" in line for lines in made.archive.values() for line in lines):
            folder = tmp_path / str(seed)
            written(rewritten(made, random.Random(seed)), folder)
            incidents, dead, outcomes = replayed(made, folder)
            verdict = judged(made)
            assert differences(verdict, incidents) == [], named(seed)
            assert sum(reasons(dead).values()) == len(verdict.dead), named(seed)
            assert {topic: sum(counts.values()) for topic, counts in outcomes.items()} == {
                topic: len(made.archive[topic]) for topic in TOPICS
            }, named(seed)


@pytest.mark.parametrize("partitions", [1, 2, 12])
def test_the_number_of_partitions_changes_nothing(partitions: int, tmp_path: Path) -> None:
    for seed in FEW:
        made = written(world(seed), tmp_path / str(seed))
        assert disagreements(made, tmp_path / str(seed), judged(made), partitions) == [], named(seed)


def test_compressed_files_replay_like_plain_ones(tmp_path: Path) -> None:
    for seed in FEW[:10]:
        made = written(world(seed), tmp_path / str(seed))
        for file in sorted((tmp_path / str(seed) / "in").glob("*.jsonl")):
            file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
            file.unlink()
        assert disagreements(made, tmp_path / str(seed), judged(made)) == [], named(seed)


def test_an_archive_may_lack_topics_and_have_any_line_endings(tmp_path: Path) -> None:
    made = case([shot(), hit(), read(MINUTE_MS)])
    written(made, tmp_path)
    for name in ("incident-actions.jsonl",):
        (tmp_path / "in" / name).unlink()
    for topic in (SHOTS, HITS, READS):
        file = tmp_path / "in" / f"{topic}.jsonl"
        file.write_bytes(b"\r\n" + file.read_bytes().rstrip(b"\n").replace(b"\n", b"\r\n"))
    incidents, dead, _ = replayed(made, tmp_path)
    assert [incident["status"] for incident in incidents.values()] == ["open"]
    assert dead == []


# --- broken lines ---

BROKEN_LINES = (
    b"not JSON",
    b"{",
    b"[]",
    b"7",
    b'"text"',
    b"null",
    b"\xff\xfe",
    b"{}",
    b'{"timestamp_ms": 1700000000000}',
    b'{"partition": "0", "value": {}}',
    b'{"timestamp_ms": 1.5, "value": {}}',
    b'{"value_base64": "?"}',
    b'{"value": {}, "headers": [1]}',
    b'{"value": {"a": 1}',
    b"[" * 5_000,
)


def case(lines: list[Value]) -> World:
    ids = {"alert_id": SHOTS, "hit_id": HITS, "read_id": READS, "action_id": TOPICS[3]}
    archive: dict[str, list[Value]] = {topic: [] for topic in TOPICS}
    for line in lines:
        archive[next(topic for name, topic in ids.items() if name in line["value"])].append(line)
    ground = Ground(random.Random(0))
    site = ground.site()
    site["features"][0]["properties"]["ramp_id"] = "near"
    site["features"][0]["geometry"]["coordinates"] = [-72.67, 41.76]
    return World(-1, archive, site, JOIN)


@pytest.mark.parametrize("line", BROKEN_LINES)
@pytest.mark.parametrize("topic", TOPICS)
def test_a_broken_line_is_one_dead_letter_and_the_rest_is_joined(topic: str, line: bytes, tmp_path: Path) -> None:
    made = written(case([shot(), hit(), read(MINUTE_MS), read(2 * MINUTE_MS, read_id="R2")]), tmp_path)
    file = tmp_path / "in" / f"{topic}.jsonl"
    rest = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*rest[:1], line + b"\n", *rest[1:]]))
    incidents, dead, outcomes = replayed(made, tmp_path)
    assert differences(judged(made), incidents) == []
    assert [letter["headers"]["rampwatch-topic"] for letter in dead] == [topic]
    assert outcomes[topic].get("dead") == 1


def test_a_line_that_is_a_bare_event_cannot_be_used(tmp_path: Path) -> None:
    made = written(case([shot(), hit(), read(MINUTE_MS)]), tmp_path)
    bare = json.dumps(read(2 * MINUTE_MS, read_id="bare")["value"]).encode()
    file = tmp_path / "in" / f"{READS}.jsonl"
    file.write_bytes(file.read_bytes() + bare + b"\n")
    incidents, dead, _ = replayed(made, tmp_path)
    assert differences(judged(made), incidents) == []
    assert len(dead) == 1


def test_a_dead_letter_keeps_the_record_unchanged(tmp_path: Path) -> None:
    made = written(case([shot(), hit(), {"timestamp_ms": SHOT_MS, "value": {"read_id": 1, "x": [1.0, "é"]}}]), tmp_path)
    _, dead, _ = replayed(made, tmp_path)
    assert dead[0]["value"] == {"read_id": 1, "x": [1.0, "é"]}
    assert dead[0]["headers"]["rampwatch-stamp-ms"] == str(SHOT_MS)


def test_a_truncated_compressed_file_is_an_error_and_not_half_read(tmp_path: Path) -> None:
    made = written(case([shot(), hit(), read()]), tmp_path)
    file = tmp_path / "in" / f"{READS}.jsonl"
    packed = gzip.compress(file.read_bytes() * 50)
    file.with_name(f"{file.name}.gz").write_bytes(packed[: len(packed) // 2])
    file.unlink()
    with pytest.raises(ArchiveError, match=r"ramp-plate-reads\.jsonl\.gz: cannot be read to its end"):
        replayed(made, tmp_path)


def test_an_archive_from_the_distant_past_and_future_is_joined_too(tmp_path: Path) -> None:
    late = read(MINUTE_MS, DAY_MS, read_id="late")
    made = written(case([shot(0, occurred_at_ms=0), shot(2**52, alert_id="F"), hit(), read(), late]), tmp_path)
    assert disagreements(made, tmp_path, judged(made)) == []
