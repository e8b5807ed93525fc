"""Makes aiokafka's consumers survive what its parser cannot read, and return records uncopied.

aiokafka raises from the fetcher if it cannot read a record, for instance one with a header name
that is not UTF-8, and raises again at each new attempt: the consumer never gets past the record. It
also decompresses batches to any size. `tolerate_unreadable_records` replaces the two classes that
unpack what was fetched, for all consumers of the process; what cannot be read becomes a row with
`Unreadable` in its headers.

The copy of each record costs as much as decoding the record's JSON. It adds only fields that
rampwatch does not use: topic and partition are known for each batch. The setting ``plain_records``
turns this off.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords

from streams.worker.batch_reader import (
    HEADERS_MAX,
    OpenBatch,
    has_large_records,
    open_batch,
    rows_of,
    unreadable_batch,
)
from streams.worker.decompress import UnreadableBatchError

FETCH_EXPANDED_BYTES_MAX: Final = 32 * 2**20
"""After a batch with which the records of one fetch of a partition exceed this, the rest is fetched
again, once these are used."""
_RECORD_BYTES: Final = 256
"""What a record counts for in that bound, beside its bytes."""

_COPY: Final = PartitionRecords._consumer_record
_LENGTH: Final = struct.Struct(">qi")
_BASE: Final = struct.Struct(">q")
_BATCH_BYTES_MIN: Final = 26
"""The header of a message of magic 0 with no key and no value."""


def use_plain_records(topics: Collection[str]) -> None:
    """From now on, all consumers of this process return the parser's records for these topics.

    They have ``offset``, ``timestamp``, ``key``, ``value`` and ``headers``. An empty collection
    restores aiokafka's own method.
    """
    plain = frozenset(topics)

    def record_of(records: Any, tp: Any, record: Any) -> Any:  # noqa: ANN401 - aiokafka has no types
        return record if tp.topic in plain else _COPY(records, tp, record)

    PartitionRecords._consumer_record = record_of if plain else _COPY


def tolerate_unreadable_records() -> None:
    """From now on, no record ends a consumer of this process, and no batch expands unbounded."""
    fetcher.MemoryRecords = FetchedBatches
    PartitionRecords._unpack_records = _unpack


class FetchedBatches:
    """What was fetched from a partition, cut into batches; in place of aiokafka's MemoryRecords."""

    def __init__(self, fetched: bytes) -> None:
        self._fetched = memoryview(fetched)
        self._at = 0
        self._expanded_bytes = 0

    def size_in_bytes(self) -> int:
        """Return the size of what was fetched."""
        return len(self._fetched)

    def _end(self) -> int | None:
        """Return the end of the next batch; None if less than a batch is left."""
        left = len(self._fetched) - self._at
        if left < _LENGTH.size:
            return None
        _, length = _LENGTH.unpack_from(self._fetched, self._at)
        if _LENGTH.size + length < _BATCH_BYTES_MIN:
            return len(self._fetched)  # no batch: the rest cannot be cut
        return self._at + _LENGTH.size + length if _LENGTH.size + length <= left else None

    def has_next(self) -> bool:
        """Return whether there is another batch, and room for it."""
        return self._expanded_bytes <= FETCH_EXPANDED_BYTES_MAX and self._end() is not None

    def next_batch(self) -> memoryview:
        """Return the bytes of the next batch; there is one."""
        end = self._end()
        raw = self._fetched[self._at : end]
        self._at = len(self._fetched) if end is None else end
        return raw

    def following(self) -> int | None:
        """Return the first offset of the next batch, if it was fetched."""
        offset: int | None = None if self._end() is None else _BASE.unpack_from(self._fetched, self._at)[0]
        return offset

    def note_expanded(self, batch: OpenBatch) -> None:
        """Count a batch towards the bound of the fetch."""
        records = batch.header.records if batch.header else 0
        self._expanded_bytes += len(batch.data) + _RECORD_BYTES * max(0, records)


def _unpack(self: Any) -> Iterator[Any]:  # noqa: ANN401 - aiokafka has no types
    """Yield the records of a fetch, as `PartitionRecords` does, but without an error of the parser.

    The loop over ``parser`` runs once for each record: what costs there is left out or rare.
    """
    batches: FetchedBatches = self._records
    tp, consumer_record = self._tp, self._consumer_record
    while batches.has_next():
        raw = batches.next_batch()
        batch: OpenBatch | None = None
        begin = self.next_fetch_offset
        try:
            batch = open_batch(raw)
            if batch.last >= begin:
                batches.note_expanded(batch)
            parser, expected = batch.parser, max(begin, batch.first)
            if not _is_skipped(self, parser):
                if has_large_records(batch):
                    raise UnreadableBatchError("read it record by record")
                for record in parser:
                    offset = record.offset
                    if offset != expected:
                        if offset < begin:
                            continue
                        batch.check_offset(offset, expected)
                    if len(record.headers) > HEADERS_MAX:
                        raise UnreadableBatchError("read it record by record")
                    self.next_fetch_offset = expected = offset + 1
                    yield consumer_record(tp, record)
            self.next_fetch_offset = max(self.next_fetch_offset, parser.next_offset)
        except Exception as error:
            for record in _read_again(batch, raw, self.next_fetch_offset, batches.following(), error):
                self.next_fetch_offset = record.offset + 1
                yield consumer_record(tp, record)
            if batch is not None:
                self.next_fetch_offset = max(self.next_fetch_offset, batch.last + 1)


def _read_again(
    batch: OpenBatch | None, raw: memoryview, position: int, following: int | None, error: Exception
) -> Iterable[Any]:
    """Return the rows from ``position`` on of a batch in which the parser failed with ``error``."""
    if batch is None or batch.header is None:
        return [unreadable_batch(raw, position, following, error)]
    return () if batch.parser.is_control_batch else rows_of(batch, position)


def _is_skipped(self: Any, parser: Any) -> bool:  # noqa: ANN401
    """Return whether a batch is an aborted transaction's or holds a transaction marker."""
    if self._isolation_level == READ_COMMITTED and parser.producer_id is not None:
        self._consume_aborted_up_to(parser.base_offset)
        if parser.is_control_batch and self._contains_abort_marker(parser):
            self._aborted_producers.discard(parser.producer_id)
        if parser.is_transactional and parser.producer_id in self._aborted_producers:
            return True
    return bool(parser.is_control_batch)
