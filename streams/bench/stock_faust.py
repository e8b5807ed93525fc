"""The second yardstick: a stock Faust agent with a Record model and no state, as a Faust user would write it first.

Run as a process of its own: ``python -m streams.bench.stock_faust BROKER TOPIC RECORDS``. Prints one JSON object: how
many records, in how many seconds from the first to the last.
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
"""A Faust app that has not stopped by then is left to the end of its process."""


class Read(faust.Record, serializer="json"):  # type: ignore[misc,call-arg]
    """A plate read, as Faust models records."""

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


async def agent(broker: str, topic: str, records: int, data: str) -> float:
    """Return the seconds from the first to the last of so many records of a filled topic."""
    app = faust.App(
        f"yardstick-{secrets.token_hex(4)}",
        broker=f"kafka://{broker}",
        datadir=data,
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
        seen = 0
        async for _ in stream:
            seen += 1
            if seen in (1, records):
                times_s.append(time.perf_counter())
            if seen == records:
                done.set()

    app.agent(app.topic(topic, value_type=Read))(count)
    app.finalize()
    await app.start()
    await done.wait()
    with suppress(TimeoutError):
        await asyncio.wait_for(app.stop(), _STOP_S)
    return times_s[-1] - times_s[0]


def main() -> None:
    """Run the agent as the command line says."""
    broker, topic, records = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="rampwatch-") as data:
        seconds = asyncio.run(agent(broker, topic, int(records), data))
    sys.stdout.write(json.dumps({"records": int(records), "seconds": seconds}))


if __name__ == "__main__":
    main()
