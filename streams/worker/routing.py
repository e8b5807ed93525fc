"""Routes records of the joined topics to the partition of their plate key.

A record on another partition than its plate's was keyed by something else. It is forwarded once; a
record that was forwarded is joined wherever it is, so that none goes round in circles.
"""

from __future__ import annotations

from collections.abc import Sequence

from streams.core.events import Record
from streams.kafka.partitioner import partition_of, partitions_of


class PlateRouting:
    """Routes by Kafka's default partitioner, as `streams.core.pipeline.Routing`."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions

    def home_of(self, record: Record, plate_key: str) -> int:
        """Return the partition of the plate key; of a forwarded record its own."""
        return record.partition if record.forwarded_from else partition_of(plate_key, self._partitions)

    def all_at_home(self, partition: int, plate_keys: Sequence[str]) -> bool:
        """Return whether all plate keys belong to ``partition``."""
        return partitions_of(plate_keys, self._partitions).count(partition) == len(plate_keys)
