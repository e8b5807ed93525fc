"""A steady load of plate reads that nobody lists: ``python -m streams.bench.load BROKER TOPIC PER_S SECONDS RAMP…``.

A process of its own, so that whoever measures is not the one who is busy. Prints one JSON object at the end: how many
records went out, in how many seconds.
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
"""How finely the pace is kept."""


async def send(broker: str, topic: str, per_s: int, seconds: float, ramps: list[str]) -> dict[str, float]:
    """Send so many reads a second for so long, evenly; return what came of it."""
    rng = random.Random("load")
    sent, futures = 0, list[Any]()
    async with AIOKafkaProducer(bootstrap_servers=broker, linger_ms=2) as producer:
        began_s = time.perf_counter()
        while (past_s := time.perf_counter() - began_s) < seconds:
            for number in range(sent, int(past_s * per_s)):
                plate = f"{rng.choice('KVWY')}{rng.choice('JKVWY')}{rng.randrange(100_000):05}"
                value = read_of(plate, f"load-{number:011}", round(time.time() * 1000) - 700, rng.choice(ramps))
                futures.append(await producer.send(topic, value, plate_key(plate).encode()))
            sent = int(past_s * per_s)
            futures = [future for future in futures if not future.done()]
            await asyncio.sleep(_SLICE_S)
        await asyncio.gather(*futures)
        return {"records": sent, "seconds": time.perf_counter() - began_s}


def main() -> None:
    """Send as the command line says."""
    broker, topic, per_s, seconds, *ramps = sys.argv[1:]
    told = asyncio.run(send(broker, topic, int(per_s), float(seconds), ramps))
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
