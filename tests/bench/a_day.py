"""How long a worker takes over 12 partitions with a day of reads, 20 a second: ``python -m bench.a_day`` in ``tests``.

Starts a Kafka of its own, fills it, lets a worker commit all, kills it, and times the next one until it is ready: from
the start of its process, so with the session timeout of the one killed.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import tempfile
import time
from pathlib import Path

from aiokafka import AIOKafkaProducer

from streams.bench.traffic import read_of
from streams.core.plates import plate_key
from streams.core.topics import READS
from streams.local_broker.broker import LocalBroker
from streams.resources.sites import load_site
from tests.drivers.topics import STAMP_HEADER, topics_of
from tests.drivers.workers import await_handled, worker
from tests.drivers.waiting import eventually

READS_OF_A_DAY = 20 * 86_400
PROCESSES = 2
PREFIX = "day-"
WAIT_S_MAX = 600


async def fill(broker: str, part: int) -> None:
    rng, now_ms = random.Random(part), round(time.time() * 1000)
    ramps = list(load_site("hartford").ramps)
    async with AIOKafkaProducer(bootstrap_servers=broker, linger_ms=20) as producer:
        sent = []
        for n in range(part, READS_OF_A_DAY, PROCESSES):
            plate = f"{rng.choice('KVWY')}{rng.choice('JKVWY')}{rng.randrange(100_000):05}"
            at_ms = now_ms - 86_000_000 + n * 86_000_000 // READS_OF_A_DAY
            value = read_of(plate, f"day-{n:012}", at_ms, rng.choice(ramps))
            headers = [(STAMP_HEADER, str(at_ms + 500).encode())]
            sent.append(await producer.send(PREFIX + READS, value, plate_key(plate).encode(), headers=headers))
            if len(sent) > 20_000:
                await asyncio.gather(*sent)
                sent.clear()
        await asyncio.gather(*sent)


def fill_part(broker: str, part: int) -> None:
    asyncio.run(fill(broker, part))


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalBroker.start() as broker,
        topics_of(broker.address, PREFIX) as settings,
    ):
        parts = [multiprocessing.Process(target=fill_part, args=(broker.address, n)) for n in range(PROCESSES)]
        for part in parts:
            part.start()
        for part in parts:
            part.join()
        with worker(settings, Path(folder), name="first") as first:
            await_handled(settings, first, wait_s_max=WAIT_S_MAX)
            first.process.kill()
        began_s = time.monotonic()
        with worker(settings, Path(folder), name="second") as second:
            ready = f"rampwatch_partitions_ready {settings.partitions}.0"
            eventually([second], lambda: ready in second.metrics(), "it is not ready")
            print(f"{READS_OF_A_DAY} reads, ready {time.monotonic() - began_s:.1f} s after its start; it said:")
            print(second.said())


if __name__ == "__main__":
    main()
