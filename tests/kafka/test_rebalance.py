"""Workers join and leave while records flow: no record is lost, and few are read twice."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

from streams.core.topics import DEAD_LETTERS, HITS, READS, SHOTS
from streams.replay.player import Playable
from streams.settings import Settings
from tests.drivers.brokers import Broker
from tests.drivers.topics import publish, read_topic, topics_of
from tests.drivers.waiting import eventually
from tests.drivers.workers import await_handled, members_of, worker

AT_MS = 1_780_000_000_000
CHUNKS_MIN = 5
CHUNK_S = 0.1
"""Two thousand reads and as many hits a second: one worker keeps up with that."""


class Flow(threading.Thread):
    """Publishes unusable records until it is stopped: each of them becomes one dead letter."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(daemon=True)
        self.settings = settings
        self.stopped = threading.Event()
        self.sent: Counter[str] = Counter()
        self.chunks = 0
        self._counted = -CHUNKS_MIN

    def run(self) -> None:
        while not self.stopped.wait(CHUNK_S):
            first = 200 * self.chunks
            numbers = range(first, first + 200)
            rows = [(topic, n) for n in numbers for topic in ((READS, HITS, SHOTS) if n % 20 == 0 else (READS, HITS))]
            self.sent += publish(self.settings, (Playable(t, AT_MS + n, f"k{n}", b"no JSON %d" % n) for t, n in rows))
            self.chunks += 1

    def has_published_more(self) -> bool:
        """Whether enough has been published since the last time this was true."""
        if self.chunks - self._counted < CHUNKS_MIN:
            return False
        self._counted = self.chunks
        return True


def test_no_record_is_lost_and_few_are_read_twice_while_workers_join_and_leave(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    with topics_of(broker.address, prefix) as settings, worker(settings, tmp_path, name="one") as one:
        flow = Flow(settings)
        flow.start()
        eventually([one], flow.has_published_more, "nothing was published")
        for name in ("two", "three"):
            with worker(settings, tmp_path, name=name) as other:
                eventually([one, other], lambda: members_of(settings) == 2, f"worker {name} did not join")
                eventually([one, other], flow.has_published_more, "nothing was published with two workers")
                assert other.stop()[0] == 0
            eventually([one], lambda: members_of(settings) == 1, f"worker {name} did not leave")
            eventually([one], flow.has_published_more, "nothing was published with one worker")
        flow.stopped.set()
        flow.join()
        await_handled(settings, one)
        letters = Counter(row.key for row in read_topic(settings, DEAD_LETTERS))
    assert len(letters) == flow.sent.total()
    # Records handled after a rebalance has begun cannot be committed, and are read again. The key
    # of a dead letter is its record's offset, so a repeat is visible.
    assert letters.total() - len(letters) < flow.sent.total() / 50
