"""Routes records of the joined topics to the partition of their plate key.

A record on another partition than its plate's was keyed by something else. It is forwarded once; a
record that was forwarded is joined wherever it is, so that none goes round in circles.
"""

from __future__ import annotations

from collections.abc import Sequence

from streams.core.intake import Admitted
from streams.kafka.partitioner import partitions_of


class PlateRouting:
    """Routes by Kafka's default partitioner, as `streams.core.pipeline.Routing`."""

    forward_bytes_max: int | None = 512 * 1024
    """A topic might not take a larger record back, because it is compressed differently."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions

    def homes_of(self, admitted: Sequence[Admitted]) -> list[int]:
        """Return the partitions of the plate keys; of forwarded records their own."""
        homes = partitions_of([one.plate_key for one in admitted], self._partitions)
        return [
            one.record.partition if one.record.forwarded_from else home
            for one, home in zip(admitted, homes, strict=True)
        ]

    def all_at_home(self, partition: int, plate_keys: Sequence[str]) -> bool:
        """Return whether all plate keys belong to ``partition``."""
        return partitions_of(plate_keys, self._partitions).count(partition) == len(plate_keys)
