"""Workers come and go in order while records flow: none is lost, and few are read twice."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

from streams.core.events import DEAD_LETTERS, HITS, READS, SHOTS
from streams.local_broker.broker import LocalBroker
from streams.replay.player import Playable
from tests.kafka.conftest import GivenBroker
from tests.kafka.driving import await_handled, eventually, members_of, publish, read_topic, topics_of, worker

AT_MS = 1_780_000_000_000
CHUNKS_MIN = 5
CHUNK_S = 0.1
"""Two thousand reads and as many hits a second: what one worker keeps up with, so that the end is not a backlog."""


class Flow(threading.Thread):
    """Publishes records that cannot be used until it is told to stop: every one of them leaves a dead letter."""

    def __init__(self, settings) -> None:
        super().__init__(daemon=True)
        self.settings = settings
        self.enough = threading.Event()
        self.sent: Counter[str] = Counter()
        self.chunks = 0

    def run(self) -> None:
        while not self.enough.wait(CHUNK_S):
            first = 200 * self.chunks
            numbers = range(first, first + 200)
            rows = [(topic, n) for n in numbers for topic in ((READS, HITS, SHOTS) if n % 20 == 0 else (READS, HITS))]
            self.sent += publish(self.settings, (Playable(t, AT_MS + n, f"k{n}", b"no JSON %d" % n) for t, n in rows))
            self.chunks += 1

    def flows(self) -> bool:
        """Whether more has been published since the last look."""
        before, self.looked_at = getattr(self, "looked_at", -CHUNKS_MIN), self.chunks
        if self.chunks - before < CHUNKS_MIN:
            self.looked_at = before
            return False
        return True


def test_no_record_is_lost_and_few_are_read_twice_while_workers_come_and_go(
    broker: LocalBroker | GivenBroker, prefix: str, tmp_path: Path
) -> None:
    with topics_of(broker.address, prefix) as settings, worker(settings, tmp_path, name="one") as one:
        flow = Flow(settings)
        flow.start()
        eventually([one], flow.flows, "nothing was published")
        for name in ("two", "three"):
            with worker(settings, tmp_path, name=name) as other:
                eventually([one, other], lambda: members_of(settings) == 2, f"worker {name} did not join")
                eventually([one, other], flow.flows, "nothing was published with two workers")
                assert other.stop()[0] == 0
            eventually([one], lambda: members_of(settings) == 1, f"worker {name} did not leave")
            eventually([one], flow.flows, "nothing was published with one worker")
        flow.enough.set()
        flow.join()
        await_handled(settings, one)
        letters = Counter(row.key for row in read_topic(settings, DEAD_LETTERS))
    assert len(letters) == flow.sent.total()
    # what was handled while the group was already asking its members back in cannot be committed any more; the key of
    # a dead letter is its record's place, so that a repeat shows
    assert letters.total() - len(letters) < flow.sent.total() / 50
