"""The world around one partition: topics that lag and delete, an output, commits, crashes, restarts, outages.

What the topics allow is what JOIN.md says they do: a record can be read at the latest ``stamp_slack`` after its stamp;
each topic is kept for as long as "Topics must keep that long" asks for an outage of `OUTAGE_MS`, and not a millisecond
longer; the output is compacted and deleted likewise. Within that anything may happen. What a worker does of its own
accord is in `Worker`: it is the recovery of JOIN.md and nothing else.
"""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from streams.core.engine import Engine
from streams.core.events import BROADCAST, LinkedIncident
from streams.core.intake import Admitted
from streams.core.rules import JoinRules
from streams.core.windows import NEVER, Watermark
from tests.property.driving import Played, take_in
from tests.simulation.ground import MINUTE_MS
from tests.simulation.oracle import Verdict, differences, judge
from tests.simulation.records import ACTIONS, HITS, READS, SHOTS, TOPICS

OUTAGE_MS = 60 * MINUTE_MS
"""How long before now the committed watermark may lie at most, whatever happens."""
_FOR_EVER_MS = -NEVER


@dataclass(frozen=True)
class Mode:
    """How often what happens, at each point where it can."""

    crash: float = 0.0
    keep: float = 0.0
    """The partition is taken away and comes back at once: the worker keeps its state and reads again."""
    quiet: bool = False
    """No steady stream of reads: the watermark stands still while the topics go on deleting.

    That is more than the retentions allow for, so here a world may go wrong even with all rules."""
    replay: bool = False
    """All inputs are read as one, in the order of their stamps, and the watermark follows each record."""


MODES = {
    "plain": Mode(),
    "crash": Mode(crash=0.06, keep=0.05),
    "rare": Mode(crash=0.01, keep=0.02),
    "kept": Mode(keep=0.2),
    "replay": Mode(replay=True),
    "quiet": Mode(crash=0.06, keep=0.05, quiet=True),
}


class Crash(Exception):
    """The worker is gone, with all it knew."""


class Topic:
    """One partition of a topic: records by stamp, each readable a little later, deleted at an age."""

    def __init__(self, records: Sequence[Admitted], keep_ms: int, slack_ms: int, rng: random.Random) -> None:
        self.records = records
        self._stamps = [record.stamp_ms for record in records]
        self._keep_ms = keep_ms
        self._readable_from: list[int] = []
        latest_ms = NEVER
        for stamp_ms in self._stamps:
            latest_ms = max(latest_ms, stamp_ms + rng.choice((0, 0, 0, min(1000, slack_ms), slack_ms)))
            self._readable_from.append(latest_ms)

    def end(self, now_ms: int) -> int:
        """The offset after the last record that can be read now."""
        return bisect_right(self._readable_from, now_ms)

    def start(self, now_ms: int) -> int:
        """The offset of the first record that is not deleted."""
        return bisect_left(self._stamps, now_ms - self._keep_ms)

    def at(self, time_ms: int) -> int:
        """The offset of the first record stamped at or after a time."""
        return bisect_left(self._stamps, time_ms)


def retentions(rules: JoinRules) -> dict[str, int]:
    """How long each topic must be kept (JOIN.md), for an outage of `OUTAGE_MS` counted from the watermark."""
    more_ms = rules.max_future_skew_ms + OUTAGE_MS
    hits_ms = rules.hit_ttl_ms + rules.incident_retention_ms + rules.read_retention_ms
    return {
        READS: rules.read_retention_ms + more_ms,
        HITS: hits_ms + rules.max_future_skew_ms + more_ms,
        SHOTS: _FOR_EVER_MS,  # shot_memory is longer than any world
        ACTIONS: rules.incident_retention_ms + more_ms,
    }


def horizons(rules: JoinRules) -> dict[str, int]:
    """How far before the watermark each topic is read again (JOIN.md, Recovery, 2)."""
    return {
        READS: rules.read_retention_ms,
        HITS: rules.hit_ttl_ms + rules.incident_retention_ms + rules.read_retention_ms,
        SHOTS: rules.shot_memory_ms,
        ACTIONS: rules.incident_retention_ms,
    }


class Output:
    """The topic of linked incidents, and what a console shows that has listened all along."""

    def __init__(self, keep_ms: int) -> None:
        self.shown: dict[str, LinkedIncident] = {}
        self.published = 0
        self._keep_ms = keep_ms
        self._records: list[tuple[int, bytes]] = []

    def append(self, now_ms: int, incident: LinkedIncident) -> None:
        self.shown[incident.incident_id] = incident
        self.published += 1
        self._records.append((now_ms, msgspec.json.encode(incident)))

    def read_back(self, now_ms: int) -> list[LinkedIncident]:
        """The last revision of each incident, of those that are not deleted; compaction may have left others."""
        last: dict[str, LinkedIncident] = {}
        for published_ms, data in self._records:
            if published_ms >= now_ms - self._keep_ms:
                incident = msgspec.json.decode(data, type=LinkedIncident)
                last[incident.incident_id] = incident
        return list(last.values())


@dataclass(frozen=True)
class Commit:
    """The offsets to go on from, and in their metadata the watermark."""

    offsets: dict[str, int]
    watermark_ms: int = NEVER


class Worker:
    """A worker as it takes over the partition: it recovers when it is made, then goes on step by step."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.play = shell.play
        self.noted_ends = {topic: shell.topics[topic].end(shell.now_ms) for topic in TOPICS}
        self.finalized_through_ms = self.committed_watermark(shell.commit)
        self.engine = Engine(self.play.site, self.play.rules, finalized_through_ms=self.finalized_through_ms)
        self.watermark = Watermark(frozenset(TOPICS), self.play.rules.stamp_slack_ms)
        self.at = dict(shell.commit.offsets) | {topic: self.noted_ends[topic] for topic in BROADCAST}
        for incident in shell.output.read_back(shell.now_ms):
            self.engine.restore(incident)
        for topic in TOPICS:
            self._feed(topic, horizons(self.play.rules)[topic])

    def committed_watermark(self, commit: Commit) -> int:
        return commit.watermark_ms

    def _feed(self, topic: str, horizon_ms: int) -> None:
        """Read what was read before, up to where this worker goes on, and publish nothing."""
        log = self.shell.topics[topic]
        since_ms = self.finalized_through_ms - horizon_ms - self.play.rules.max_future_skew_ms
        kept_from = log.start(self.shell.now_ms)
        if log.at(since_ms) < kept_from and not self.shell.mode.quiet:
            self.shell.fault(f"{topic}: records that matter are deleted: the shell has let an outage grow too long.")
        # what was read again after the partition came back may be deleted before it is committed again
        self.at[topic] = max(self.at[topic], kept_from)
        for record in log.records[max(log.at(since_ms), kept_from) : self.at[topic]]:
            self._take_in(record)
        self.shell.note_read(topic, self.at[topic])

    def _take_in(self, record: Admitted) -> None:
        take_in(self.engine, record)
        self.watermark.seen(record.topic, record.stamp_ms)

    def is_behind(self) -> bool:
        """Whether some input is not yet read up to the end it had when this worker began."""
        return any(self.at[topic] < end for topic, end in self.noted_ends.items())

    def step(self, topics: Sequence[str], most: int) -> None:
        """Read some, say what is new, let go, commit: in this order."""
        self.read(topics, most)
        self.shell.risk()
        for incident in self.engine.changes(only_new=self.is_behind()):
            self.shell.publish(incident)
            self.shell.risk()
        self.shell.risk()
        if self.is_behind():
            # where to go on, not how far all is judged: from there all is fed again, by whoever takes over next
            self.shell.commit = Commit(dict(self.at), self.finalized_through_ms)
            return
        self.engine.release(self.passed_ms())
        if self.shell.may_commit():
            self.shell.commit = Commit(dict(self.at), max(self.finalized_through_ms, self.passed_ms()))
        self.shell.risk()
        if self.shell.is_taken_and_given_back():
            self.at |= {topic: self.shell.commit.offsets[topic] for topic in (READS, HITS)}

    def passed_ms(self) -> int:
        """The watermark: every time before it has passed."""
        return self.watermark.value_ms

    def read(self, topics: Sequence[str], most: int) -> None:
        """Read up to so many records of each topic; whoever gets to its end counts as far as anything was read."""
        asked_at_ms = self.watermark.greatest_ms
        for topic in topics:
            log = self.shell.topics[topic]
            end = log.end(self.shell.now_ms)
            for record in log.records[self.at[topic] : min(end, self.at[topic] + most)]:
                self._take_in(record)
                self.at[topic] += 1
            self.shell.note_read(topic, self.at[topic])
            if self.at[topic] >= end:
                self.watermark.read_to_end(topic, asked_at_ms)


@dataclass
class Shell:
    """One partition of a world, run once; `faults` says what went wrong, in sentences."""

    play: Played
    admitted: dict[str, list[Admitted]]
    mode: Mode
    rng: random.Random
    worker_type: type[Worker] = Worker
    faults: list[str] = field(default_factory=list)
    crashes: int = 0

    def __post_init__(self) -> None:
        rules, stamps = self.play.rules, [r.stamp_ms for records in self.admitted.values() for r in records]
        keep_ms = retentions(rules)
        self.topics = {
            topic: Topic(records, keep_ms[topic], rules.stamp_slack_ms, self.rng)
            for topic, records in self.admitted.items()
        }
        self.output = Output(rules.incident_retention_ms + OUTAGE_MS)
        self.commit = Commit(dict.fromkeys(TOPICS, 0))
        self.worker: Worker | None = None
        self.now_ms, self.last_ms = min(stamps, default=0), max(stamps, default=0)
        self.safe = False
        self.read_up_to = dict.fromkeys(TOPICS, 0)
        # one input may be much slower than the others
        self.slow = self.rng.choice((*TOPICS, *(None,) * len(TOPICS)))

    def run(self) -> None:
        """Let the time of the world pass, and in the end everything be read."""
        if self.mode.replay:
            self.replay()
        while self.now_ms < self.last_ms + 5 * MINUTE_MS:
            self.pass_time()
            try:
                self.work()
            except Crash:
                self.worker = None
                self.crashes += 1
        self.now_ms = max(self.now_ms, self.last_ms + self.play.rules.stamp_slack_ms)
        self.catch_up()

    def replay(self) -> None:
        """Nothing but records that have one stamp comes in any order."""
        self.now_ms -= 1  # before anything could be read
        self.safe, self.worker = True, self.worker_type(self)
        records = [record for log in self.topics.values() for record in log.records]
        self.rng.shuffle(records)
        records.sort(key=lambda record: record.stamp_ms)
        self.now_ms = self.last_ms + 5 * MINUTE_MS
        for record in records:
            for topic in TOPICS:
                self.worker.watermark.seen(topic, record.stamp_ms)
            self.worker.step((record.topic,), 1)

    def pass_time(self) -> None:
        """Go on by minutes while a worker runs, or by most of an hour, but never beyond the outage allowed for."""
        minutes = self.rng.choice((0, 0, 1, 1, 2, 5, 15) if self.worker else (1, 5, 20, 40, 55))
        if self.now_ms + minutes * MINUTE_MS > self.must_read_by_ms():
            self.catch_up()
        self.now_ms = min(self.now_ms + minutes * MINUTE_MS, self.must_read_by_ms())

    def must_read_by_ms(self) -> int:
        """When the outage allowed for is over."""
        if not self.mode.quiet and self.commit.watermark_ms > NEVER:
            return self.commit.watermark_ms + OUTAGE_MS
        offsets = self.commit.offsets if self.mode.quiet else dict.fromkeys(TOPICS, 0)  # no watermark, nothing judged
        logs = [(log.records, offsets[topic]) for topic, log in self.topics.items()]
        unread = [records[at].stamp_ms for records, at in logs if at < len(records)]
        return min(unread, default=_FOR_EVER_MS) + OUTAGE_MS

    def work(self) -> None:
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
        """Nothing happens until all that can be read now is read, published and committed."""
        self.safe = True
        if self.worker is None:
            self.worker = self.worker_type(self)
        for _ in range(3):  # the first reads, the second knows how far, the third lets go
            self.worker.step(TOPICS, 10**9)
        self.safe = False

    # --- what a worker meets ---

    def risk(self) -> None:
        """A point at which a worker may be gone."""
        if not self.safe and self.rng.random() < self.mode.crash:
            raise Crash

    def may_commit(self) -> bool:
        return self.safe or self.rng.random() < 0.6

    def is_taken_and_given_back(self) -> bool:
        return not self.safe and self.rng.random() < self.mode.keep

    def note_read(self, topic: str, up_to: int) -> None:
        self.read_up_to[topic] = max(self.read_up_to[topic], up_to)

    def publish(self, incident: LinkedIncident) -> None:
        """Append to the output, and complain of what no console should hear."""
        said = self.output.shown.get(incident.incident_id)
        if said is not None and incident.revision <= said.revision:
            self.fault(f"{incident.incident_id} revision {incident.revision} comes after {said.revision}.")
        self._compare_with_what_was_read(incident, said)
        self.output.append(self.now_ms, incident)

    def _compare_with_what_was_read(self, incident: LinkedIncident, said: LinkedIncident | None) -> None:
        """What is said is what the oracle says of all that anyone has read until now.

        A worker that is still behind knows less: then it may be wrong about a new incident, but retract nothing.
        """
        read = {topic: self.topics[topic].records[:n] for topic, n in self.read_up_to.items()}
        lines = self.play.made.archive
        archive = {topic: [lines[topic][r.offset] for r in records if r.offset >= 0] for topic, records in read.items()}
        name = incident.incident_id
        now = judge(archive, self.play.made.site, self.play.made.join).incidents.get(name)
        was_open, is_open = said is not None and said.status == "open", now is not None and now["status"] == "open"
        if was_open and is_open and incident.status == "retracted":
            self.fault(f"{name} was retracted without a fact.")
        if self.worker is not None and not self.worker.is_behind():
            verdict = Verdict({} if now is None else {name: now})
            told = differences(verdict, {name: msgspec.to_builtins(incident)})
            self.faults += [f"{sentence} (revision {incident.revision}, as it was said)" for sentence in told]

    def fault(self, sentence: str) -> None:
        self.faults.append(sentence)
