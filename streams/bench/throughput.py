"""Throughput in plate reads per second: the baselines, the worker, and its rebuild after a kill.

A worker is timed from outside through its metrics, from the last sample of 0 to the first sample
that shows all records. The measured time is too long by up to two sampling intervals.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from streams.bench.processes import BenchError, MeasuredWorker, Sample, measured_worker, run_baseline
from streams.core.topics import HITS, INCIDENTS, READS
from streams.settings import Settings

RECORDS: Final = "rampwatch_records_total"
REBUILT: Final = "rampwatch_rebuilt_records_total"
READY: Final = "rampwatch_partitions_ready"
_COMMIT_S_MAX: Final = 30.0


class Rates(msgspec.Struct):
    """The throughput of one round, in records per second."""

    bare_per_s: float
    stock_faust_per_s: float
    worker_per_s: float
    rebuild_per_s: float


def rates(settings: Settings, filled: Mapping[str, int], stock_records: int, report: Callable[[str], None]) -> Rates:
    """Measure each once, on topics that hold as many records as ``filled`` gives.

    ``settings`` must have an unused group.
    """
    topic = settings.prefix + READS
    report("a bare loop")
    bare = run_baseline("streams.bench.bare", settings.broker, topic, filled[READS])
    report("a stock Faust agent")
    stock = run_baseline("streams.bench.stock_faust", settings.broker, topic, min(stock_records, filled[READS]))
    report("a worker")
    asyncio.run(_delete_incidents(settings))
    with measured_worker(settings) as first:
        worker_per_s = _join_rate(first, filled[READS])
        asyncio.run(_await_committed(settings))
        first.kill()
    report("its rebuild after a kill")
    with measured_worker(settings) as second:
        rebuild_per_s = _rebuild_rate(second, settings.partitions)
    return Rates(bare.per_s, stock.per_s, worker_per_s, rebuild_per_s)


def _join_rate(worker: MeasuredWorker, reads: int) -> float:
    """Return the reads per second at which a worker consumes its first ``reads`` reads."""
    zero_samples: list[Sample] = []

    def all_consumed() -> Sample | None:
        sample = worker.sample(RECORDS, READS)
        if sample.value == 0:
            zero_samples[:] = [sample]
        return sample if sample.value >= reads else None

    end = worker.until(all_consumed, f"done with {reads} records")
    return reads / (end.at_s - _last_zero(zero_samples, RECORDS).at_s)


def _rebuild_rate(worker: MeasuredWorker, partitions: int) -> float:
    """Return the records per second that a worker rebuilds from until all partitions are ready."""
    zero_samples: list[Sample] = []

    def all_ready() -> Sample | None:
        sample, ready = worker.sample(REBUILT), worker.sample(READY)
        if sample.value == 0:
            zero_samples[:] = [sample]
        return ready if ready.value >= partitions else None

    end = worker.until(all_ready, "ready again")
    return worker.sample(REBUILT).value / (end.at_s - _last_zero(zero_samples, REBUILT).at_s)


def _last_zero(zero_samples: Sequence[Sample], name: str) -> Sample:
    """Return the last sample of 0; raises `BenchError` if there was none."""
    if not zero_samples:
        raise BenchError(f"{name}: was above 0 at the first sample, so the start is unknown; use more records")
    return zero_samples[-1]


async def _delete_incidents(settings: Settings) -> None:
    """Delete the incidents that earlier rounds published, so that every round starts the same."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.broker)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker)
    await consumer.start()
    await admin.start()
    try:
        tps = [TopicPartition(settings.prefix + INCIDENTS, number) for number in range(settings.partitions)]
        ends = await consumer.end_offsets(tps)
        await admin.delete_records({tp: RecordsToDelete(before_offset=end) for tp, end in ends.items() if end})
    finally:
        await admin.close()
        await consumer.stop()


async def _await_committed(settings: Settings) -> None:
    """Wait until the group has committed the joined topics to their ends."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.broker)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker)
    await consumer.start()
    await admin.start()
    try:
        tps = [TopicPartition(settings.prefix + t, n) for t in (HITS, READS) for n in range(settings.partitions)]
        ends = {tp: end for tp, end in (await consumer.end_offsets(tps)).items() if end}
        deadline_s = asyncio.get_running_loop().time() + _COMMIT_S_MAX
        while True:
            committed = await admin.list_consumer_group_offsets(settings.prefix + settings.group)
            if all(tp in committed and committed[tp].offset >= end for tp, end in ends.items()):
                return
            if asyncio.get_running_loop().time() > deadline_s:
                raise BenchError(
                    f"group {settings.group}: did not commit all consumed records within {_COMMIT_S_MAX:.0f} s; "
                    "stop other programs on this machine and retry"
                )
            await asyncio.sleep(0.1)
    finally:
        await admin.close()
        await consumer.stop()
