"""Idle workers stay alive and ready; neither a flood nor a broker that is away stops a worker.

A signal stops it in time, whatever its event loop does.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from streams.core.topics import JOINED, READS
from streams.kafka import topics
from streams.local_broker.broker import LocalBroker
from streams.replay.player import Playable
from streams.settings import Settings
from tests.drivers.brokers import Broker
from tests.drivers.faulty_worker import BLOCKED
from tests.drivers.ports import free_port
from tests.drivers.topics import STAMP_HEADER, last_incidents, publish, topics_of
from tests.drivers.waiting import WAIT_S_MAX, eventually
from tests.drivers.workers import Worker, await_handled, members_of, worker
from tests.lanes import LANE
from tests.worlds.pairs import EVENING_MS, HOUR_MS, pair, pair_id

STALLED_AFTER_S = 4.0
UNUSABLE = 40_000


def watermark_s(running: Worker) -> float:
    (line,) = (line for line in running.metrics().splitlines() if line.startswith("rampwatch_watermark_timestamp"))
    return float(line.split()[-1])


async def _publish_in_a_transaction(address: str, prefix: str) -> None:
    """Publish unusable hits and reads in a transaction, whose marker ends each partition."""
    feed = AIOKafkaProducer(bootstrap_servers=address, transactional_id=f"{prefix}feed")
    stamp = [(STAMP_HEADER, str(EVENING_MS - HOUR_MS).encode())]
    async with feed, feed.transaction():
        for topic in JOINED:
            await feed.send_and_wait(prefix + topic, b"no JSON", partition=0, headers=stamp)


def test_a_spare_worker_is_ready_and_takes_over_and_no_idle_worker_counts_as_stalled(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    short_stall = {"RAMPWATCH_STALLED_AFTER_MS": str(round(1000 * STALLED_AFTER_S))}
    with (
        topics_of(broker.address, prefix, partitions=1) as settings,
        worker(settings, tmp_path, name="one", **short_stall) as one,
        worker(settings, tmp_path, name="two", **short_stall) as two,
    ):
        eventually([one, two], lambda: members_of(settings) == 2, "the group does not have two workers")
        asyncio.run(_publish_in_a_transaction(broker.address, prefix))
        await_handled(settings, one, two, behind_markers=True)
        quiet_until_s = time.monotonic() + 2 * STALLED_AFTER_S
        eventually([one, two], lambda: time.monotonic() > quiet_until_s, "the wait did not end")
        eventually([one, two], lambda: one.is_ready() and two.is_ready(), "one of the workers is not ready")
        busy, spare = (one, two) if "rampwatch_partitions 1.0" in one.metrics() else (two, one)
        assert "rampwatch_partitions 0.0" in spare.metrics()
        busy.kill()
        publish(settings, pair("spared", EVENING_MS, "SIM 101"))
        eventually([spare], lambda: len(last_incidents(settings)) > 0, "the spare worker did not take over")
        assert list(last_incidents(settings)) == [pair_id("spared", "SIM 101")]


def test_a_feed_of_unusable_records_delays_the_other_feeds_by_seconds_only(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    unusable = (Playable(READS, EVENING_MS + n, f"k{n}", b"no JSON %d" % n) for n in range(UNUSABLE))
    with topics_of(broker.address, prefix) as settings:
        publish(settings, [*unusable, *pair("delayed", EVENING_MS, "SIM 101")])
        began_s = time.monotonic()
        with worker(settings, tmp_path) as one:
            await_handled(settings, one)
            # 5 s when this was written; with a thousand records waiting for the producer at a time
            # it took 30 s
            assert time.monotonic() - began_s < 20
            eventually(
                [one], lambda: 'rampwatch_lag_records{topic="ramp-plate-reads"} 0.0' in one.metrics(), "the worker lags"
            )
            eventually([one], lambda: watermark_s(one) > EVENING_MS / 1000 - 60, "the watermark stands still")
        assert list(last_incidents(settings)) == [pair_id("delayed", "SIM 101")]


def test_a_worker_waits_for_a_broker_that_hangs_and_nothing_is_lost(
    own_broker: LocalBroker, prefix: str, tmp_path: Path
) -> None:
    """The broker hangs while records, commits and incidents are in flight."""
    short_stall = {"RAMPWATCH_STALLED_AFTER_MS": str(round(1000 * STALLED_AFTER_S))}
    pairs = [pair(f"n{n}", EVENING_MS + n * HOUR_MS, f"SIM {n}") for n in range(500)]
    with topics_of(own_broker.address, prefix) as settings, worker(settings, tmp_path, **short_stall) as one:
        publish(settings, [record for of_one in pairs for record in of_one])
        eventually([one], lambda: len(last_incidents(settings)) > 0, "no incident was published")
        os.kill(own_broker.pid, signal.SIGSTOP)
        try:
            eventually(
                [one],
                lambda: "the broker does not answer: waiting for it" in one.log_text(),
                "the worker does not wait",
            )
            hangs_until_s = time.monotonic() + 4 * STALLED_AFTER_S
            eventually([one], lambda: time.monotonic() > hangs_until_s, "the wait did not end")
        finally:
            os.kill(own_broker.pid, signal.SIGCONT)
        eventually([one], lambda: one.is_ready() and members_of(settings) == 1, "the worker does not recover")
        await_handled(settings, one)
        assert last_incidents(settings).keys() == {pair_id(f"n{n}", f"SIM {n}") for n in range(500)}
        assert one.stop()[0] == 0
        assert len(one.log_text().splitlines()) < 300, "the worker repeats itself in the log"


# ---------------------------------------------------------------------- a broker that is away


def pause(broker: LocalBroker, pause_s: float, *running: Worker) -> None:
    """Stop a broker's process for some time; fail if one of the workers ends meanwhile."""
    os.kill(broker.pid, signal.SIGSTOP)
    try:
        until_s = time.monotonic() + pause_s
        while time.monotonic() < until_s:
            for each in running:
                each.assert_runs()
            time.sleep(0.2)
    finally:
        os.kill(broker.pid, signal.SIGCONT)


@pytest.mark.parametrize("pause_s", LANE.broker_pauses_s)
def test_a_pause_longer_than_every_timeout_ends_no_worker_and_loses_nothing(
    pause_s: float, own_broker: LocalBroker, prefix: str, tmp_path: Path
) -> None:
    """The broker hangs while one worker is under load, one takes over, and one only starts.

    Transactions (10 s), sessions (6 s) and sends (30 s) time out meanwhile.
    """
    pairs = [pair(f"n{n}", EVENING_MS + n * HOUR_MS, f"SIM {n}") for n in range(1000)]
    with topics_of(own_broker.address, prefix, partitions=4) as settings, worker(settings, tmp_path) as one:
        publish(settings, [record for of_one in pairs[:500] for record in of_one])
        eventually([one], lambda: len(last_incidents(settings)) > 0, "no incident was published")
        with worker(settings, tmp_path, name="two") as two:
            publish(settings, [record for of_one in pairs[500:] for record in of_one])
            with worker(settings, tmp_path, "--wait", name="three", up=False) as three:
                eventually([one, two, three], lambda: members_of(settings) != 2, "there is no rebalance")
                every = [one, two, three]
                pause(own_broker, pause_s, *every)
                eventually(every, lambda: members_of(settings) == 3, "the workers are not in the group again")
                await_handled(settings, *every, wait_s_max=2 * WAIT_S_MAX)
                eventually(every, lambda: all(each.is_ready() for each in every), "a worker is not ready again")
                assert last_incidents(settings).keys() == {pair_id(f"n{n}", f"SIM {n}") for n in range(1000)}
                for each in every:
                    assert each.stop()[0] == 0
                    assert "Traceback" not in each.log_text()
                    assert "never retrieved" not in each.log_text()


def test_a_worker_whose_kafka_client_fails_starts_again_in_the_same_process(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    """A broker that has just come back lists none, and aiokafka's coordinator fails for good."""
    with topics_of(broker.address, prefix, partitions=1) as settings:
        publish(settings, pair("one", EVENING_MS, "SIM 101"))
        with worker(settings, tmp_path, fault="no-brokers") as one:  # the process itself must come up
            await_handled(settings, one)
            assert "the worker starts again in this process" in one.log_text()
            assert last_incidents(settings).keys() == {pair_id("one", "SIM 101")}
            assert one.stop()[0] == 0
            assert "Traceback" not in one.log_text()


def test_with_wait_a_worker_waits_for_the_broker_and_then_for_the_topics(
    kafka_here: None, prefix: str, tmp_path: Path
) -> None:
    port = free_port()
    settings = Settings(broker=f"127.0.0.1:{port}", prefix=prefix, partitions=1)
    with (
        worker(settings, tmp_path, "--wait", name="one", up=False) as one,
        worker(settings, tmp_path, name="two", up=False, RAMPWATCH_WAIT="true") as two,
    ):
        for each in (one, two):
            eventually([each], lambda log=each: "no Kafka broker responds" in log.log_text(), "it does not wait")
            assert "rampwatch_partitions 0.0" in each.metrics()
            assert not each.is_ready()
        assert two.stop()[0] == 0
        with LocalBroker.start(port=port):
            eventually([one], lambda: "the topics are not as a worker needs them" in one.log_text(), "it does not wait")
            asyncio.run(topics.create(settings))
            eventually([one], lambda: "worker up" in one.log_text(), "it does not come up")
            assert one.stop()[0] == 0
        assert one.log_text().count("no Kafka broker responds") < 5, "it repeats itself"


# ---------------------------------------------------------------------- signals


def test_a_signal_ends_a_worker_whose_event_loop_is_blocked_within_its_grace(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    with (
        topics_of(broker.address, prefix, partitions=1) as settings,
        worker(settings, tmp_path, fault="blocked-loop") as one,
    ):
        eventually([one], lambda: BLOCKED in one.log_text(), "the loop is not blocked")
        code, took_s = one.stop()
        assert code == 70
        assert took_s < 23
        assert "not stopped within 20 s" in one.log_text()


def test_a_signal_ends_a_worker_whose_broker_is_away_with_a_sentence(
    own_broker: LocalBroker, prefix: str, tmp_path: Path
) -> None:
    with topics_of(own_broker.address, prefix, partitions=1) as settings, worker(settings, tmp_path) as one:
        publish(settings, pair("one", EVENING_MS, "SIM 101"))
        os.kill(own_broker.pid, signal.SIGSTOP)
        try:
            code, took_s = one.stop()
        finally:
            os.kill(own_broker.pid, signal.SIGCONT)
        assert took_s < 23
        assert code in (0, 70)
        assert "Traceback" not in one.log_text()
