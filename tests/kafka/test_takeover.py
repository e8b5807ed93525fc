"""A takeover that is stopped goes on where it stopped, and says in the log why and how far."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaTimeoutError

from streams.core.scoring import DEFAULT
from streams.core.topics import HITS, INCIDENTS, JOINED, READS
from streams.core.windows import NEVER
from streams.kafka.partitioner import partition_of
from streams.resources.sites import load_site
from streams.settings import Settings
from streams.worker import metrics
from streams.worker.assigned_partitions import AssignedPartitions
from streams.worker.committed_offsets import Committed
from streams.worker.fenced_writer import FencedWriter, OutboundRecord, ProducerFencedError
from streams.worker.health import ProgressMonitor
from streams.worker.outputs import Outputs
from streams.worker.rebuild import Recovery
from tests.drivers.brokers import Broker
from tests.drivers.replayed import replayed
from tests.drivers.topics import publish, topics_of
from tests.drivers.workers import await_handled, worker
from tests.worlds.evening import evening
from tests.worlds.pairs import EVENING_MS

READS_EACH, HITS_EACH = 24_000, 50
"""Per partition: enough for a dozen polls."""
NUMBERS = {0, 1}
AT_MS = 1_780_000_000_000


@pytest.fixture
def filled(broker: Broker, prefix: str) -> Iterator[Settings]:
    """Two partitions with hits and reads, each on the partition of its plate."""
    with topics_of(broker.address, prefix, partitions=len(NUMBERS)) as settings:
        asyncio.run(fill(settings))
        yield settings


async def fill(settings: Settings) -> None:
    plates: dict[int, list[str]] = {number: [] for number in NUMBERS}
    for n in range(4 * HITS_EACH):
        plate = f"X{n}Y"
        plates[partition_of(plate, len(NUMBERS))].append(plate)
    ramp = next(iter(load_site(settings.site).ramps))
    async with AIOKafkaProducer(bootstrap_servers=settings.broker, linger_ms=20) as producer:
        for number, of_number in plates.items():
            for n in range(HITS_EACH):
                hit = {"hit_id": f"H{n}", "plate": of_number[n], "reported_at_ms": AT_MS}
                await send(producer, settings.prefix + HITS, number, hit)
            for n in range(READS_EACH):
                read = {
                    "read_id": f"R{n}",
                    "plate": of_number[n % len(of_number)],
                    "captured_at_ms": AT_MS + n,
                    "ramp_id": ramp,
                    "camera_id": "C",
                    "confidence": 0.9,
                }
                await send(producer, settings.prefix + READS, number, read)


async def send(producer: AIOKafkaProducer, topic: str, number: int, event: Mapping[str, Any]) -> None:
    stamp = str(AT_MS + READS_EACH).encode()
    await producer.send(topic, json.dumps(event).encode(), partition=number, headers=[("rampwatch-stamp-ms", stamp)])


@dataclass
class Owner:
    """A worker's partitions and their recovery, without the rest of the worker."""

    settings: Settings
    resumed: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        progress = ProgressMonitor(60_000)
        site, outputs = load_site(self.settings.site), Outputs(None, self.settings, "0" * 16, progress)  # type: ignore[arg-type]
        self.partitions = AssignedPartitions(
            site, self.settings.join, DEFAULT, outputs, [], len(NUMBERS), progress.mark
        )
        self.recovery = Recovery(self.settings, self.partitions, outputs.headers, progress)
        ends = {READS: READS_EACH, HITS: HITS_EACH}
        self.commits = {
            TopicPartition(self.settings.prefix + topic, number): Committed(ends[topic], NEVER)
            for topic in JOINED
            for number in NUMBERS
        }

    async def take_over(self) -> None:
        await self.recovery.take_over(NUMBERS - set(self.resumed), self.commits, lambda n, _: self.resumed.append(n))

    async def take_over_until(self, fed: float) -> None:
        """Stop a takeover, as a rebalance does, when this share of the records is fed."""
        taking = asyncio.ensure_future(self.take_over())
        while not self.is_fed(fed):
            assert not taking.done(), "the takeover ended before it could be stopped"
            await asyncio.sleep(0)
        taking.cancel()
        await asyncio.wait({taking})

    def is_fed(self, share: float) -> bool:
        feeds = [partition.feed for partition in self.partitions.rebuilding().values()]
        return len(feeds) == len(NUMBERS) and sum(f.left for f in feeds) <= (1 - share) * sum(f.total for f in feeds)

    def reads_kept(self) -> int:
        return sum(partition.engine.reads_kept for partition in self.partitions.rebuilding().values())

    async def close(self) -> None:
        await self.partitions.close()


def rebuilt(topic: str) -> float:
    value = metrics.REGISTRY.get_sample_value("rampwatch_rebuilt_records_total", {"topic": topic})
    return value or 0.0


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        re.sub(r"\d+(?= %)", "N", record.getMessage())
        for record in caplog.records
        if record.name == "rampwatch.rebuild"
    ]


def test_a_takeover_stopped_by_rebalances_reads_every_record_once(
    filled: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    before = {topic: rebuilt(topic) for topic in JOINED}

    async def interrupted() -> None:
        owner = Owner(filled)
        try:
            for fed in (0.01, 0.3, 0.6):
                await owner.take_over_until(fed)
            assert 0 < owner.reads_kept() < 2 * READS_EACH
            await owner.take_over()
            assert sorted(owner.resumed) == sorted(NUMBERS)
            assert owner.partitions.live_numbers() == NUMBERS
        finally:
            await owner.close()

    asyncio.run(interrupted())
    assert rebuilt(HITS) - before[HITS] == 2 * HITS_EACH
    assert rebuilt(READS) - before[READS] == 2 * READS_EACH
    told = messages(caplog)
    begun = [message for message in told if message.startswith("taking over")]
    assert begun[0] == "taking over partitions 0, 1: first start"
    assert begun[1:] == ["taking over partitions 0, 1: assigned in a rebalance; going on with 0 at N %, 1 at N %"] * 3
    stopped = [message for message in told if message.startswith("takeover of partitions 0, 1 stopped at N %")]
    assert len(stopped) == 3
    assert told[-1].startswith("partitions 0, 1 rebuilt: ")


def test_a_partition_that_another_worker_owned_meanwhile_begins_again_and_the_other_goes_on(
    filled: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    before = rebuilt(HITS)

    async def moved() -> None:
        owner = Owner(filled)
        try:
            await owner.take_over_until(0.5)
            owner.partitions.retain({0})
            owner.recovery.reasons.note_fenced({1})
            await owner.take_over()
            assert sorted(owner.resumed) == sorted(NUMBERS)
        finally:
            await owner.close()

    asyncio.run(moved())
    assert rebuilt(HITS) - before == 3 * HITS_EACH
    told = messages(caplog)
    assert "taking over partitions 0: assigned in a rebalance; going on with 0 at N %" not in told
    assert "taking over partition 0: assigned in a rebalance; going on with 0 at N %" in told
    assert "taking over partition 1: its writer was fenced" in told


def test_a_retry_names_the_error_before_it(filled: Settings, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def retried() -> None:
        owner = Owner(filled)
        try:
            owner.recovery.reasons.note_failure(KafkaTimeoutError("no leader answered"))
            await owner.take_over()
        finally:
            await owner.close()

    asyncio.run(retried())
    error = "KafkaTimeoutError: no leader answered"
    assert f"takeover failed ({error}); retrying" in messages(caplog)
    assert f"taking over partitions 0, 1: retry 1 after {error}" in messages(caplog)


def test_a_fenced_writer_leaves_no_task_whose_error_nobody_retrieves(broker: Broker, prefix: str) -> None:
    """aiokafka may leave futures of its own, which `log_unhandled` puts on one line each."""
    leftover: list[str] = []

    async def fence(settings: Settings) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: leftover.append(context["message"]))
        records = [OutboundRecord(settings.prefix + INCIDENTS, f"I{n}", b"{}", n % 2) for n in range(200)]
        for idle in (True, False):
            first = await FencedWriter.open(settings, "0", {})
            await first.publish(records)
            publishing = asyncio.ensure_future(first.publish(records * 20))
            if not idle:
                await asyncio.sleep(0.01)
            second = await FencedWriter.open(settings, "0", {})
            await asyncio.wait({publishing})  # done before it was fenced, or not
            publishing.exception()
            with pytest.raises(ProducerFencedError):
                await first.publish(records)
            await first.close()
            await second.close()
        gc.collect()
        await asyncio.sleep(0.1)

    with topics_of(broker.address, prefix, partitions=2) as settings:
        asyncio.run(fence(settings))
    assert set(leftover) <= {"Future exception was never retrieved"}


def test_workers_that_come_and_go_during_a_rebuild_repeat_nothing_and_say_why_they_rebuild(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    records = evening(EVENING_MS)
    with topics_of(broker.address, prefix) as settings:
        with worker(settings, tmp_path, name="before") as first:
            publish(settings, records[:-500])
            await_handled(settings, first)
            assert first.stop()[0] == 0
        with worker(settings, tmp_path, name="staying", up=False) as staying:
            for n in range(3):
                with worker(settings, tmp_path, name=f"visitor-{n}", up=n % 2 == 0) as visitor:
                    if n == 1:
                        visitor.kill()
                    else:
                        visitor.stop()
            publish(settings, records[-500:])
            await_handled(settings, staying)
            assert staying.stop()[0] == 0
        expected = replayed(settings, tmp_path)
        assert expected.differences == []
        logs = {path.stem: path.read_text() for path in tmp_path.glob("*.log")}
    for name, text in logs.items():
        assert "Traceback" not in text, name
        assert "never retrieved" not in text, name
    begun = re.findall(r"taking over partitions? [\d, ]+: (.*)", logs["staying"])
    assert begun, "no takeover was logged"
    reasons = ("first start", "assigned in a rebalance", "its writer was fenced", "retry ")
    assert all(reason.startswith(reasons) for reason in begun), begun
    ends = re.findall(r"partitions? [\d, ]+ rebuilt: |takeover of .* stopped at|takeover failed", logs["staying"])
    assert len(ends) >= 1, logs["staying"]
