"""The Kafka a test uses: one it started itself, or one that RAMPWATCH_BROKER names."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient

from streams.local_broker.broker import LocalBroker


@dataclass(frozen=True)
class GivenBroker:
    """A Kafka that somebody else runs: tests may use it, but not stop it."""

    address: str


Broker = LocalBroker | GivenBroker


def topic_names(address: str) -> list[str]:
    """The names of all topics on a broker."""
    return asyncio.run(_topic_names(address))


async def _topic_names(address: str) -> list[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        return list(await admin.list_topics())
    finally:
        await admin.close()
