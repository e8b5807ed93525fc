"""A steady load of reads of unlisted plates.

Runs in its own process, so that producing the load does not slow down the measurement:
``python -m streams.bench.load BROKER TOPIC PER_S SECONDS RAMP…``. At the end it prints one JSON
object with the number of records sent and the seconds taken.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from typing import Any, Final

from aiokafka import AIOKafkaProducer

from streams.bench.traffic import read_of
from streams.core.plates import plate_key

_SLICE_S: Final = 0.01
"""Interval between bursts; the rate is even down to this resolution."""


async def send(broker: str, topic: str, per_s: int, seconds: float, ramps: list[str]) -> dict[str, float]:
    """Send reads at a steady rate; return the number sent and the time taken."""
    rng = random.Random("load")
    sent, futures = 0, list[Any]()
    async with AIOKafkaProducer(bootstrap_servers=broker, linger_ms=2) as producer:
        began_s = time.perf_counter()
        while (elapsed_s := time.perf_counter() - began_s) < seconds:
            for number in range(sent, int(elapsed_s * per_s)):
                plate = f"{rng.choice('KVWY')}{rng.choice('JKVWY')}{rng.randrange(100_000):05}"
                value = read_of(plate, f"load-{number:011}", round(time.time() * 1000) - 700, rng.choice(ramps))
                futures.append(await producer.send(topic, value, plate_key(plate).encode()))
            sent = int(elapsed_s * per_s)
            futures = [future for future in futures if not future.done()]
            await asyncio.sleep(_SLICE_S)
        await asyncio.gather(*futures)
        return {"records": sent, "seconds": time.perf_counter() - began_s}


def main() -> None:
    """Send the load with the arguments of the command line."""
    broker, topic, per_s, seconds, *ramps = sys.argv[1:]
    sent = asyncio.run(send(broker, topic, int(per_s), float(seconds), ramps))
    sys.stdout.write(json.dumps(sent))


if __name__ == "__main__":
    main()
