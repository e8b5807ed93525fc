"""Records on the wrong partition: each is forwarded, and only its copy counts."""

from __future__ import annotations

import base64
from collections import Counter

from streams.kafka.partitioner import partition_of
from tests.chaos.rows import Row
from tests.oracle.join import Court
from tests.oracle.records import HITS, READS, Value, accepted_or_reason

FORWARDED_HEADER = "rampwatch-forwarded"


def line(row: Row) -> Value:
    """The row as an archive line, which the oracle reads."""
    return {"timestamp_ms": row.stamp_ms, "value_base64": base64.b64encode(row.value or b"").decode()}


def without_misrouted(
    inputs: dict[str, list[Row]], court: Court, partitions: int
) -> tuple[dict[str, list[Row]], list[str], Counter[str]]:
    """The inputs without misrouted records; which were not forwarded; how many there were."""
    kept, not_forwarded, counts = dict(inputs), list[str](), Counter[str]()
    for topic in (HITS, READS):
        misrouted = [row for row in inputs[topic] if _is_misrouted(row, court, partitions)]
        copies = {(row.headers[FORWARDED_HEADER].decode(), row.value) for row in inputs[topic] if _is_copy(row)}
        originals = {(f"{row.partition}:{row.offset}", row.value): row for row in misrouted}
        not_forwarded += [
            f"{originals[missing].position} is on the wrong partition and was not forwarded."
            for missing in originals.keys() - copies
        ]
        counts["misrouted"] += len(misrouted)
        counts["forwarded twice"] += sum(map(_is_copy, inputs[topic])) - len(copies)
        gone = {row.position for row in misrouted}
        kept[topic] = [row for row in inputs[topic] if row.position not in gone]
    return kept, sorted(not_forwarded), counts


def _is_copy(row: Row) -> bool:
    return FORWARDED_HEADER in row.headers


def _is_misrouted(row: Row, court: Court, partitions: int) -> bool:
    """Whether it is usable, on the wrong partition, and not there because it was forwarded."""
    record = accepted_or_reason(row.topic, 0, line(row), court.ramps, court.join)
    if isinstance(record, str) or _is_copy(row):
        return False
    return partition_of(record.identity[0], partitions) != row.partition
