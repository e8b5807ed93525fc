"""Records of Kafka as the core knows them: the topic without its prefix, the stamp that counts, where it came from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from streams.core.events import FORWARDED_HEADER, Record

STAMP_HEADER: Final = "rampwatch-stamp-ms"

_PLACE = re.compile(rb"\d{1,10}:\d{1,19}")
_STAMP = re.compile(rb"-?\d{1,15}")
"""Up to 15 digits, some 30 000 years: what is longer is no time, and may not fit the wire's numbers."""

Headers = Iterable[tuple[str, bytes | None]]


class Batch(NamedTuple):
    """Rows of one partition of a topic, in their order, one or more: each with offset, timestamp, value and headers."""

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
        """Return the rows as the core takes them, one by one."""
        name = self.name
        return [
            core_record(self.prefix, self.topic, self.partition, row.offset, row.timestamp, row.value, row.headers)
            if row.headers
            else Record(name, self.partition, row.offset, row.timestamp, row.value)
            for row in self.rows
        ]

    def columns(self) -> tuple[list[bytes | None], list[int]] | None:
        """Return the values and the stamps side by side; None where headers may say otherwise."""
        if any([row.headers for row in self.rows]):  # noqa: C419 - a generator takes twice as long
            return None
        return [row.value for row in self.rows], [row.timestamp for row in self.rows]


def core_record(
    prefix: str, topic: str, partition: int, offset: int, timestamp_ms: int, value: bytes | None, headers: Headers
) -> Record:
    """Return a record as the core takes it.

    On prefixed topics a record's first stamp, in its header, stands for the broker's; elsewhere nobody may claim one.
    What is no such number there counts for nothing.
    """
    stamp_ms, forwarded_from = timestamp_ms, ""
    for name, text in headers:
        if name == STAMP_HEADER and prefix and text is not None and _STAMP.fullmatch(text):
            stamp_ms = int(text)
        elif name == FORWARDED_HEADER and text is not None and _PLACE.fullmatch(text):
            forwarded_from = text.decode()
    return Record(topic.removeprefix(prefix), partition, offset, stamp_ms, value, forwarded_from)
