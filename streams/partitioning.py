"""Which partition a key belongs to: Kafka's default partitioner, as a published contract (``schemas/``)."""

from __future__ import annotations

from typing import cast

from aiokafka.partitioner import murmur2


def partition_of(key: str, partitions: int) -> int:
    """Return the partition of a record's key, of its UTF-8 bytes, among ``partitions``."""
    return cast(int, (murmur2(key.encode()) & 0x7FFFFFFF) % partitions)
