"""How long a worker takes to rebuild 12 partitions with a day of reads, at 20 per second.

Run ``.venv/bin/python -m tests.bench.a_day``. It starts a local Kafka, fills it, lets a worker
commit everything, kills that worker, and times the next one from the start of its process until it
is ready. The time includes the session timeout of the killed worker.
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
from tests.drivers.waiting import eventually
from tests.drivers.workers import await_handled, worker

READS_OF_A_DAY = 20 * 86_400
PROCESSES = 2
PREFIX = "day-"
WAIT_S_MAX = 600


async def fill(broker: str, part: int) -> None:
    rng, now_ms = random.Random(part), round(time.time() * 1000)
    ramps = list(load_site("hartford").ramps)
    async with AIOKafkaProducer(bootstrap_servers=broker, linger_ms=20) as producer:
        pending = []
        for n in range(part, READS_OF_A_DAY, PROCESSES):
            plate = f"{rng.choice('KVWY')}{rng.choice('JKVWY')}{rng.randrange(100_000):05}"
            at_ms = now_ms - 86_000_000 + n * 86_000_000 // READS_OF_A_DAY
            value = read_of(plate, f"day-{n:012}", at_ms, rng.choice(ramps))
            headers = [(STAMP_HEADER, str(at_ms + 500).encode())]
            pending.append(await producer.send(PREFIX + READS, value, plate_key(plate).encode(), headers=headers))
            if len(pending) > 20_000:
                await asyncio.gather(*pending)
                pending.clear()
        await asyncio.gather(*pending)


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
            first.kill()
        began_s = time.monotonic()
        with worker(settings, Path(folder), name="second") as second:
            ready = f"rampwatch_partitions_ready {settings.partitions}.0"
            eventually([second], lambda: ready in second.metrics(), "the worker did not become ready")
            print(f"{READS_OF_A_DAY} reads, ready {time.monotonic() - began_s:.1f} s after its start; its log:")
            print(second.log_text())


if __name__ == "__main__":
    main()
