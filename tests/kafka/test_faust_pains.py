"""The ten pains of the users of Faust and aiokafka, each as a test of this worker.

Each docstring names the pain and the issues in which users tell of it: ``faust`` is
faust-streaming/faust, ``robinhood`` is robinhood/faust, ``KAFKA`` is Apache Kafka's tracker.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streams.core.plates import plate_key
from streams.core.topics import DEAD_LETTERS, INCIDENTS, INPUTS, JOINED, READS
from streams.kafka import topics
from streams.kafka.partitioner import partition_of
from streams.local_broker.broker import BrokerOptions, LocalBroker
from streams.replay.player import Playable
from streams.settings import Settings
from tests.drivers.replayed import replayed, totals
from tests.drivers.topics import STAMP_HEADER, headers_of, last_incidents, publish, read_topic, topics_of
from tests.drivers.waiting import LOOK_EVERY_S, eventually
from tests.drivers.workers import Worker, await_handled, members_of, worker
from tests.lanes import LANE
from tests.paths import ROOT
from tests.worlds.evening import evening, unusable
from tests.worlds.pairs import EVENING_MS, HOUR_MS, pair, pair_id

SESSION_S = 6.0
"""As in SHORT_SESSION."""
TRANSACTION_S = 10.0
"""After that the broker aborts a worker's transaction."""
PARTITIONS = 4


@pytest.fixture(scope="module")
def kafka(kafka_here: None) -> Iterator[LocalBroker]:
    """A Kafka that these tests may stop; its log cleaner looks for work all the time."""
    with LocalBroker.start(options=BrokerOptions(settings="log.cleaner.backoff.ms=200")) as local:
        yield local


# ---------------------------------------------------------------------- what the tests share


def idle(workers: Sequence[Worker], for_s: float) -> None:
    """Let time pass while the workers run."""
    until_s = time.monotonic() + for_s
    while time.monotonic() < until_s:
        for each in workers:
            each.assert_runs()
        time.sleep(LOOK_EVERY_S)


def name_of(number: int) -> str:
    return f"SIM {number:03d}"


def pairs(first: int, count: int) -> list[Playable]:
    """Pairs an hour apart, with plates in all partitions."""
    numbers = range(first, first + count)
    return [record for n in numbers for record in pair(f"n{n}", EVENING_MS + n * HOUR_MS, name_of(n))]


def ids(count: int) -> set[str]:
    """The incidents of the first pairs."""
    return {pair_id(f"n{n}", name_of(n)) for n in range(count)}


def lag(running: Worker) -> float:
    """The records that a worker has still to join, by its metrics."""
    lines = running.metrics().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("rampwatch_lag_records{"))


def rss_mb(running: Worker) -> float:
    """The memory of a worker's process."""
    return float(psutil.Process(running.process.pid).memory_info().rss / 1e6)


def assert_revisions_count_up(settings: Settings) -> None:
    """No revision is repeated, none goes backwards, none is left out."""
    last: Counter[str] = Counter()
    for row in read_topic(settings, INCIDENTS):
        incident, revision = row.key.decode(), json.loads(row.value)["revision"]
        assert revision == last[incident] + 1, f"{incident}: revision {revision} after {last[incident]}"
        last[incident] = revision


def committed(settings: Settings) -> dict[TopicPartition, int]:
    """The offsets that the group has committed."""
    return asyncio.run(_committed(settings))


async def _committed(settings: Settings) -> dict[TopicPartition, int]:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(settings.prefix + settings.group)
    finally:
        await admin.close()
    return {tp: found.offset for tp, found in offsets.items() if tp.topic.removeprefix(settings.prefix) in JOINED}


async def delete_before(settings: Settings, offsets: dict[TopicPartition, int]) -> None:
    """Delete records as retention does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker)
    await admin.start()
    try:
        await admin.delete_records({tp: RecordsToDelete(before_offset=offset) for tp, offset in offsets.items()})
    finally:
        await admin.close()


class Load(threading.Thread):
    """Publishes records in small steps until there are no more."""

    def __init__(self, settings: Settings, records: Sequence[Playable], steps: int) -> None:
        super().__init__(daemon=True)
        self.settings = settings
        size = -(-len(records) // steps)
        self.chunks = [records[first : first + size] for first in range(0, len(records), size)]
        self.published = 0
        self.may_go_on = threading.Semaphore(0)

    def run(self) -> None:
        for chunk in self.chunks:
            self.may_go_on.acquire()
            publish(self.settings, chunk)
            self.published += 1

    def step(self, workers: Sequence[Worker], steps: int = 1) -> None:
        """Publish some more, and wait until that is done."""
        aim = min(self.published + steps, len(self.chunks))
        self.may_go_on.release(steps)
        eventually(workers, lambda: self.published >= aim, "the load is not published")


# ---------------------------------------------------------------------- the pains


def test_no_consumer_dies_slowly_over_idle_gaps_and_rebalances(kafka: LocalBroker, prefix: str, tmp_path: Path) -> None:
    """Consumers die slowly (faust 175, 523, 532): after hours, gaps and rebalances they stop.

    After each gap and each rebalance the committed position reaches the end of every partition.
    """
    rounds = LANE.idle_gaps
    with (
        topics_of(kafka.address, prefix, partitions=PARTITIONS) as settings,
        worker(settings, tmp_path, name="one") as one,
    ):
        for n in range(rounds):
            with worker(settings, tmp_path, name=f"other {n}") as other:
                eventually([one, other], lambda: members_of(settings) == 2, "the other did not join")
                publish(settings, pairs(2 * n, 1))
                await_handled(settings, one, other)
                idle([one, other], LANE.idle_gap_s)
                other.stop()
            publish(settings, pairs(2 * n + 1, 1))
            await_handled(settings, one)
            idle([one], LANE.idle_gap_s)
        assert last_incidents(settings).keys() == ids(2 * rounds)
        eventually([one], lambda: lag(one) == 0 and one.is_ready(), "the worker is not ready")
        assert one.stop()[0] == 0


FREEZE = """
from aiokafka.consumer.fetcher import Fetcher
create = Fetcher._get_actions_per_node
def without_one(self, assignment):
    requests, *rest = create(self, assignment)
    for _, request in requests:
        topics = request._topics
        request._topics = [(t, [p for p in ps if (t, p[0]) != {frozen!r}]) for t, ps in topics]
    return (requests, *rest)
Fetcher._get_actions_per_node = without_one
"""


def test_a_partition_that_is_never_fetched_shows_as_lag(kafka: LocalBroker, prefix: str, tmp_path: Path) -> None:
    """One partition is never fetched (faust 629, 602), and nobody notices.

    The worker's fetcher asks for every partition but one. Within a minute the lag shows the record
    there, and it stays; all other partitions go on.
    """
    plates = {partition_of(plate_key(name_of(n)), PARTITIONS): n for n in range(40)}
    frozen = (prefix + READS, 2)
    patches = tmp_path / "patches"
    patches.mkdir()
    (patches / "sitecustomize.py").write_text(FREEZE.format(frozen=frozen), "utf-8")
    path = os.pathsep.join([str(patches), str(ROOT)])
    with (
        topics_of(kafka.address, prefix, partitions=PARTITIONS) as settings,
        worker(settings, tmp_path, PYTHONPATH=path) as one,
    ):
        for number in plates.values():
            publish(settings, pairs(number, 1))
        joined = {pair_id(f"n{n}", name_of(n)) for partition, n in plates.items() if partition != frozen[1]}
        eventually([one], lambda: last_incidents(settings).keys() == joined, "the other partitions do not go on")
        eventually([one], lambda: lag(one) == 1, "the lag does not show the record that is not fetched")
        idle([one], 3)
        assert lag(one) == 1
        assert last_incidents(settings).keys() == joined


@pytest.mark.timeout(600)
def test_after_the_broker_restarts_or_hangs_the_workers_go_on(kafka: LocalBroker, prefix: str, tmp_path: Path) -> None:
    """Stuck after the broker restarts (aiokafka 1154, robinhood 596): it neither rejoins nor exits.

    The broker, which is also the coordinator, is restarted, killed, and paused for longer than the
    session. With one broker a coordinator cannot move to another.
    """

    def hang() -> None:
        os.kill(kafka.pid, signal.SIGSTOP)
        try:
            idle([one, two], LANE.broker_hangs_s)
        finally:
            os.kill(kafka.pid, signal.SIGCONT)

    def crash() -> None:
        kafka.kill()
        kafka.restart()

    with (
        topics_of(kafka.address, prefix, partitions=PARTITIONS) as settings,
        worker(settings, tmp_path, name="one") as one,
        worker(settings, tmp_path, name="two") as two,
    ):
        for n, fault in enumerate((kafka.restart, crash, hang)):
            publish(settings, pairs(2 * n, 1))
            fault()
            publish(settings, pairs(2 * n + 1, 1))
            eventually([one, two], lambda: members_of(settings) == 2, "the workers do not rejoin")
            await_handled(settings, one, two)
        assert last_incidents(settings).keys() == ids(6)
        assert [each.stop()[0] for each in (one, two)] == [0, 0]


def test_a_rebuild_that_is_killed_again_and_again_ends_in_the_end(
    kafka: LocalBroker, prefix: str, tmp_path: Path
) -> None:
    """Recovery hangs (faust 21, 74, robinhood 218): it waits for offsets that never come."""
    records = evening(EVENING_MS)
    with topics_of(kafka.address, prefix, partitions=PARTITIONS) as settings:
        publish(settings, records)
        with worker(settings, tmp_path, name="first") as first:
            await_handled(settings, first)
            first.kill()
        for n in range(LANE.rebuild_kills):
            with worker(settings, tmp_path, name=f"killed {n}", up=False) as killed:
                eventually([killed], lambda: members_of(settings) == 1, "it did not join")
                idle([killed], 0.1 * n)
                killed.kill()
        publish(settings, pairs(0, 2))
        with worker(settings, tmp_path, name="last") as last:
            await_handled(settings, last)
            assert last_incidents(settings).keys() >= ids(2)
            expected = replayed(settings, tmp_path)
            assert expected.differences == []
            assert_revisions_count_up(settings)
            assert last.stop()[0] == 0


def test_from_one_worker_to_four_and_back_under_load_nothing_is_repeated(
    kafka: LocalBroker, prefix: str, tmp_path: Path
) -> None:
    """Duplicates after a rebalance or a crash (faust 502, 323)."""
    with (
        topics_of(kafka.address, prefix, partitions=PARTITIONS) as settings,
        worker(settings, tmp_path, name="one") as one,
    ):
        load = Load(settings, evening(EVENING_MS), steps=12)
        load.start()
        with ExitStack() as stack:
            others: list[Worker] = []
            for name in ("two", "three", "four"):
                load.step([one, *others])
                others.append(stack.enter_context(worker(settings, tmp_path, name=name)))
            load.step([one, *others], 2)
            eventually([one, *others], lambda: members_of(settings) == 4, "not all joined")
            load.step([one, *others], 2)
            others[0].kill()
            load.step([one], 2)
            assert [other.stop()[0] for other in others[1:]] == [0, 0]
        load.step([one], len(load.chunks))
        await_handled(settings, one)
        expected = replayed(settings, tmp_path)
        assert expected.differences == []
        assert expected.incidents > 10
        assert_revisions_count_up(settings)


def test_no_event_is_skipped_and_each_partition_stays_in_order_even_if_retention_overtakes_it(
    kafka: LocalBroker, prefix: str, tmp_path: Path
) -> None:
    """Events skipped or out of order (faust 216, 221, robinhood 115).

    Numbered records become dead letters, whose order in each partition shows. While no worker runs,
    retention deletes the records at the committed offsets, some not yet read: the worker goes on at
    the first that exists, and rereads nothing.
    """
    with topics_of(kafka.address, prefix, partitions=PARTITIONS) as settings:
        with worker(settings, tmp_path, name="first") as first:
            publish(settings, numbered(range(2_000)))
            await_handled(settings, first)
            assert first.stop()[0] == 0
        # the very numbers of each partition follow each other
        assert numbers_in_order(settings) == set(range(2_000))
        before = committed(settings)
        publish(settings, numbered(range(2_000, 2_400)))
        deleted = {tp: offset + 5 for tp, offset in before.items() if tp.topic == prefix + READS}
        asyncio.run(delete_before(settings, deleted))
        with worker(settings, tmp_path, name="second") as second:
            publish(settings, pairs(0, 1))
            await_handled(settings, second)
            assert totals(second.outcomes())[READS] == 400 - 5 * PARTITIONS + 1
            assert last_incidents(settings).keys() == ids(1)
            eventually([second], lambda: lag(second) == 0 and second.is_ready(), "the worker is not ready")
            assert second.stop()[0] == 0
        assert len(numbers_in_order(settings)) == 2_400 - 5 * PARTITIONS


def test_no_event_is_skipped_when_quiet_topics_are_rebalanced(kafka: LocalBroker, prefix: str, tmp_path: Path) -> None:
    """Events skipped (faust 216, 221): records that come while a worker waits for the group.

    Records come one by one, so that a fetch often waits when a rebalance begins and ends in the
    next generation, for partitions that the worker keeps.
    """
    stop, sent = threading.Event(), list[int]()

    def trickle() -> None:
        while not stop.wait(0.02):
            publish(settings, numbered(range(len(sent), len(sent) + 4)))
            sent.extend(range(len(sent), len(sent) + 4))

    with (
        topics_of(kafka.address, prefix, partitions=PARTITIONS) as settings,
        worker(settings, tmp_path, name="one") as one,
    ):
        trickling = threading.Thread(target=trickle, daemon=True)
        trickling.start()
        for n in range(LANE.quiet_rebalances):
            with worker(settings, tmp_path, name=f"other {n}") as other:
                eventually([one, other], lambda: members_of(settings) == 2, "the other did not join")
                other.stop()
            eventually([one], lambda: members_of(settings) == 1, "the other did not leave")
        stop.set()
        trickling.join()
        await_handled(settings, one)
        numbers = {int(row.value.split()[1]) for row in read_topic(settings, DEAD_LETTERS)}
        assert sorted(set(sent) - numbers) == []


def numbered(numbers: range) -> list[Playable]:
    """Reads that are no JSON, with their numbers, in all partitions."""
    return [Playable(READS, EVENING_MS + n, f"k{n}", b"number %d" % n) for n in numbers]


def numbers_in_order(settings: Settings) -> set[int]:
    """The numbers among the dead letters; those of a partition are in order and not repeated."""
    by_partition: dict[str, list[int]] = {}
    for row in sorted(read_topic(settings, DEAD_LETTERS), key=lambda row: int(row.offset)):
        by_partition.setdefault(headers_of(row)["rampwatch-partition"], []).append(int(row.value.split()[1]))
    for numbers in by_partition.values():
        assert all(one < other for one, other in pairwise(numbers))
    return {number for numbers in by_partition.values() for number in numbers}


def test_offsets_are_committed_over_aborted_transactions_and_compacted_records(
    kafka: LocalBroker, prefix: str, tmp_path: Path
) -> None:
    """Offsets not committed, or wrong over gaps (faust 606, 312, 318): the lag never reaches 0."""
    with topics_of(kafka.address, prefix, partitions=PARTITIONS) as settings:
        reads = settings.prefix + READS
        publish(settings, pairs(0, 2))
        asyncio.run(alter(settings, reads, {**COMPACTED}))
        same_keys = [Playable(READS, EVENING_MS, f"k{n % 8}", b"number %d" % n) for n in range(400)]
        for first in range(0, 400, 50):
            publish(settings, same_keys[first : first + 50])
            asyncio.run(publish_and_abort(settings))
        publish(settings, pairs(2, 2))
        eventually([], lambda: len(read_topic(settings, READS)) < 200, "the topic is not compacted")
        asyncio.run(alter(settings, reads, plan_of(settings, reads)))
        with worker(settings, tmp_path) as one:
            eventually([one], lambda: last_incidents(settings).keys() == ids(4), "the pairs are not joined")
            eventually([one], lambda: lag(one) == 0 and one.is_ready(), "the lag does not reach 0")
            asyncio.run(publish_and_abort(settings))
            publish(settings, pairs(4, 2))
            asyncio.run(publish_and_abort(settings))
            eventually([one], lambda: last_incidents(settings).keys() == ids(6), "the pairs are not joined")
            eventually([one], lambda: lag(one) == 0 and one.is_ready(), "the lag does not reach 0")
            assert one.stop()[0] == 0
        with worker(settings, tmp_path, name="next") as following:
            eventually([following], lambda: lag(following) == 0 and following.is_ready(), "the lag does not reach 0")
            assert totals(following.outcomes())[READS] == 0
            assert last_incidents(settings).keys() == ids(6)


COMPACTED = {
    "cleanup.policy": "compact",
    "segment.ms": "100",
    "min.cleanable.dirty.ratio": "0.01",
    "max.compaction.lag.ms": "100",
    "message.timestamp.type": "LogAppendTime",
}


def plan_of(settings: Settings, name: str) -> dict[str, str]:
    """The configuration that a worker wants a topic to have."""
    return dict(next(planned.config for planned in topics.plan(settings) if planned.name == name))


async def alter(settings: Settings, name: str, config: dict[str, str]) -> None:
    """Give a topic exactly this configuration."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker)
    await admin.start()
    try:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, config)])
    finally:
        await admin.close()


async def publish_and_abort(settings: Settings) -> None:
    """Put records of an aborted transaction, and its marker, at the end of all inputs."""
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.broker, transactional_id=f"{settings.prefix}feed{random.random()}"
    )
    async with producer:
        await producer.begin_transaction()
        for topic in INPUTS:
            for partition in range(PARTITIONS if topic in JOINED else 1):
                stamp = [(STAMP_HEADER, b"%d" % EVENING_MS)]
                await producer.send_and_wait(settings.prefix + topic, b"aborted", b"k", partition, headers=stamp)
        await producer.abort_transaction()


def test_partitions_revoked_during_a_commit_are_neither_committed_nor_sought(
    kafka: LocalBroker, prefix: str, tmp_path: Path
) -> None:
    """Commit or seek on revoked partitions (faust 94, 54, 616): the consumer dies or goes back.

    A worker is paused in the middle of its work until another has its partitions, and wakes up with
    its commit. Committed offsets never decrease, nothing is published twice, no worker exits.
    """
    with (
        topics_of(kafka.address, prefix, partitions=PARTITIONS) as settings,
        worker(settings, tmp_path, name="one") as one,
    ):
        publish(settings, pairs(0, 150))
        eventually([one], lambda: len(last_incidents(settings)) > 0, "no incident was published")
        os.kill(one.process.pid, signal.SIGSTOP)
        with worker(settings, tmp_path, name="two") as two:
            publish(settings, pairs(150, 50))
            await_handled(settings, two)
            before = committed(settings)
            os.kill(one.process.pid, signal.SIGCONT)
            eventually([one, two], lambda: members_of(settings) == 2, "the paused worker does not rejoin")
            publish(settings, pairs(200, 2))
            await_handled(settings, one, two)
            after = committed(settings)
            assert [tp for tp, offset in before.items() if after[tp] < offset] == []
            assert last_incidents(settings).keys() == ids(202)
            assert_revisions_count_up(settings)
            assert [each.stop()[0] for each in (one, two)] == [0, 0]


def test_a_worker_paused_longer_than_its_transaction_goes_on(kafka: LocalBroker, prefix: str, tmp_path: Path) -> None:
    """Transactions (faust 177, 136, KAFKA-20785): after a time-out the producer is of no more use.

    The worker is alone, so it must itself open the writers that the broker has fenced.
    """
    with (
        topics_of(kafka.address, prefix, partitions=PARTITIONS) as settings,
        worker(settings, tmp_path) as one,
    ):
        publish(settings, pairs(0, 150))
        eventually([one], lambda: len(last_incidents(settings)) > 0, "no incident was published")
        os.kill(one.process.pid, signal.SIGSTOP)
        idle([one], TRANSACTION_S + 3)
        os.kill(one.process.pid, signal.SIGCONT)
        publish(settings, pairs(150, 2))
        await_handled(settings, one)
        assert last_incidents(settings).keys() == ids(152)
        assert_revisions_count_up(settings)
        assert one.stop()[0] == 0


def test_garbage_becomes_dead_letters_and_an_idle_worker_does_not_grow(
    kafka: LocalBroker, prefix: str, tmp_path: Path
) -> None:
    """Memory grows; one bad record stops all (faust 247, 268, robinhood 169)."""
    with (
        topics_of(kafka.address, prefix, partitions=PARTITIONS) as settings,
        worker(settings, tmp_path) as one,
    ):
        sent = Counter[str]()
        for n in range(5):
            sent += publish(settings, [*unusable(EVENING_MS), *numbered(range(500))] * 2 + pairs(n, 1))
            await_handled(settings, one)
        assert last_incidents(settings).keys() == ids(5)
        assert totals(one.outcomes()) == sent
        assert len(read_topic(settings, DEAD_LETTERS)) == sent.total() - 15
        first_mb = rss_mb(one)
        idle([one], LANE.idle_s)
        assert rss_mb(one) < first_mb + 5
        publish(settings, pairs(5, 1))
        await_handled(settings, one)
        assert last_incidents(settings).keys() == ids(6)
        assert one.stop()[0] == 0
