"""Effects: what the shell has to do because of records, as data.

The core performs none of it. The worker publishes effects to Kafka, a replay writes them to files,
and tests read them.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct, structs

from streams.core.counters.events import Tally
from streams.core.events import InvalidRecord, LinkedIncident, Outcome, Record, ShotAlert


def too_large_to_forward() -> InvalidRecord:
    """Return the error of a misrouted record that cannot be forwarded."""
    detail = "is on the wrong partition and too large to forward; key records by their plate key"
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

    def reject(self, record: Record, error: InvalidRecord) -> None:
        """Dead-letter a record and count it as dead or late."""
        self.dead_letters.append(DeadLetter(record, error))
        self.count(record.topic, error.outcome, record.stands_for)

    def add(self, other: Effects) -> None:
        """Append the effects of later records."""
        for (topic, outcome), records in other.outcomes.items():
            self.count(topic, outcome, records)
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
