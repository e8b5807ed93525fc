"""Which records of a partition's joined topics its engine takes in, and what becomes of the others.

Whoever reads a partition, live or again, lets in the same records: what is refused has its dead letter, and what lies
on another partition than its plate's was sent on, once. What was sent on is never sent on again, wherever it lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from streams.core.events import READS, InvalidRecord, Record
from streams.core.intake import Admitted, AdmittedReads, Intake
from streams.kafka.partitioner import partitions_of
from streams.worker.outputs import TOO_LARGE
from streams.worker.records import Batch

_FORWARD_BYTES_MAX: Final = 512 * 1024
"""Of a record's own bytes: larger ones its topic might not take again, being compressed otherwise."""


class Sorted(NamedTuple):
    """Records of one partition: those let in, in their order, the refused, and the strays with where they belong."""

    admitted: list[Admitted]
    refused: list[tuple[Record, InvalidRecord]]
    strays: list[tuple[int, str, Record]]
    """Partition, plate key, record."""


class Router:
    """Knows how many partitions there are, and the intake."""

    def __init__(self, intake: Intake, partitions: int) -> None:
        self._intake = intake
        self._partitions = partitions

    def reads(self, batch: Batch) -> AdmittedReads | None:
        """Return the reads of a batch where all are let in, which is quick to tell; else None: `sort` looks at each."""
        columns = batch.columns() if batch.name == READS else None
        reads = self._intake.admit_reads(*columns) if columns else None
        if reads is None:
            return None
        homes = partitions_of(reads.plate_keys, self._partitions)
        return reads if homes.count(batch.partition) == len(homes) else None

    def sort(self, number: int, records: Sequence[Record]) -> Sorted:
        """Return what becomes of records that lie on a partition."""
        refused: list[tuple[Record, InvalidRecord]] = []
        try:
            admitted = list(map(self._intake.admit, records))  # almost always all of them
        except InvalidRecord:
            records, admitted = self._one_by_one(records, refused)
        homes = partitions_of([one.plate_key for one in admitted], self._partitions)
        if homes.count(number) == len(homes):
            return Sorted(admitted, refused, [])
        found = Sorted([], refused, [])
        for record, one, home in zip(records, admitted, homes, strict=True):
            if home == number or record.forwarded_from:
                found.admitted.append(one)
            elif len(one.value) > _FORWARD_BYTES_MAX:
                found.refused.append((record, TOO_LARGE))
            else:
                found.strays.append((home, one.plate_key, record))
        return found

    def _one_by_one(
        self, records: Sequence[Record], refused: list[tuple[Record, InvalidRecord]]
    ) -> tuple[list[Record], list[Admitted]]:
        usable, admitted = [], []
        for record in records:
            try:
                admitted.append(self._intake.admit(record))
                usable.append(record)
            except InvalidRecord as why:
                refused.append((record, why))
        return usable, admitted
