"""Engines driven as workers drive them, at any speed and in any order the topics allow, over the seeded worlds.

What the topics allow: within a topic (here of one partition) records come in the order of their stamps; a record can be
read up to ``stamp_slack`` after its stamp; between topics there is no order at all.
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
from streams.core.events import (
    BROADCAST,
    EVENT_TYPES,
    READS,
    InvalidRecord,
    LinkedIncident,
    Outcome,
    PlateRead,
    Record,
    event_time_ms,
)
from streams.core.intake import Admitted, AdmittedReads, Intake
from streams.core.rules import JoinRules
from streams.core.site import Site, read_site
from streams.core.windows import NEVER, Watermark
from streams.kafka.partitioner import partition_of
from tests.simulation.oracle import Verdict, judge
from tests.simulation.records import TOPICS
from tests.simulation.worlds import World, world


@dataclass(frozen=True)
class Played:
    """A world, what the oracle says of it, and its admitted records by topic in the order of their stamps."""

    made: World
    verdict: Verdict
    site: Site
    rules: JoinRules
    admitted: dict[str, list[Admitted]]

    @property
    def last_ms(self) -> int:
        return max((record.stamp_ms for records in self.admitted.values() for record in records), default=0)


@lru_cache(maxsize=64)
def played(seed: int) -> Played:
    return _played(world(seed))


def echoed(seed: int) -> Played:
    """A world in which many records come again as they were, minutes or hours later, some of them often."""
    made, rng = world(seed), random.Random(seed)
    archive = {topic: _with_echoes(lines, rng) for topic, lines in made.archive.items()}
    return _played(replace(made, archive=archive))


def _with_echoes(lines: list[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
    echoes = [
        {**line, "timestamp_ms": line["timestamp_ms"] + rng.choice((0, 1, 2, 5, 19, 30, 99, 100, 330)) * 60_000}
        for line in lines
        if "timestamp_ms" in line
        for _ in range(rng.choice((0, 0, 1, 2, 3)))
    ]
    return sorted(lines + echoes, key=lambda line: line.get("timestamp_ms", 0))


def _played(made: World) -> Played:
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
    return Played(made, judge(made.archive, made.site, made.join), site, rules, admitted)


def _record(topic: str, offset: int, line: dict[str, Any]) -> Record:
    value = base64.b64decode(line["value_base64"]) if "value_base64" in line else json.dumps(line["value"]).encode()
    stamp_ms = line.get("timestamp_ms")
    if stamp_ms is None:  # an archive without stamps: the event's time stands for them
        try:
            stamp_ms = event_time_ms(msgspec.json.decode(value, type=EVENT_TYPES[topic]))
        except msgspec.DecodeError:
            stamp_ms = 0
    return Record(topic, 0, offset, stamp_ms, value)


@dataclass
class Console:
    """What an engine said last of each incident; complains of what no reader could make sense of."""

    said: dict[str, LinkedIncident] = field(default_factory=dict)

    def apply_broadcast(self, changes: list[LinkedIncident]) -> None:
        for incident in changes:
            before = self.said.get(incident.incident_id)
            assert incident.revision == (before.revision + 1 if before else 1), "revisions count up by one"
            self.said[incident.incident_id] = incident

    def contents(self) -> dict[str, Any]:
        return {name: msgspec.to_builtins(incident) for name, incident in self.said.items()}

    def told(self) -> dict[str, bytes]:
        """The content by incident, to the byte: all but the revision and the vehicle's stamp."""
        return {name: _content(incident) for name, incident in self.said.items() if _has_reads(incident)}


def _has_reads(incident: LinkedIncident) -> bool:
    return bool(incident.sightings or incident.set_aside)


def _content(incident: LinkedIncident) -> bytes:
    vehicle = msgspec.structs.replace(incident.vehicle, stamp_ms=0)
    return msgspec.json.encode(msgspec.structs.replace(incident, revision=1, vehicle=vehicle))


def take_in(engine: Engine, record: Admitted) -> Outcome | None:
    if record.topic in BROADCAST:
        engine.apply_broadcast(record)
        return None
    return engine.join(record)


def take_in_reads(engine: Engine, records: Sequence[Admitted]) -> Counter[Outcome]:
    """As `take_in` of each, the way a worker takes in a batch of reads."""
    if not records:
        return Counter()
    reads = [record.event for record in records if isinstance(record.event, PlateRead)]
    batch = AdmittedReads(
        reads,
        [record.plate_key for record in records],
        [read.captured_at_ms for read in reads],
        [record.stamp_ms for record in records],
        [record.value for record in records],
    )
    return Counter(engine.join_reads(batch))


class Worker:
    """One engine with its inputs, read at different speeds; its watermark is made as a worker's is."""

    def __init__(self, play: Played, rng: random.Random, admitted: dict[str, list[Admitted]]) -> None:
        self.play, self.rng, self.admitted = play, rng, admitted
        self.engine = Engine(play.site, play.rules)
        self.console = Console()
        self.watermark = Watermark(frozenset(TOPICS), play.rules.stamp_slack_ms)
        self.at = dict.fromkeys(TOPICS, 0)
        self.speed = {topic: rng.choice((0.02, 0.3, 1.0, 5.0)) for topic in TOPICS}
        self.lag_ms = {topic: rng.choice((0, play.rules.stamp_slack_ms)) for topic in TOPICS}
        """How long after its stamp a record can be read: at the latest when the slack is over."""
        self.now_ms = min((records[0].stamp_ms for records in admitted.values() if records), default=0)
        self.repeats = False

    def run(self) -> None:
        """Read everything there is while the brokers' clock goes on: far behind it, or hard on its heels."""
        step = self.rng.choice((self._catch_up, self._keep_up))
        while any(self.at[topic] < len(self.admitted[topic]) for topic in TOPICS):
            step()

    def _catch_up(self) -> None:
        self.now_ms += self.rng.choice((0, 0, 1, 60_000, 1_200_000))
        topic = self.rng.choices(TOPICS, [self.speed[topic] for topic in TOPICS])[0]
        self._read(topic, self.rng.choice((1, 1, 3, 50)))
        if self.rng.random() < 0.5:
            self._publish()

    def _keep_up(self) -> None:
        """Go on to the time when the next record can be read, and read every input to its end."""
        coming = (
            records[self.at[topic]].stamp_ms + self.lag_ms[topic]
            for topic, records in self.admitted.items()
            if self.at[topic] < len(records)
        )
        self.now_ms = max(self.now_ms, min(coming))
        for topic in self.rng.sample(TOPICS, len(TOPICS)):
            self._read(topic, len(self.admitted[topic]))
            self._publish()

    def finish(self, watermark_ms: int) -> None:
        self._publish()
        self.engine.release(watermark_ms)
        assert self.engine.changes() == [], "letting go of memory changes nothing that was said"

    def _read(self, topic: str, most: int) -> None:
        """Ask where the topic ends, then read some; whoever gets to that end says so."""
        records = self.admitted[topic]
        asked_at_ms = self.watermark.greatest_ms
        visible_ms = self.now_ms - self.lag_ms[topic]
        end = max(self.at[topic], bisect_right(records, visible_ms, key=lambda record: record.stamp_ms))
        coming = records[self.at[topic] : min(end, self.at[topic] + most)]
        if topic == READS and self.rng.random() < 0.5:
            take_in_reads(self.engine, coming)
            self.watermark.seen(topic, max((record.stamp_ms for record in coming), default=NEVER))
            self.at[topic] += len(coming)
            coming = []
        for record in coming:
            take_in(self.engine, record)
            self.watermark.seen(topic, record.stamp_ms)
            self.at[topic] += 1
            if self.repeats and self.rng.random() < 0.3:
                self._repeat()
        if self.at[topic] == end and self.rng.random() < 0.7:
            self.watermark.read_to_end(topic, asked_at_ms)

    def _repeat(self) -> None:
        """A record that was read before comes again, as it was: what a broker does after a fall."""
        topic = self.rng.choice([topic for topic in TOPICS if self.at[topic]])
        take_in(self.engine, self.admitted[topic][self.rng.randrange(self.at[topic])])

    def _publish(self) -> None:
        self.console.apply_broadcast(self.engine.changes())
        self.engine.release(self.watermark.value_ms)


def split(play: Played, partitions: int) -> list[dict[str, list[Admitted]]]:
    """The inputs of each partition: its hits and reads, all shots, all actions."""
    return [
        {
            topic: [r for r in records if topic in BROADCAST or partition_of(r.plate_key, partitions) == partition]
            for topic, records in play.admitted.items()
        }
        for partition in range(partitions)
    ]
