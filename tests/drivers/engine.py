"""One engine and its inputs, read at any speed and in any order that the topics allow.

What the topics allow: within a topic (here of one partition) records arrive in the order of their
stamps; a record becomes readable at most ``stamp_slack`` after its stamp; there is no order between
topics.
"""

from __future__ import annotations

import base64
import json
import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import msgspec

from streams.core.engine import Engine
from streams.core.events import InvalidRecord, LinkedIncident, Outcome, PlateRead, Record, event_time_ms
from streams.core.intake import Admitted, AdmittedReads, Intake
from streams.core.rules import JoinRules
from streams.core.site import Site, read_site
from streams.core.topics import BROADCAST, EVENT_TYPES, READS
from streams.core.windows import NEVER, Watermark
from streams.kafka.partitioner import partition_of
from tests.oracle.join import Verdict, judge
from tests.oracle.records import TOPICS, Value
from tests.worlds.small_world import World, world

REPEATED_AFTER_MIN = (0, 1, 2, 5, 19, 30, 99, 100, 330)
"""The gaps before a repeated record, in minutes: around and at the retentions of the small worlds.
"""


# ---------------------------------------------------------------------- a world, ready to be joined


@dataclass(frozen=True)
class Scenario:
    """A small world, the oracle's verdict on it, and its admitted records by topic and stamp."""

    world: World
    verdict: Verdict
    site: Site
    rules: JoinRules
    admitted: dict[str, list[Admitted]]

    @property
    def last_ms(self) -> int:
        """The greatest stamp."""
        return max((record.stamp_ms for records in self.admitted.values() for record in records), default=0)


@lru_cache(maxsize=64)
def scenario(seed: int) -> Scenario:
    """The world of this seed."""
    return scenario_of(world(seed))


def scenario_with_repeats(seed: int) -> Scenario:
    """The world of this seed with many records repeated minutes or hours later."""
    made, rng = world(seed), random.Random(seed)
    archive = {topic: _with_repeats(lines, rng) for topic, lines in made.archive.items()}
    return scenario_of(replace(made, archive=archive))


def _with_repeats(lines: list[Value], rng: random.Random) -> list[Value]:
    repeats = [
        {**line, "timestamp_ms": line["timestamp_ms"] + rng.choice(REPEATED_AFTER_MIN) * 60_000}
        for line in lines
        if "timestamp_ms" in line
        for _ in range(rng.choice((0, 0, 1, 2, 3)))
    ]
    return sorted(lines + repeats, key=lambda line: line.get("timestamp_ms", 0))


def scenario_of(made: World) -> Scenario:
    """Admit the records of a world and judge it."""
    site = read_site(json.dumps(made.site).encode(), "world")
    rules = msgspec.convert(made.join, JoinRules)
    intake = Intake(site, rules)
    admitted: dict[str, list[Admitted]] = {topic: [] for topic in TOPICS}
    for topic in TOPICS:
        for offset, line in enumerate(made.archive[topic]):
            try:
                admitted[topic].append(intake.admit(_record(topic, offset, line)))
            except InvalidRecord:
                continue
        admitted[topic].sort(key=lambda record: record.stamp_ms)
    return Scenario(made, judge(made.archive, made.site, made.join), site, rules, admitted)


def _record(topic: str, offset: int, line: Value) -> Record:
    value = base64.b64decode(line["value_base64"]) if "value_base64" in line else json.dumps(line["value"]).encode()
    stamp_ms = line.get("timestamp_ms")
    if stamp_ms is None:  # an archive without stamps: the event time serves as the stamp
        try:
            stamp_ms = event_time_ms(msgspec.json.decode(value, type=EVENT_TYPES[topic]))
        except msgspec.DecodeError:
            stamp_ms = 0
    return Record(topic, 0, offset, stamp_ms, value)


def split(whole: Scenario, partitions: int) -> list[dict[str, list[Admitted]]]:
    """The inputs of each partition: its own hits and reads, all shots, all actions."""
    return [
        {
            topic: [r for r in records if topic in BROADCAST or partition_of(r.plate_key, partitions) == partition]
            for topic, records in whole.admitted.items()
        }
        for partition in range(partitions)
    ]


# ---------------------------------------------------------------------- applying records


def apply(engine: Engine, record: Admitted) -> Outcome | None:
    """Apply one record; None for shots and actions, whose outcome the engine does not decide."""
    if record.topic in BROADCAST:
        engine.apply_broadcast(record)
        return None
    return engine.join(record)


def apply_reads(engine: Engine, records: Sequence[Admitted]) -> Counter[Outcome]:
    """`apply` to each of some reads, in the way a worker applies a batch of them."""
    if not records:
        return Counter()
    reads = [record.event for record in records if isinstance(record.event, PlateRead)]
    batch = AdmittedReads(
        reads,
        [record.plate_key for record in records],
        [read.captured_at_ms for read in reads],
        [record.stamp_ms for record in records],
        [record.record.value or b"" for record in records],
    )
    return Counter(engine.join_reads(batch))


@dataclass
class Console:
    """The last revision of each incident, as a dispatcher's console shows it."""

    incidents: dict[str, LinkedIncident] = field(default_factory=dict)

    def show(self, changes: list[LinkedIncident]) -> None:
        """Take new revisions; fail if the revision numbers of an incident have a gap."""
        for incident in changes:
            before = self.incidents.get(incident.incident_id)
            assert incident.revision == (before.revision + 1 if before else 1), "revisions count up by one"
            self.incidents[incident.incident_id] = incident

    def contents(self) -> dict[str, Any]:
        """The incidents as JSON values."""
        return {name: msgspec.to_builtins(incident) for name, incident in self.incidents.items()}

    def encoded(self) -> dict[str, bytes]:
        """The converging content of each incident with reads, as bytes."""
        return {name: _content(each) for name, each in self.incidents.items() if each.sightings or each.set_aside}


def _content(incident: LinkedIncident) -> bytes:
    """Everything but the revision and the vehicle's stamp, which do not converge."""
    vehicle = msgspec.structs.replace(incident.vehicle, stamp_ms=0)
    return msgspec.json.encode(msgspec.structs.replace(incident, revision=1, vehicle=vehicle))


class EngineRun:
    """One engine reading its inputs at different speeds, with a worker's watermark."""

    def __init__(self, whole: Scenario, rng: random.Random, admitted: dict[str, list[Admitted]]) -> None:
        self.rng, self.admitted = rng, admitted
        self.engine = Engine(whole.site, whole.rules)
        self.console = Console()
        self.watermark = Watermark(frozenset(TOPICS), whole.rules.stamp_slack_ms)
        self.offsets = dict.fromkeys(TOPICS, 0)
        self.speed = {topic: rng.choice((0.02, 0.3, 1.0, 5.0)) for topic in TOPICS}
        self.lag_ms = {topic: rng.choice((0, whole.rules.stamp_slack_ms)) for topic in TOPICS}
        """How long after its stamp a record becomes readable: the slack at most."""
        self.now_ms = min((records[0].stamp_ms for records in admitted.values() if records), default=0)
        self.repeats = False
        """Whether earlier records are repeated unchanged, as after a broker's failure."""

    def run(self) -> None:
        """Read everything while the brokers' clock advances: far behind it, or close to it."""
        step = self.rng.choice((self._catch_up, self._keep_up))
        while any(self.offsets[topic] < len(self.admitted[topic]) for topic in TOPICS):
            step()

    def finish(self, watermark_ms: int) -> None:
        """Publish what is left and release memory; releasing must change nothing."""
        self._publish()
        self.engine.release(watermark_ms)
        assert self.engine.changes() == [], "releasing memory must not change an incident"

    def _catch_up(self) -> None:
        self.now_ms += self.rng.choice((0, 0, 1, 60_000, 1_200_000))
        topic = self.rng.choices(TOPICS, [self.speed[topic] for topic in TOPICS])[0]
        self._read(topic, self.rng.choice((1, 1, 3, 50)))
        if self.rng.random() < 0.5:
            self._publish()

    def _keep_up(self) -> None:
        """Advance until the next record is readable, and read every input to its end."""
        readable_from_ms = (
            records[self.offsets[topic]].stamp_ms + self.lag_ms[topic]
            for topic, records in self.admitted.items()
            if self.offsets[topic] < len(records)
        )
        self.now_ms = max(self.now_ms, min(readable_from_ms))
        for topic in self.rng.sample(TOPICS, len(TOPICS)):
            self._read(topic, len(self.admitted[topic]))
            self._publish()

    def _read(self, topic: str, most: int) -> None:
        """Query the end of the topic, then read some; reaching that end advances the watermark."""
        records = self.admitted[topic]
        queried_at_ms = self.watermark.greatest_ms
        readable_ms = self.now_ms - self.lag_ms[topic]
        end = max(self.offsets[topic], bisect_right(records, readable_ms, key=lambda record: record.stamp_ms))
        batch = records[self.offsets[topic] : min(end, self.offsets[topic] + most)]
        if topic == READS and self.rng.random() < 0.5:
            apply_reads(self.engine, batch)
            self.watermark.seen(topic, max((record.stamp_ms for record in batch), default=NEVER))
            self.offsets[topic] += len(batch)
            batch = []
        for record in batch:
            apply(self.engine, record)
            self.watermark.seen(topic, record.stamp_ms)
            self.offsets[topic] += 1
            if self.repeats and self.rng.random() < 0.3:
                self._repeat()
        if self.offsets[topic] == end and self.rng.random() < 0.7:
            self.watermark.read_to_end(topic, queried_at_ms)

    def _repeat(self) -> None:
        topic = self.rng.choice([topic for topic in TOPICS if self.offsets[topic]])
        apply(self.engine, self.admitted[topic][self.rng.randrange(self.offsets[topic])])

    def _publish(self) -> None:
        self.console.show(self.engine.changes())
        self.engine.release(self.watermark.value_ms)
