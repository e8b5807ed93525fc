"""How many plate reads a second: the yardsticks, the worker, and the worker's rebuild after it was killed.

A worker is timed from outside, by its metrics: from the last time it was asked and had counted nothing to the first
time it had counted all. So up to two pauses between questions are to its disadvantage.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from streams.bench.processes import BenchError, MeasuredWorker, Sample, baseline, worker
from streams.core.events import HITS, INCIDENTS, READS
from streams.settings import Settings

RECORDS: Final = "rampwatch_records_total"
REBUILT: Final = "rampwatch_rebuilt_records_total"
READY: Final = "rampwatch_partitions_ready"
_COMMIT_S_MAX: Final = 30.0


class Rates(msgspec.Struct):
    """Plate reads a second in one round."""

    bare_per_s: float
    stock_faust_per_s: float
    worker_per_s: float
    rebuild_per_s: float


def rates(settings: Settings, filled: Mapping[str, int], stock_records: int, say: Callable[[str], None]) -> Rates:
    """Measure each once on topics that hold so many records; ``settings`` name a group that is new."""
    topic = settings.prefix + READS
    say("a bare loop")
    bare = baseline("streams.bench.bare", settings.broker, topic, filled[READS])
    say("a stock Faust agent")
    stock = baseline("streams.bench.stock_faust", settings.broker, topic, min(stock_records, filled[READS]))
    say("a worker")
    asyncio.run(_empty(settings))
    with worker(settings) as first:
        joined = _timed(first, RECORDS, READS, filled[READS])
        asyncio.run(_await_committed(settings))
        first.kill()
    say("its rebuild after a kill")
    with worker(settings) as second:
        rebuilt = _rebuilt(second, settings.partitions)
    return Rates(bare.per_s, stock.per_s, joined, rebuilt)


def _timed(measured: MeasuredWorker, name: str, topic: str | None, number: int) -> float:
    """Return by how many a second a counter of a worker grows from 0 to ``number``."""
    before: list[Sample] = []

    def all_counted() -> Sample | None:
        sample = measured.sample(name, topic)
        if sample.value == 0:
            before[:] = [sample]
        return sample if sample.value >= number else None

    end = measured.until(all_counted, f"through with {number} records")
    return number / (end.at_s - _last(before, name).at_s)


def _rebuilt(measured: MeasuredWorker, partitions: int) -> float:
    """Return how many records a second a worker takes back in until all partitions are ready."""
    before: list[Sample] = []

    def all_ready() -> Sample | None:
        sample, ready = measured.sample(REBUILT), measured.sample(READY)
        if sample.value == 0:
            before[:] = [sample]
        return ready if ready.value >= partitions else None

    end = measured.until(all_ready, "ready again")
    return measured.sample(REBUILT).value / (end.at_s - _last(before, REBUILT).at_s)


def _last(before: Sequence[Sample], name: str) -> Sample:
    """The last time that nothing was counted."""
    if not before:
        raise BenchError(f"{name}: the worker had counted before it was asked; take more records")
    return before[-1]


async def _empty(settings: Settings) -> None:
    """Let what earlier rounds have said go, so that every round finds the same."""
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
    """Wait until the group has committed all there is of the joined topics."""
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
                raise BenchError(f"{settings.group}: what was read is not committed after {_COMMIT_S_MAX:.0f} s")
            await asyncio.sleep(0.1)
    finally:
        await admin.close()
        await consumer.stop()
