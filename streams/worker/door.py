"""Which records of a partition's joined topics its engine takes in, and what becomes of the others.

Whoever reads a partition, live or again, lets in the same records: what is refused has its dead letter, and what lies
on another partition than its plate's was sent on, once. What was sent on is never sent on again, wherever it lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from streams.core.events import Record, Refused
from streams.core.intake import Admitted, Intake
from streams.partitioning import partitions_of


class Sorted(NamedTuple):
    """Records of one partition: those let in, in their order, the refused, and the strays with where they belong."""

    admitted: list[tuple[Record, Admitted]]
    refused: list[tuple[Record, Refused]]
    strays: list[tuple[int, str, Record]]
    """Partition, plate key, record."""


class Door:
    """Knows how many partitions there are, and the intake."""

    def __init__(self, intake: Intake, partitions: int) -> None:
        self._intake = intake
        self._partitions = partitions

    def sort(self, number: int, records: Sequence[Record]) -> Sorted:
        """Return what becomes of records that lie on a partition."""
        found = Sorted([], [], [])
        usable: list[tuple[Record, Admitted]] = []
        for record in records:
            try:
                usable.append((record, self._intake.admit(record)))
            except Refused as refused:
                found.refused.append((record, refused))
        homes = partitions_of([admitted.plate_key for _, admitted in usable], self._partitions)
        if all(home == number for home in homes):
            return found._replace(admitted=usable)
        for (record, admitted), home in zip(usable, homes, strict=True):
            if home == number or record.forwarded_from:
                found.admitted.append((record, admitted))
            else:
                found.strays.append((home, admitted.plate_key, record))
        return found
