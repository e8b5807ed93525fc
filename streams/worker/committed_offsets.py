"""What the group has committed: where it goes on, and in the metadata of that the watermark of the partition.

The watermark says up to where reads have been judged for good. It stands at both joined topics of a partition, and the
greater counts, so that neither needs to be committed together with the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError
from msgspec import Struct

from streams.core.windows import NEVER
from streams.kafka.connection import connection
from streams.settings import Settings

_METADATA: Final = re.compile(r"watermark_ms=(-?\d{1,16})")


class Committed(Struct, frozen=True):
    """Where a partition of a topic goes on, and up to which stamp was judged; `NEVER` where nothing tells."""

    offset: int
    watermark_ms: int


def metadata(watermark_ms: int) -> str:
    """Return what a commit says beside the offset; nothing where nothing is judged yet."""
    return "" if watermark_ms == NEVER else f"watermark_ms={watermark_ms}"


def watermark_in(text: str | None) -> int:
    """Return the watermark in a commit's metadata; `NEVER` where there is none."""
    found = _METADATA.fullmatch(text or "")
    return int(found[1]) if found else NEVER


async def committed(settings: Settings, tps: Iterable[TopicPartition]) -> dict[TopicPartition, Committed]:
    """Return what the group has committed for these partitions; those without are left out. Raises `KafkaError`."""
    asked = list(tps)
    admin = AIOKafkaAdminClient(**connection(settings))
    try:
        await admin.start()
        answer = await admin.list_consumer_group_offsets(settings.prefix + settings.group, partitions=asked)
    finally:
        await admin.close()
    # a broker that may not answer for the group says so beside the offsets, where aiokafka does not look; one that may
    # names every partition asked for, also those that have no commit
    if not answer.keys() >= set(asked):
        raise GroupCoordinatorNotAvailableError("who knows what the group has committed does not say it now")
    return {
        tp: Committed(found.offset, watermark_in(found.metadata)) for tp, found in answer.items() if found.offset >= 0
    }
