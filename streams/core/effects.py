"""Effects: what the shell has to do because of records, as data.

The core performs none of it. The worker publishes effects to Kafka, a replay writes them to files,
and tests read them.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import msgspec
from msgspec import Struct

from streams.core.counters.events import Tally
from streams.core.events import InvalidRecord, LinkedIncident, Outcome, Record, ShotAlert

TOO_LARGE_TO_FORWARD: Final = InvalidRecord(
    "limit", "", "is on the wrong partition and too large to forward; key records by their plate key"
)


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
        return {
            "rampwatch-topic": self.record.topic,
            "rampwatch-partition": str(self.record.partition),
            "rampwatch-offset": str(self.record.offset),
            "rampwatch-stamp-ms": str(self.record.stamp_ms),
            "rampwatch-reason": self.error.reason,
            "rampwatch-field": self.error.field,
            "rampwatch-detail": self.error.detail,
        }


class Forward(Struct, frozen=True, gc=False):
    """A record on the wrong partition, and the partition and plate key to forward it with."""

    record: Record
    partition: int
    plate_key: str


class Effects(Struct):
    """The effects of one or more records, in order.

    ``outcomes`` counts the records by topic and outcome. Its sum is the number of records: every
    record has exactly one outcome.
    """

    outcomes: Counter[tuple[str, Outcome]] = msgspec.field(default_factory=Counter)
    shots: list[ShotAlert] = msgspec.field(default_factory=list)
    """New contents of shots, for those who need more of them than their tallies."""
    incidents: list[LinkedIncident] = msgspec.field(default_factory=list)
    """New revisions to publish."""
    dead_letters: list[DeadLetter] = msgspec.field(default_factory=list)
    forwards: list[Forward] = msgspec.field(default_factory=list)
    tallies: list[Tally] = msgspec.field(default_factory=list)

    def add(self, other: Effects) -> None:
        """Append the effects of later records."""
        self.outcomes.update(other.outcomes)
        self.shots += other.shots
        self.incidents += other.incidents
        self.dead_letters += other.dead_letters
        self.forwards += other.forwards
        self.tallies += other.tallies

    def reject(self, record: Record, error: InvalidRecord) -> None:
        """Dead-letter a record and count it as dead or late."""
        self.dead_letters.append(DeadLetter(record, error))
        self.outcomes[record.topic, error.outcome] += 1

    def reject_forward(self, forward: Forward, error: InvalidRecord) -> None:
        """Dead-letter a record that its topic did not take back, and count it as dead instead."""
        self.outcomes[forward.record.topic, "forwarded"] -= 1
        self.reject(forward.record, error)
