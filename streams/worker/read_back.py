"""Reads back what earlier owners of a partition published (JOIN.md, Recovery, step 1)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from aiokafka import TopicPartition

from streams.core.events import LinkedIncident
from streams.core.topics import DIGEST_HEADER, INCIDENTS
from streams.worker import metrics

_POLL_MS: Final = 200

log = logging.getLogger("rampwatch.rebuild")


class Published(NamedTuple):
    """The last published revision of an incident, and how an engine restores it."""

    incident: LinkedIncident
    under_other_digest: bool
    """Whether it was published under another digest: its shot may freeze at another time now."""
    stands: bool
    """Whether it stands as published until its facts change."""


class ReadBack:
    """What is published on one partition of the incidents, from its rows in order."""

    def __init__(self, digest: bytes, republish: bool) -> None:
        """``digest``: of what this worker publishes. ``republish``: what differs, at once."""
        self._digest = digest
        self._republish = republish
        self._last: dict[str, Published] = {}
        self._withheld: set[str] = set()

    @property
    def published(self) -> list[Published]:
        """The last revision of each incident that can be read."""
        return [one for name, one in self._last.items() if name not in self._withheld]

    @property
    def withheld(self) -> frozenset[str]:
        """The incidents whose last row is one of ours that this version cannot read.

        Without their revisions they would begin at revision 1 again.
        """
        return frozenset(self._withheld)

    def add(self, row: Any) -> None:  # noqa: ANN401 - aiokafka has no types
        """Add the next row: an incident, a tombstone, or what this version cannot read."""
        if row.value is None:
            return
        digest = dict(row.headers).get(DIGEST_HEADER)
        try:
            incident = msgspec.json.decode(row.value, type=LinkedIncident)
        except (msgspec.DecodeError, ValueError):
            self._skip(row, digest is not None)
            return
        name, is_other = incident.incident_id, digest != self._digest
        if name not in self._last or name in self._withheld or incident.revision >= self._last[name].incident.revision:
            self._last[name] = Published(incident, is_other, is_other and not self._republish)
            self._withheld.discard(name)

    def _skip(self, row: Any, is_ours: bool) -> None:  # noqa: ANN401 - aiokafka has no types
        location = f"{row.topic}-{row.partition} offset {row.offset}"
        if not is_ours:
            log.warning(
                "%s: skipped, not a linked incident; find out which other producer writes to this topic", location
            )
            return
        log.error(
            "%s: published by another version of rampwatch, and this one cannot read it: its incident stays as it is "
            "and gets no revision from this worker; run the newer version here too",
            location,
        )
        metrics.UNREADABLE.labels(INCIDENTS).inc()
        self._withheld.add((row.key or b"").decode("utf-8", "replace"))


async def batches(
    consumer: Any,  # noqa: ANN401 - aiokafka has no types
    since: Mapping[TopicPartition, int],
    until: Mapping[TopicPartition, int],
) -> AsyncIterator[tuple[TopicPartition, list[Any]]]:
    """Yield the records from ``since`` to before ``until``, those of a partition in order.

    The end is recognised by the position, not by a count of records: offsets have gaps.
    """
    left = [tp for tp in until if since[tp] < until[tp]]
    if not left:
        return
    consumer.assign(left)
    for tp in left:
        consumer.seek(tp, since[tp])
    while left:
        for tp, rows in (await consumer.getmany(*left, timeout_ms=_POLL_MS)).items():
            yield tp, [row for row in rows if row.offset < until[tp]]
        # getmany returns records already fetched without yielding to the event loop
        await asyncio.sleep(0)
        done = [tp for tp in left if await consumer.position(tp) >= until[tp]]
        consumer.pause(*done)
        left = [tp for tp in left if tp not in done]
