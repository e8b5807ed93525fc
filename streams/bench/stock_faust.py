"""The second baseline: a stock Faust agent with a Record model and no state.

This is what a Faust user would write first. Runs in its own process:
``python -m streams.bench.stock_faust BROKER TOPIC RECORDS``. Prints one JSON object with the number
of records and the seconds from the first to the last record.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import tempfile
import time
from contextlib import suppress
from typing import Any, Final

import faust

_STOP_S: Final = 10.0
"""Time limit for stopping the Faust app; after that the end of the process ends it."""


class Read(faust.Record, serializer="json"):  # type: ignore[misc,call-arg]
    """A plate read as a Faust record."""

    read_id: str
    plate: str
    captured_at_ms: int
    ramp_id: str
    camera_id: str
    confidence: float
    region: str | None = None
    direction: str | None = None
    make: str | None = None
    colour: str | None = None


async def consume(broker: str, topic: str, records: int, data_folder: str) -> float:
    """Consume this many records of a filled topic; return the seconds from first to last."""
    app = faust.App(
        f"bench-stock-faust-{secrets.token_hex(4)}",
        broker=f"kafka://{broker}",
        datadir=data_folder,
        store="memory://",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        autodiscover=False,
    )
    times_s: list[float] = []
    done = asyncio.Event()

    async def count(stream: Any) -> None:  # noqa: ANN401 - Faust has no types
        consumed = 0
        async for _ in stream:
            consumed += 1
            if consumed in (1, records):
                times_s.append(time.perf_counter())
            if consumed == records:
                done.set()

    app.agent(app.topic(topic, value_type=Read))(count)
    app.finalize()
    await app.start()
    await done.wait()
    with suppress(TimeoutError):
        await asyncio.wait_for(app.stop(), _STOP_S)
    return times_s[-1] - times_s[0]


def main() -> None:
    """Run the agent with the arguments of the command line."""
    broker, topic, records = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="rampwatch-") as data_folder:
        seconds = asyncio.run(consume(broker, topic, int(records), data_folder))
    sys.stdout.write(json.dumps({"records": int(records), "seconds": seconds}))


if __name__ == "__main__":
    main()
