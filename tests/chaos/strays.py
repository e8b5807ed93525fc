"""Records on another partition than their plate's: each is sent on, and counts as its copy, where that lies."""

from __future__ import annotations

import base64
from collections import Counter

from streams.kafka.partitioner import partition_of
from tests.chaos.rows import Row
from tests.simulation.oracle import Court
from tests.simulation.records import HITS, READS, Value, accepted_or_reason

FORWARDED_HEADER = "rampwatch-forwarded"


def line(row: Row) -> Value:
    """The row as the oracle takes it."""
    return {"timestamp_ms": row.stamp_ms, "value_base64": base64.b64encode(row.value or b"").decode()}


def without_strays(
    inputs: dict[str, list[Row]], court: Court, partitions: int
) -> tuple[dict[str, list[Row]], list[str], Counter[str]]:
    """The inputs without what was to be sent on; a sentence for each that was not; how many there were."""
    kept, unsent, counts = dict(inputs), list[str](), Counter[str]()
    for topic in (HITS, READS):
        strays = [row for row in inputs[topic] if _is_stray(row, court, partitions)]
        copies = {(row.headers[FORWARDED_HEADER].decode(), row.value) for row in inputs[topic] if _is_copy(row)}
        places = {(f"{row.partition}:{row.offset}", row.value): row for row in strays}
        unsent += [
            f"{places[place].place} lies on a wrong partition and was not sent on." for place in places.keys() - copies
        ]
        counts["strays"] += len(strays)
        counts["strays sent on twice"] += sum(map(_is_copy, inputs[topic])) - len(copies)
        gone = {row.place for row in strays}
        kept[topic] = [row for row in inputs[topic] if row.place not in gone]
    return kept, sorted(unsent), counts


def _is_copy(row: Row) -> bool:
    return FORWARDED_HEADER in row.headers


def _is_stray(row: Row, court: Court, partitions: int) -> bool:
    """Whether it can be used, lies elsewhere than its plate's key says, and was not sent there by a worker."""
    record = accepted_or_reason(row.topic, 0, line(row), court.ramps, court.join)
    if isinstance(record, str) or _is_copy(row):
        return False
    return partition_of(record.identity[0], partitions) != row.partition
