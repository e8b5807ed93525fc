"""A worker of the simulation: the recovery of JOIN.md on one partition, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from streams.core.engine import Engine
from streams.core.intake import Admitted
from streams.core.rules import JoinRules
from streams.core.topics import BROADCAST
from streams.core.windows import Watermark
from tests.drivers.engine import apply
from tests.oracle.records import ACTIONS, HITS, READS, SHOTS, TOPICS
from tests.simulation.environment import Commit, Environment


def horizons(rules: JoinRules) -> dict[str, int]:
    """How far before the watermark each topic is read again (JOIN.md, Recovery, 2)."""
    return {
        READS: rules.read_retention_ms,
        HITS: rules.hit_ttl_ms + rules.incident_retention_ms + rules.read_retention_ms,
        SHOTS: rules.shot_memory_ms,
        ACTIONS: rules.incident_retention_ms,
    }


class Worker:
    """A worker that is assigned the partition: it recovers on creation, then works in steps."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        scenario, commit = environment.scenario, environment.commit
        self._rules = scenario.rules
        self.noted_ends = {topic: environment.topics[topic].end(environment.now_ms) for topic in TOPICS}
        self.finalized_through_ms = self.committed_watermark(commit)
        self.engine = Engine(scenario.site, scenario.rules, finalized_through_ms=self.finalized_through_ms)
        self.watermark = Watermark(frozenset(TOPICS), scenario.rules.stamp_slack_ms)
        self.offsets = dict(commit.offsets) | {topic: self.noted_ends[topic] for topic in BROADCAST}
        for incident in environment.output.read_back(environment.now_ms):
            self.engine.restore(incident)
        for topic in TOPICS:
            self._rebuild(topic, horizons(scenario.rules)[topic])

    def committed_watermark(self, commit: Commit) -> int:
        """The watermark through which results are final."""
        return commit.watermark_ms

    def _rebuild(self, topic: str, horizon_ms: int) -> None:
        """Apply the records before this worker's offset again, and publish nothing."""
        log, now_ms = self.environment.topics[topic], self.environment.now_ms
        since_ms = self.finalized_through_ms - horizon_ms - self._rules.max_future_skew_ms
        start = log.start(now_ms)
        if log.offset_at(since_ms) < start and not self.environment.mode.quiet:
            self.environment.fault(f"{topic}: needed records are deleted: the environment let an outage grow too long.")
        # records read again after a revocation may be deleted before they are committed again
        self.offsets[topic] = max(self.offsets[topic], start)
        for record in log.records[max(log.offset_at(since_ms), start) : self.offsets[topic]]:
            self._apply(record)
        self.environment.note_read(topic, self.offsets[topic])

    def _apply(self, record: Admitted) -> None:
        apply(self.engine, record)
        self.watermark.seen(record.topic, record.stamp_ms)

    def is_behind(self) -> bool:
        """Whether some input is not yet read to the end it had when this worker was created."""
        return any(self.offsets[topic] < end for topic, end in self.noted_ends.items())

    def step(self, topics: Sequence[str], most: int) -> None:
        """Read some records, publish the changes, release memory, commit: in this order."""
        self.read(topics, most)
        self.environment.risk()
        for incident in self.engine.changes(only_new=self.is_behind()):
            self.environment.publish(incident)
            self.environment.risk()
        self.environment.risk()
        if self.is_behind():
            # commit where to resume but no new watermark: the next owner applies everything after
            # it again
            self.environment.commit = Commit(dict(self.offsets), self.finalized_through_ms)
            return
        self.engine.release(self.passed_ms())
        if self.environment.may_commit():
            watermark_ms = max(self.finalized_through_ms, self.passed_ms())
            self.environment.commit = Commit(dict(self.offsets), watermark_ms)
        self.environment.risk()
        if self.environment.is_revoked():
            self.offsets |= {topic: self.environment.commit.offsets[topic] for topic in (READS, HITS)}

    def passed_ms(self) -> int:
        """The watermark: every time before it has passed."""
        return self.watermark.value_ms

    def read(self, topics: Sequence[str], most: int) -> None:
        """Read up to ``most`` records of each topic; a topic's end advances its watermark."""
        queried_at_ms = self.watermark.greatest_ms
        for topic in topics:
            log = self.environment.topics[topic]
            end = log.end(self.environment.now_ms)
            for record in log.records[self.offsets[topic] : min(end, self.offsets[topic] + most)]:
                self._apply(record)
                self.offsets[topic] += 1
            self.environment.note_read(topic, self.offsets[topic])
            if self.offsets[topic] >= end:
                self.watermark.read_to_end(topic, queried_at_ms)
