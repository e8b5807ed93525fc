"""Makes aiokafka's consumers return the records of its parser, without copying each one first.

The copy costs as much as decoding the record's JSON. It adds only fields that rampwatch does not
use: topic and partition are known for each batch. The setting ``plain_records`` turns this off.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from aiokafka.consumer.fetcher import PartitionRecords

_COPY: Final = PartitionRecords._consumer_record


def use_plain_records(topics: Collection[str]) -> None:
    """From now on, all consumers of this process return the parser's records for these topics.

    They have ``offset``, ``timestamp``, ``key``, ``value`` and ``headers``. An empty collection
    restores aiokafka's own method.
    """
    plain = frozenset(topics)

    def record_of(records: Any, tp: Any, record: Any) -> Any:  # noqa: ANN401 - aiokafka has no types
        return record if tp.topic in plain else _COPY(records, tp, record)

    PartitionRecords._consumer_record = record_of if plain else _COPY
