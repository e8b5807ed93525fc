"""Converts rows from Kafka to records of the core: topic without prefix, stamp, origin."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from faust.types import TP
from msgspec import structs

from streams.core.events import Headers, Record
from streams.core.topics import FORWARDED_HEADER, STAMP_HEADER

_FORWARDED_FROM = re.compile(rb"\d{1,10}:\d{1,19}")
"""Partition and offset."""
_STAMP = re.compile(rb"-?\d{1,15}")
"""At most 15 digits, about 30 000 years: published integers are within ±2⁵³."""

_HITS_AT_ONCE: Final = 250
"""Per piece of an import: few enough for shots to pass between."""
LOG_APPEND_TIME: Final = 1
"""The type of a stamp that the broker set."""


class Unreadable(str):
    """The name of the header of a row that could not be read; the header's value is the reason.

    Rows keep it through aiokafka and Faust. No producer can send it: names from the topic are plain
    strings.
    """

    records: int
    """How many records the row stands for: all of a batch may be in one row."""

    @classmethod
    def of(cls, records: int) -> Unreadable:
        """Return the name for a row that stands for so many records."""
        name = cls("unreadable")
        name.records = records
        return name


class Batch(NamedTuple):
    """Rows of one partition in order, at least one: offset, timestamp, key, value and headers."""

    prefix: str
    topic: str
    """With the prefix."""
    partition: int
    rows: Sequence[Any]

    @property
    def name(self) -> str:
        """The topic, without the prefix."""
        return self.topic.removeprefix(self.prefix)

    def records(self) -> list[Record]:
        """Return the rows as records."""
        name = self.name
        return [
            row_record(self.prefix, self.topic, self.partition, row)
            if row.headers or row.timestamp_type != LOG_APPEND_TIME
            else Record(name, self.partition, row.offset, row.timestamp, row.value, "", row.key)
            for row in self.rows
        ]

    def columns(self) -> tuple[list[bytes | None], list[int]] | None:
        """Return the values and the stamps as columns; None if any row is out of the ordinary.

        A header may replace the stamp or mark the record as forwarded. The type of stamps belongs
        to the topic, so the ends of the batch tell whether the broker's or a producer's.
        """
        if not self.rows[0].timestamp_type == self.rows[-1].timestamp_type == LOG_APPEND_TIME:
            return None
        if any([row.headers for row in self.rows]):  # noqa: C419 - a generator takes twice as long
            return None
        return [row.value for row in self.rows], [row.timestamp for row in self.rows]


def pieces(batches: Mapping[TP, Sequence[Any]], hits: str) -> Iterator[dict[TP, Sequence[Any]]]:
    """Split rows by partition: those of the topic ``hits`` into small pieces, all others together.

    A bulk import must not hold the worker for long at a time. Reads cost far less than hits.
    """
    others = {}
    for tp, rows in batches.items():
        if tp.topic == hits:
            yield from ({tp: rows[first : first + _HITS_AT_ONCE]} for first in range(0, len(rows), _HITS_AT_ONCE))
        else:
            others[tp] = rows
    if others:
        yield others


def row_record(prefix: str, topic: str, partition: int, row: Any) -> Record:  # noqa: ANN401 - aiokafka has no types
    """Return a consumer's row as a record of the core."""
    record = core_record(prefix, topic, partition, row.offset, row.timestamp, row.key, row.value, row.headers)
    is_vouched = row.timestamp_type == LOG_APPEND_TIME and record.stamp_ms <= row.timestamp
    return record if is_vouched else structs.replace(record, moves_watermark=False)


def core_record(
    prefix: str,
    topic: str,
    partition: int,
    offset: int,
    timestamp_ms: int,
    key: bytes | None,
    value: bytes | None,
    headers: Headers,
) -> Record:
    """Return a row as a record of the core.

    On prefixed topics the first stamp, in a header, replaces the broker's ``timestamp_ms``. On
    other topics that header is ignored, because producers must not choose their stamps. Malformed
    headers are ignored. On prefixed topics the first stamp of an unreadable record is not known: it
    is -1, because the broker's may be years ahead of the others.
    """
    stamp_ms, forwarded_from = timestamp_ms, ""
    for name, text in headers:
        if type(name) is Unreadable:
            return Record(
                topic.removeprefix(prefix),
                partition,
                offset,
                -1 if prefix else timestamp_ms,
                value,
                unreadable=(text or b"").decode(),
                stands_for=name.records,
            )
        if name == STAMP_HEADER and prefix and text is not None and _STAMP.fullmatch(text):
            stamp_ms = int(text)
        elif name == FORWARDED_HEADER and text is not None and _FORWARDED_FROM.fullmatch(text):
            forwarded_from = text.decode()
    return Record(topic.removeprefix(prefix), partition, offset, stamp_ms, value, forwarded_from, key, headers)
