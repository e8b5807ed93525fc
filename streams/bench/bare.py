"""The first baseline: a bare aiokafka loop that only fetches, decodes and validates plate reads.

Runs in its own process: ``python -m streams.bench.bare BROKER TOPIC RECORDS``. Prints one JSON
object with the number of records and the seconds from the first fetch to the last record.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import msgspec
from aiokafka import AIOKafkaConsumer

from streams.core.events import PlateRead


async def consume(broker: str, topic: str, records: int) -> float:
    """Consume this many records of a filled topic; return the seconds from the first fetch."""
    decode = msgspec.json.Decoder(PlateRead).decode
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=broker, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumed, began_s = 0, time.perf_counter()
        while consumed < records:
            fetched = await consumer.getmany(timeout_ms=1_000)
            for rows in fetched.values():
                for row in rows:
                    decode(row.value)
                consumed += len(rows)
        return time.perf_counter() - began_s
    finally:
        await consumer.stop()


def main() -> None:
    """Run the loop with the arguments of the command line."""
    broker, topic, records = sys.argv[1:]
    seconds = asyncio.run(consume(broker, topic, int(records)))
    sys.stdout.write(json.dumps({"records": int(records), "seconds": seconds}))


if __name__ == "__main__":
    main()
