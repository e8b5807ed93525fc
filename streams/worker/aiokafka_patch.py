"""Records of the joined topics as aiokafka's parser makes them, without the copy of each that its consumers make.

The copy costs as much as decoding the record's JSON. What is left out of it nobody here asks for: topic and partition
stand beside each batch. The setting ``plain_records`` switches this off.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from aiokafka.consumer.fetcher import PartitionRecords

_COPIED: Final = PartitionRecords._consumer_record


def take_plain(topics: Collection[str]) -> None:
    """Hand out such records of these topics from now on, to all consumers of this process; of none, as aiokafka does.

    They have ``offset``, ``timestamp``, ``key``, ``value`` and ``headers``.
    """
    plain = frozenset(topics)

    def record_of(records: Any, tp: Any, record: Any) -> Any:  # noqa: ANN401 - aiokafka has no types
        return record if tp.topic in plain else _COPIED(records, tp, record)

    PartitionRecords._consumer_record = record_of if plain else _COPIED
