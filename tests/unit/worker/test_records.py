"""Rows of Kafka as records of the core."""

from __future__ import annotations

from typing import NamedTuple

from streams.core.events import Headers, Record
from streams.core.topics import READS
from streams.worker.records import LOG_APPEND_TIME, Batch


class Row(NamedTuple):
    """What is used of aiokafka's rows."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_type: int = LOG_APPEND_TIME


def test_a_record_has_the_key_and_the_headers_of_its_row():
    headers = [("trace", b"1"), ("rampwatch-stamp-ms", b"7")]
    rows = [Row(4, 5, b"key", b"plain", ()), Row(6, 8, None, b"with headers", headers)]
    assert Batch("p-", f"p-{READS}", 2, rows).records() == [
        Record(READS, 2, 4, 5, b"plain", "", b"key"),
        Record(READS, 2, 6, 7, b"with headers", "", None, headers),
    ]
