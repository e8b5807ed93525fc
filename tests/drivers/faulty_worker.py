"""Runs ``rampwatch worker`` with a fault from outside: a program for ``python -m``.

The first argument names the fault, the others are those of ``rampwatch``. The product has no hooks
for this: a fault is a callback in the worker's own event loop, or one of the client library's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from aiokafka.client import AIOKafkaClient

from streams.cli.main import main

BLOCKED = "the loop is blocked"


class BlockOnceUp(logging.Handler):
    """Blocks the event loop for ever, a moment after the worker has logged that it is up."""

    def emit(self, record: logging.LogRecord) -> None:
        """Schedule the block."""
        if record.getMessage().startswith("worker up"):
            asyncio.get_running_loop().call_later(0.5, block)


def block() -> None:
    """Say so and do not return."""
    logging.getLogger("rampwatch").warning(BLOCKED)
    time.sleep(3600)


def block_the_loop() -> None:
    """Block the event loop once the worker is up."""
    logging.getLogger("rampwatch").addHandler(BlockOnceUp())


def list_no_brokers() -> None:
    """In the worker's first run, clients of groups and transactions know no broker.

    So it is for those that connect to a broker that has just come back.
    """
    look_up = AIOKafkaClient.coordinator_lookup

    async def look_up_among_none(client: Any, *arguments: Any) -> Any:
        client.get_random_node = lambda: None
        return await look_up(client, *arguments)

    if os.environ.get("RAMPWATCH_WAIT") != "true":
        AIOKafkaClient.coordinator_lookup = look_up_among_none


FAULTS: dict[str, Callable[[], None]] = {"blocked-loop": block_the_loop, "no-brokers": list_no_brokers}

if __name__ == "__main__":
    FAULTS[sys.argv.pop(1)]()
    main()
