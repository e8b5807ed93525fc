"""Effects: what the shell has to do because of records, as data.

The core performs none of it. The worker publishes effects to Kafka, a replay writes them to files,
and tests read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct, structs

from streams.core.counters.events import Tally
from streams.core.events import Headers, InvalidRecord, LinkedIncident, Outcome, Record, ShotAlert
from streams.core.topics import FORWARDED_HEADER, KEY_HEADER, OMITTED_HEADER, RESERVED, STAMP_HEADER
from streams.core.windows import NEVER

_HEADERS_MAX: Final = 64
_HEADER_BYTES_MAX: Final = 32 * 1024
"""Of the key and the headers that a dead letter keeps, names included."""


def too_large_to_forward() -> InvalidRecord:
    """Return the error of a misrouted record that cannot be forwarded."""
    detail = (
        "is on the wrong partition and too large to forward; key records by their plate key, with Kafka's default "
        "partitioner (murmur2)"
    )
    return InvalidRecord("limit", "", detail)


class DeadLetter(Struct, frozen=True, gc=False):
    """A record that cannot be used, and why."""

    record: Record
    error: InvalidRecord

    @property
    def key(self) -> str:
        """The key on the topic of dead letters: topic, partition and offset of the record."""
        return f"{self.record.topic}-{self.record.partition}-{self.record.offset}"

    @property
    def headers(self) -> dict[str, str]:
        """What a dead letter says beside the record's own bytes, which are its value."""
        forwarded = {FORWARDED_HEADER: self.record.forwarded_from} if self.record.forwarded_from else {}
        return forwarded | {
            "rampwatch-topic": self.record.topic,
            "rampwatch-partition": str(self.record.partition),
            "rampwatch-offset": str(self.record.offset),
            "rampwatch-stamp-ms": str(self.record.stamp_ms),
            "rampwatch-reason": self.error.reason,
            "rampwatch-field": self.error.field,
            "rampwatch-detail": self.error.detail,
        }

    @property
    def record_headers(self) -> Headers:
        """The record's own key and headers, with which it can be sent again as it was.

        Both are bounded, because nothing else bounds them, and a dead letter must fit its topic. If
        something is left out, a header says what. Reserved names are left out without a word.
        """
        key, bytes_left = self.record.key, _HEADER_BYTES_MAX
        own = [header for header in self.record.headers if not header[0].startswith(RESERVED)]
        kept: list[tuple[str, bytes | None]] = []
        omitted = []
        keeps_key = key is not None and len(key) <= bytes_left
        if key is not None:
            bytes_left -= len(key) if keeps_key else 0
            omitted += [] if keeps_key else ["the key"]
        for name, value in own:
            size = _encoded_bytes(name, value)
            if size is not None and size <= bytes_left and len(kept) < _HEADERS_MAX:
                kept.append((name, value))
                bytes_left -= size
        if len(kept) < len(own):
            omitted.append(f"{len(own) - len(kept)} of {len(own)} headers")
        if keeps_key:
            kept.append((KEY_HEADER, key))
        if omitted:
            kept.append((OMITTED_HEADER, " and ".join(omitted).encode()))
        return kept


class Forward(Struct, frozen=True, gc=False):
    """A record on the wrong partition, and the partition and plate key to forward it with."""

    record: Record
    partition: int
    plate_key: str

    @property
    def record_headers(self) -> Headers:
        """The record's own headers, without those that forwarding sets."""
        ours = (FORWARDED_HEADER, STAMP_HEADER)
        return [h for h in self.record.headers if h[0] not in ours and _encoded_bytes(*h) is not None]


def _encoded_bytes(name: str, value: bytes | None) -> int | None:
    """Return the size of a header; None if its name is not valid Unicode and cannot be sent."""
    try:
        return len(name.encode()) + len(value or b"")
    except UnicodeEncodeError:
        return None


class Effects(Struct):
    """The effects of one or more records, in order.

    ``outcomes`` counts the records by topic and outcome. Its sum is the number of records: every
    record has exactly one outcome. ``seen_ms`` is the greatest stamp of the records that move the
    watermark: those that could be used, stamped by the broker.
    """

    seen_ms: int = NEVER
    outcomes: dict[tuple[str, Outcome], int] = msgspec.field(default_factory=dict)
    shots: list[ShotAlert] = msgspec.field(default_factory=list)
    """New contents of shots, for callers that need more than their tallies."""
    incidents: list[LinkedIncident] = msgspec.field(default_factory=list)
    """New revisions to publish."""
    dead_letters: list[DeadLetter] = msgspec.field(default_factory=list)
    forwards: list[Forward] = msgspec.field(default_factory=list)
    tallies: list[Tally] = msgspec.field(default_factory=list)

    def count(self, topic: str, outcome: Outcome, records: int = 1) -> None:
        """Count records of a topic under an outcome."""
        self.outcomes[topic, outcome] = self.outcomes.get((topic, outcome), 0) + records

    def see(self, record: Record) -> None:
        """Note the stamp of a record that could be used."""
        if record.moves_watermark and record.stamp_ms > self.seen_ms:
            self.seen_ms = record.stamp_ms

    def reject(self, record: Record, error: InvalidRecord) -> None:
        """Dead-letter a record and count it as dead or late."""
        self.dead_letters.append(DeadLetter(record, error))
        self.count(record.topic, error.outcome, record.stands_for)

    def add(self, other: Effects) -> None:
        """Append the effects of later records."""
        for (topic, outcome), records in other.outcomes.items():
            self.count(topic, outcome, records)
        self.seen_ms = max(self.seen_ms, other.seen_ms)
        self.shots += other.shots
        self.incidents += other.incidents
        self.dead_letters += other.dead_letters
        self.forwards += other.forwards
        self.tallies += other.tallies

    def without_forwards(self, rejected: Sequence[Forward]) -> Effects:
        """Return these effects with no forwards, and ``rejected`` ones as dead letters.

        A forward is rejected if its topic does not take the record back.
        """
        effects = structs.replace(self, outcomes=dict(self.outcomes), dead_letters=list(self.dead_letters), forwards=[])
        for forward in rejected:
            effects.count(forward.record.topic, "forwarded", -1)
            effects.reject(forward.record, too_large_to_forward())
        return effects
