"""The in-process replay of the records in Kafka, as the reference for workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from streams.core.topics import COUNTED, DEAD_LETTERS, FORWARDED_HEADER, INCIDENTS, INPUTS
from streams.replay.archive import line_with, read_archive
from streams.replay.compare import differences
from streams.replay.run import replay
from streams.resources.sites import load_site
from streams.settings import Settings
from tests.drivers.topics import STAMP_HEADER, headers_of, read_topic

Outcomes = Mapping[str, Counter[Any]]


def totals(outcomes: Outcomes) -> Counter[str]:
    """How many records of each topic have an outcome."""
    return Counter({topic: sum(counts.values()) for topic, counts in outcomes.items()})


def rejected(outcomes: Outcomes) -> dict[str, tuple[int, int]]:
    """How many records of each topic were late and dead: no order of reading changes these.

    Other outcomes depend on what was in memory: a repeated read may count as used.
    """
    return {topic: (counts["late"], counts["dead"]) for topic, counts in outcomes.items()}


class Replayed(msgspec.Struct):
    """The replay's result on the records in Kafka, and how the workers' output differs from it."""

    outcomes: dict[str, Counter[Any]]
    differences: list[str]
    incidents: int
    partitions: set[tuple[str, int]]
    """The key and the partition of each incident."""


def replayed(settings: Settings, folder: Path) -> Replayed:
    """Read the topics back, replay the inputs, and compare incidents and dead letters."""
    for topic in INPUTS:
        _write(folder / "in" / f"{topic}.jsonl", map(_input_line(settings.prefix), read_topic(settings, topic)))
    for topic in (INCIDENTS, DEAD_LETTERS):
        _write(folder / "through-kafka" / f"{topic}.jsonl", map(_output_line, read_topic(settings, topic)))
    records = read_archive(folder / "in", settings.partitions)
    site = load_site(settings.site)
    outcomes = replay(records, site, settings.join, folder / "out", settings.partitions, lambda _: None)
    # counters are as of a moment and trail the incidents: test_spike_counters compares them
    for topic in COUNTED:
        (folder / "out" / f"{topic}.jsonl").unlink()
    different = differences(folder / "through-kafka", folder / "out")
    lines = (folder / "out" / f"{INCIDENTS}.jsonl").read_bytes().splitlines()
    partitions = {(line["key"], line["partition"]) for line in map(msgspec.json.decode, lines)}
    return Replayed(dict(outcomes), different, len({key for key, _ in partitions}), partitions)


def _input_line(prefix: str) -> Callable[[Any], bytes]:
    def line(row: Any) -> bytes:
        # on prefixed topics the first stamp header counts, elsewhere the broker's stamp
        headers = headers_of(row)
        stamp_ms = int(headers[STAMP_HEADER]) if prefix else row.timestamp
        forwarded = {name: text for name, text in headers.items() if name == FORWARDED_HEADER}
        place = {"partition": row.partition, "offset": row.offset}
        return line_with(row.value, **place, timestamp_ms=stamp_ms, headers=forwarded)

    return line


def _output_line(row: Any) -> bytes:
    return line_with(row.value, key=row.key.decode(), headers=headers_of(row))


def _write(file: Path, lines: Iterable[bytes]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"".join(line + b"\n" for line in lines))
