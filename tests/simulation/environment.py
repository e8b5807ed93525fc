"""The environment of one worker on one partition: topics, output, commits, crashes, outages.

The topics behave as JOIN.md allows: a record becomes readable at most ``stamp_slack`` after its
stamp; each topic is kept exactly as long as "Topics must keep that long" requires for an outage of
`OUTAGE_MS`; the output is compacted and deleted likewise. Within that anything may happen. How the
worker recovers is in `tests.simulation.worker`.
"""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from streams.core.events import LinkedIncident
from streams.core.intake import Admitted
from streams.core.rules import JoinRules
from streams.core.windows import NEVER
from tests.drivers.engine import Scenario
from tests.oracle.compare import differences
from tests.oracle.join import Verdict, judge
from tests.oracle.records import ACTIONS, HITS, READS, SHOTS, TOPICS
from tests.worlds.ground import MINUTE_MS

if TYPE_CHECKING:
    from tests.simulation.worker import Worker

OUTAGE_MS = 60 * MINUTE_MS
"""How far the committed watermark may fall behind the present, whatever happens."""
EVERYTHING = 10**9
_FOREVER_MS = -NEVER


@dataclass(frozen=True)
class Mode:
    """The probability of each event at each point where it can happen."""

    crash: float = 0.0
    revoke: float = 0.0
    """The partition is revoked and reassigned: the worker keeps its state and reads again."""
    quiet: bool = False
    """No steady stream of reads: the watermark stands still while the topics keep deleting.

    The retentions do not allow for that, so in this mode a world may go wrong even with every rule.
    """
    replay: bool = False
    """All inputs are read as one in the order of stamps; the watermark follows each record."""


MODES = {
    "plain": Mode(),
    "crash": Mode(crash=0.06, revoke=0.05),
    "rare": Mode(crash=0.01, revoke=0.02),
    "revoked": Mode(revoke=0.2),
    "replay": Mode(replay=True),
    "quiet": Mode(crash=0.06, revoke=0.05, quiet=True),
}


class Crash(Exception):
    """The worker is gone, and with it everything it knew."""


class Topic:
    """One partition of a topic: records by stamp, readable a little later, deleted at an age."""

    def __init__(self, records: Sequence[Admitted], retention_ms: int, slack_ms: int, rng: random.Random) -> None:
        self.records = records
        self._stamps = [record.stamp_ms for record in records]
        self._retention_ms = retention_ms
        self._readable_from: list[int] = []
        latest_ms = NEVER
        for stamp_ms in self._stamps:
            latest_ms = max(latest_ms, stamp_ms + rng.choice((0, 0, 0, min(1000, slack_ms), slack_ms)))
            self._readable_from.append(latest_ms)

    def end(self, now_ms: int) -> int:
        """The offset after the last record that is readable now."""
        return bisect_right(self._readable_from, now_ms)

    def start(self, now_ms: int) -> int:
        """The offset of the first record that is not deleted."""
        return bisect_left(self._stamps, now_ms - self._retention_ms)

    def offset_at(self, time_ms: int) -> int:
        """The offset of the first record stamped at or after a time."""
        return bisect_left(self._stamps, time_ms)


def retentions(rules: JoinRules) -> dict[str, int]:
    """How long JOIN.md requires each topic to be kept, for an outage of `OUTAGE_MS`."""
    more_ms = rules.max_future_skew_ms + OUTAGE_MS
    hits_ms = rules.hit_ttl_ms + rules.incident_retention_ms + rules.read_retention_ms
    return {
        READS: rules.read_retention_ms + more_ms,
        HITS: hits_ms + rules.max_future_skew_ms + more_ms,
        SHOTS: _FOREVER_MS,  # shot_memory is longer than any world
        ACTIONS: rules.incident_retention_ms + more_ms,
    }


class Output:
    """The topic of linked incidents, and what a console that has read all of it shows."""

    def __init__(self, retention_ms: int) -> None:
        self.shown: dict[str, LinkedIncident] = {}
        self.published = 0
        self._retention_ms = retention_ms
        self._records: list[tuple[int, bytes]] = []

    def append(self, now_ms: int, incident: LinkedIncident) -> None:
        """Publish a revision."""
        self.shown[incident.incident_id] = incident
        self.published += 1
        self._records.append((now_ms, msgspec.json.encode(incident)))

    def read_back(self, now_ms: int) -> list[LinkedIncident]:
        """The last revision of each incident that is not deleted, as after compaction."""
        last: dict[str, LinkedIncident] = {}
        for published_ms, data in self._records:
            if published_ms >= now_ms - self._retention_ms:
                incident = msgspec.json.decode(data, type=LinkedIncident)
                last[incident.incident_id] = incident
        return list(last.values())


@dataclass(frozen=True)
class Commit:
    """The committed offsets, and the watermark in their metadata."""

    offsets: dict[str, int]
    watermark_ms: int = NEVER


@dataclass
class Environment:
    """One partition of a world, run once; ``faults`` lists what went wrong, in sentences."""

    scenario: Scenario
    admitted: dict[str, list[Admitted]]
    mode: Mode
    rng: random.Random
    worker_type: type[Worker]
    faults: list[str] = field(default_factory=list)
    crashes: int = 0

    def __post_init__(self) -> None:
        rules, stamps = self.scenario.rules, [r.stamp_ms for records in self.admitted.values() for r in records]
        retention_ms = retentions(rules)
        self.topics = {
            topic: Topic(records, retention_ms[topic], rules.stamp_slack_ms, self.rng)
            for topic, records in self.admitted.items()
        }
        self.output = Output(rules.incident_retention_ms + OUTAGE_MS)
        self.commit = Commit(dict.fromkeys(TOPICS, 0))
        self.worker: Worker | None = None
        self.now_ms, self.last_ms = min(stamps, default=0), max(stamps, default=0)
        self.safe = False
        self.read_ends = dict.fromkeys(TOPICS, 0)
        """How far any worker has read each topic."""
        # one input may be much slower than the others
        self.slow = self.rng.choice((*TOPICS, *(None,) * len(TOPICS)))

    def run(self) -> None:
        """Let the time of the world pass, and let everything be read in the end."""
        if self.mode.replay:
            self.replay()
        while self.now_ms < self.last_ms + 5 * MINUTE_MS:
            self.pass_time()
            try:
                self.work()
            except Crash:
                self.worker = None
                self.crashes += 1
        self.now_ms = max(self.now_ms, self.last_ms + self.scenario.rules.stamp_slack_ms)
        self.catch_up()

    def replay(self) -> None:
        """Read all inputs as one; only records with equal stamps come in an arbitrary order."""
        self.now_ms -= 1  # before anything is readable
        self.safe, self.worker = True, self.worker_type(self)
        records = [record for topic in self.topics.values() for record in topic.records]
        self.rng.shuffle(records)
        records.sort(key=lambda record: record.stamp_ms)
        self.now_ms = self.last_ms + 5 * MINUTE_MS
        for record in records:
            for topic in TOPICS:
                self.worker.watermark.seen(topic, record.stamp_ms)
            self.worker.step((record.topic,), 1)

    def pass_time(self) -> None:
        """Advance by minutes if a worker runs, else by up to an hour, within the allowed outage."""
        minutes = self.rng.choice((0, 0, 1, 1, 2, 5, 15) if self.worker else (1, 5, 20, 40, 55))
        if self.now_ms + minutes * MINUTE_MS > self.outage_ends_ms():
            self.catch_up()
        self.now_ms = min(self.now_ms + minutes * MINUTE_MS, self.outage_ends_ms())

    def outage_ends_ms(self) -> int:
        """When the allowed outage is over and a worker must have read everything."""
        if not self.mode.quiet and self.commit.watermark_ms > NEVER:
            return self.commit.watermark_ms + OUTAGE_MS
        # without a watermark nothing is final
        offsets = self.commit.offsets if self.mode.quiet else dict.fromkeys(TOPICS, 0)
        topics = [(topic.records, offsets[name]) for name, topic in self.topics.items()]
        unread = [records[offset].stamp_ms for records, offset in topics if offset < len(records)]
        return min(unread, default=_FOREVER_MS) + OUTAGE_MS

    def work(self) -> None:
        """Start a worker, perhaps, if there is none, and let it take some steps."""
        if self.worker is None:
            if self.rng.random() < 0.5:
                return
            self.worker = self.worker_type(self)
            self.risk()
        for _ in range(self.rng.choice((0, 1, 1, 3))):
            chosen = self.rng.choice((*((topic,) for topic in TOPICS), TOPICS, (READS, HITS), (SHOTS, ACTIONS)))
            topics = [topic for topic in chosen if topic != self.slow or self.rng.random() < 0.05]
            self.worker.step(topics, self.rng.choice((1, 2, 5, 50)))

    def catch_up(self) -> None:
        """Let a worker read, publish and commit everything readable, without failures."""
        self.safe = True
        if self.worker is None:
            self.worker = self.worker_type(self)
        for _ in range(3):  # the first step reads, the second moves the watermark, the third releases
            self.worker.step(TOPICS, EVERYTHING)
        self.safe = False

    # ---------------------------------------------------------------------- what a worker meets

    def risk(self) -> None:
        """A point at which the worker may crash."""
        if not self.safe and self.rng.random() < self.mode.crash:
            raise Crash

    def may_commit(self) -> bool:
        """Whether a commit succeeds."""
        return self.safe or self.rng.random() < 0.6

    def is_revoked(self) -> bool:
        """Whether the partition is revoked and assigned again at once."""
        return not self.safe and self.rng.random() < self.mode.revoke

    def note_read(self, topic: str, end: int) -> None:
        """Note how far a worker has read a topic."""
        self.read_ends[topic] = max(self.read_ends[topic], end)

    def publish(self, incident: LinkedIncident) -> None:
        """Append a revision to the output; what no console should see is a fault."""
        last = self.output.shown.get(incident.incident_id)
        if last is not None and incident.revision <= last.revision:
            self.fault(f"{incident.incident_id} revision {incident.revision} comes after {last.revision}.")
        self._compare_with_records_read(incident, last)
        self.output.append(self.now_ms, incident)

    def _compare_with_records_read(self, incident: LinkedIncident, last: LinkedIncident | None) -> None:
        """Compare a revision with the oracle's verdict on all records read so far.

        A worker that is still behind knows less: it may be wrong about a new incident, but must not
        retract one.
        """
        read = {topic: self.topics[topic].records[:n] for topic, n in self.read_ends.items()}
        world = self.scenario.world
        archive = {
            topic: [world.archive[topic][r.record.offset] for r in records if r.record.offset >= 0]
            for topic, records in read.items()
        }
        name = incident.incident_id
        now = judge(archive, world.site, world.join).incidents.get(name)
        was_open, is_open = last is not None and last.status == "open", now is not None and now["status"] == "open"
        if was_open and is_open and incident.status == "retracted":
            self.fault(f"{name} was retracted without a fact.")
        if self.worker is not None and not self.worker.is_behind():
            verdict = Verdict({} if now is None else {name: now})
            unlike = differences(verdict, {name: msgspec.to_builtins(incident)})
            self.faults += [f"{sentence} (revision {incident.revision}, when it was published)" for sentence in unlike]

    def fault(self, sentence: str) -> None:
        """Note a fault."""
        self.faults.append(sentence)
