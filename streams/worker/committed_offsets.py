"""The offsets that the group has committed, with each partition's watermark in the commit metadata.

Reads before the watermark are final. Both joined topics of a partition carry it and the greater
value counts, so that the two need not be committed together.
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
    """A committed offset and its watermark; `NEVER` if the metadata holds none."""

    offset: int
    watermark_ms: int


def metadata(watermark_ms: int) -> str:
    """Return the metadata of a commit; empty for `NEVER`."""
    return "" if watermark_ms == NEVER else f"watermark_ms={watermark_ms}"


def watermark_in(text: str | None) -> int:
    """Return the watermark in a commit's metadata; `NEVER` if there is none."""
    match = _METADATA.fullmatch(text or "")
    return int(match[1]) if match else NEVER


async def committed(settings: Settings, tps: Iterable[TopicPartition]) -> dict[TopicPartition, Committed]:
    """Return the group's commits for those partitions that have one; raises `KafkaError`."""
    queried = list(tps)
    admin = AIOKafkaAdminClient(**connection(settings))
    try:
        await admin.start()
        response = await admin.list_consumer_group_offsets(settings.prefix + settings.group, partitions=queried)
    finally:
        await admin.close()
    # A broker that is not the group's coordinator reports that in a field which aiokafka ignores.
    # The coordinator returns every partition queried, including those without a commit.
    if not response.keys() >= set(queried):
        raise GroupCoordinatorNotAvailableError("the group coordinator did not return the committed offsets")
    return {
        tp: Committed(commit.offset, watermark_in(commit.metadata))
        for tp, commit in response.items()
        if commit.offset >= 0
    }
