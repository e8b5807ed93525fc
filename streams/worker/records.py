"""Records of Kafka as the core knows them: the topic without its prefix, the stamp that counts, where it came from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from streams.core.events import FORWARDED_HEADER, Record

STAMP_HEADER: Final = "rampwatch-stamp-ms"

_PLACE = re.compile(rb"\d{1,10}:\d{1,19}")
_STAMP = re.compile(rb"-?\d{1,15}")
"""Up to 15 digits, some 30 000 years: what is longer is no time, and may not fit the wire's numbers."""

Headers = Iterable[tuple[str, bytes | None]]


def core_records(prefix: str, topic: str, partition: int, rows: Iterable[Any]) -> list[Record]:
    """Return rows of one partition as the core takes them; each has an offset, a timestamp, a value and headers."""
    name = topic.removeprefix(prefix)
    return [
        core_record(prefix, topic, partition, row.offset, row.timestamp, row.value, row.headers)
        if row.headers
        else Record(name, partition, row.offset, row.timestamp, row.value)
        for row in rows
    ]


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
