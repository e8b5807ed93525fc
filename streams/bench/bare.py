"""The first yardstick: a bare aiokafka loop that fetches, decodes and validates plate reads, and does nothing else.

Run as a process of its own: ``python -m streams.bench.bare BROKER TOPIC RECORDS``. Prints one JSON object: how many
records, in how many seconds from the first fetch to the last record.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import msgspec
from aiokafka import AIOKafkaConsumer

from streams.core.events import PlateRead


async def loop(broker: str, topic: str, records: int) -> float:
    """Return the seconds from the first fetch to the last of so many records of a filled topic."""
    decode = msgspec.json.Decoder(PlateRead).decode
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=broker, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    try:
        seen, began_s = 0, time.perf_counter()
        while seen < records:
            fetched = await consumer.getmany(timeout_ms=1_000)
            for rows in fetched.values():
                for row in rows:
                    decode(row.value)
                seen += len(rows)
        return time.perf_counter() - began_s
    finally:
        await consumer.stop()


def main() -> None:
    """Run the loop as the command line says."""
    broker, topic, records = sys.argv[1:]
    seconds = asyncio.run(loop(broker, topic, int(records)))
    sys.stdout.write(json.dumps({"records": int(records), "seconds": seconds}))


if __name__ == "__main__":
    main()
