"""The topics: one row for each, from which everything else about them derives.

``kafka/topics.py`` creates and checks what the table says, ``kafka/acls.py`` lists the rights,
``schemas.py`` writes the JSON Schemas, the codec decodes by it, and archives name their files after
it. A new topic begins with a row here and its type; CONTRIBUTING.md has the rest.

Names are without the prefix that a replay or a demo puts before them.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from streams.core.counters.events import SpikeAlert, SpikeCounter, Tally
from streams.core.events import Event, IncidentAction, LinkedIncident, PlateRead, ShotAlert, VehicleHit

SHOTS: Final = "shot-spotter-alerts"
HITS: Final = "stolen-vehicle-hits"
READS: Final = "ramp-plate-reads"
ACTIONS: Final = "incident-actions"
INCIDENTS: Final = "linked-incidents"
DEAD_LETTERS: Final = "dead-letters"
TALLIES: Final = "tallies"
COUNTERS: Final = "spike-counters"
ALERTS: Final = "spike-alerts"

Operation = Literal["Read", "Write", "Create", "Delete", "Describe", "DescribeConfigs"]
"""Kafka's ACL operations. Read, Write and Delete imply Describe."""

Component = Literal["worker", "topics", "shots", "hits", "reads", "console", "replay", "archive"]
"""Who uses topics: rampwatch's own processes, and the three feeds."""

Role = Literal["joined", "broadcast", "output", "counted"]
"""``joined``: hits and reads, partitioned by plate key. ``broadcast``: shots and actions, which
every worker reads whole. ``counted``: tallies and what is computed from them, with a single writer.
``output``: incidents and dead letters.
"""


class Access(Struct, frozen=True):
    """What one component does with a topic, and why."""

    component: Component
    operations: tuple[Operation, ...]
    why: str


class Topic(Struct, frozen=True, kw_only=True):
    """One topic."""

    name: str
    role: Role
    type: type[Struct] | None
    """Of its values; None: the bytes of another topic's record."""
    key: str
    """What the key of a record is, in words."""
    partitions: Literal["joined", "one", "any"]
    """``joined``: as many as the setting ``partitions``. ``one``: exactly one. ``any``: created
    with one; more work as well."""
    cleanup: Literal["delete", "compact", "compact,delete"]
    retention_days: int | Literal["reads"] | None
    """``reads``: as long as reads, which a setting says. None: for good."""
    access: tuple[Access, ...]


_READ: Final[tuple[Operation, ...]] = ("Read", "DescribeConfigs")
_READ_WRITE: Final[tuple[Operation, ...]] = ("Read", "Write", "DescribeConfigs")

_BROADCAST: Final = Access("worker", _READ, "reads every record")
_JOINED: Final = Access("worker", _READ_WRITE, "joins records; forwards those on the wrong partition")
_PUBLISHED: Final = Access("worker", _READ_WRITE, "publishes incidents and reads them back after a restart")
_COUNTED: Final = Access("worker", _READ_WRITE, "publishes counts and reads them back after a restart")
_DEAD: Final = Access("worker", ("Write", "DescribeConfigs"), "keeps records that cannot be used")
_CREATED: Final = Access("topics", ("Create", "Describe", "DescribeConfigs"), "creates and checks the topics")
_SHOWN: Final = Access("console", ("Read",), "shows incidents and counters")
_REPLAYED: Final = Access("replay", ("Write",), "publishes archived records to prefixed topics")
_ARCHIVED: Final = Access("archive", ("Read",), "copies topics into files")

_YEAR: Final = 365

TOPICS: Final = (
    Topic(
        name=SHOTS,
        role="broadcast",
        type=ShotAlert,
        key="alert_id",
        partitions="any",
        cleanup="delete",
        retention_days=3 * _YEAR,
        access=(_BROADCAST, _CREATED, Access("shots", ("Write",), "publishes gunshot alerts"), _REPLAYED, _ARCHIVED),
    ),
    Topic(
        name=HITS,
        role="joined",
        type=VehicleHit,
        key="plate key",
        partitions="joined",
        cleanup="delete",
        retention_days=45,
        access=(
            _JOINED,
            _CREATED,
            Access("hits", ("Write",), "publishes the stolen-vehicle list"),
            _REPLAYED,
            _ARCHIVED,
        ),
    ),
    Topic(
        name=READS,
        role="joined",
        type=PlateRead,
        key="plate key",
        partitions="joined",
        cleanup="delete",
        retention_days="reads",
        access=(_JOINED, _CREATED, Access("reads", ("Write",), "publishes the cameras' reads"), _REPLAYED, _ARCHIVED),
    ),
    Topic(
        name=ACTIONS,
        role="broadcast",
        type=IncidentAction,
        key="incident_id",
        partitions="any",
        cleanup="delete",
        retention_days=90,
        access=(
            _BROADCAST,
            _CREATED,
            Access("console", ("Write",), "publishes what dispatchers did"),
            _REPLAYED,
            _ARCHIVED,
        ),
    ),
    Topic(
        name=INCIDENTS,
        role="output",
        type=LinkedIncident,
        key="incident_id, on the partition of the plate key",
        partitions="joined",
        cleanup="compact,delete",
        retention_days=14,
        access=(_PUBLISHED, _CREATED, _SHOWN, _ARCHIVED),
    ),
    Topic(
        name=DEAD_LETTERS,
        role="output",
        type=None,
        key="`topic-partition-offset` of the record",
        partitions="any",
        cleanup="delete",
        retention_days="reads",
        access=(_DEAD, _CREATED, _ARCHIVED),
    ),
    Topic(
        name=TALLIES,
        role="counted",
        type=Tally,
        key="`kind/event_id/revision/digest`",
        partitions="one",
        cleanup="compact,delete",
        retention_days=3 * _YEAR,
        access=(_COUNTED, _CREATED, _ARCHIVED),
    ),
    Topic(
        name=COUNTERS,
        role="counted",
        type=SpikeCounter,
        key="`kind/zone_id`",
        partitions="one",
        cleanup="compact",
        retention_days=None,
        access=(_COUNTED, _CREATED, _SHOWN, _ARCHIVED),
    ),
    Topic(
        name=ALERTS,
        role="counted",
        type=SpikeAlert,
        key="`spike_id`",
        partitions="one",
        cleanup="compact,delete",
        # longer than the tallies: an alert that these still give must not begin at revision 1 again
        retention_days=4 * _YEAR,
        access=(_COUNTED, _CREATED, _SHOWN, _ARCHIVED),
    ),
)

BY_NAME: Final = {topic.name: topic for topic in TOPICS}


def _named(*roles: Role) -> tuple[str, ...]:
    return tuple(topic.name for topic in TOPICS if topic.role in roles)


INPUTS: Final = _named("joined", "broadcast")
JOINED: Final = _named("joined")
BROADCAST: Final = _named("broadcast")
OUTPUTS: Final = _named("output", "counted")
COUNTED: Final = _named("counted")

EVENT_TYPES: Final[dict[str, type[Event]]] = {
    topic.name: topic.type  # type: ignore[misc]
    for topic in TOPICS
    if topic.name in INPUTS
}
"""The type of each input topic's values."""

# ---------------------------------------------------------------------- headers of records

STAMP_HEADER: Final = "rampwatch-stamp-ms"
"""On prefixed topics only: the record's first stamp, which replaces the broker's."""
FORWARDED_HEADER: Final = "rampwatch-forwarded"
"""Of a forwarded record: where it was before, as ``partition:offset``."""
DIGEST_HEADER: Final = "rampwatch-digest"
"""Of every output: the digest of what results depend on besides the log (`streams.core.digest`)."""
REPLAY_HEADER: Final = "rampwatch-replay"
"""Of every output on prefixed topics: the prefix."""
TRUNCATED_HEADER: Final = "rampwatch-truncated"
"""Of a dead letter that holds the first part of its record only: how much of it."""
KEY_HEADER: Final = "rampwatch-key"
"""Of a dead letter: the key of its record, byte for byte; absent if the record has no key."""
OMITTED_HEADER: Final = "rampwatch-omitted"
"""Of a dead letter that does not have its record's key and headers in full: what is missing."""
RESERVED: Final = "rampwatch-"
"""What the names of our headers begin with; producers use other names."""
