"""Opens batches for aiokafka's parser, and reads record by record those that it cannot parse.

Format: https://kafka.apache.org/documentation/#recordbatch. Every record has its length before it,
so one whose insides are bad is stepped over: it becomes a row with its bytes as value and
`Unreadable` as header. A batch of which no record can be read becomes one such row, at the batch's
last offset, so that a consumer steps over all of it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from aiokafka.record.default_records import DefaultRecord, DefaultRecordBatch
from aiokafka.record.legacy_records import LegacyRecordBatch

from streams.worker.decompress import UnreadableBatchError, decompress
from streams.worker.records import Unreadable

RECORDS_MAX: Final = 2**16
"""Of one batch. The objects made of a record of a few bytes take a hundred times as many."""
HEADERS_MAX: Final = 64
"""Of one record, for the same reason: a header of two bytes becomes objects of 64."""
_CHECKED_FROM_BYTES: Final = 2**20
_LARGE_RECORD_BYTES: Final = 2**17
"""A larger record may have so many headers that they must be counted before they are read."""

_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
_LEGACY_HEADER: Final = struct.Struct(">qiIbb")
_BASE: Final = struct.Struct(">q")
_MAGIC_AT: Final = 16
_ATTRIBUTES: Final = struct.Struct(">h")
_ATTRIBUTES_AT: Final = 21
_CODEC: Final = 7
_APPEND_TIME: Final = 8
_VARINT_BYTES_MAX: Final = 10
_INT64_MAX: Final = 2**63 - 1
_NO_STAMP_MS: Final = -1
_DAMAGED: Final = "its batch is damaged (wrong checksum); publish its records again"
_BAD_RECORD: Final = "its fields do not fit its length; correct the producer"
_TOO_MANY_HEADERS: Final = f"it has more than {HEADERS_MAX} headers; send fewer"


class Header(NamedTuple):
    """The header of a batch of magic 2."""

    base: int
    length: int
    epoch: int
    magic: int
    crc: int
    attributes: int
    delta: int
    """The last offset is ``base`` + ``delta``."""
    first_ms: int
    max_ms: int
    producer_id: int
    producer_epoch: int
    sequence: int
    records: int

    @property
    def last(self) -> int:
        """The batch's last offset."""
        return self.base + self.delta

    @property
    def is_dense(self) -> bool:
        """Whether every offset has a record: compaction has removed none."""
        return self.records == self.delta + 1


class OpenBatch(NamedTuple):
    """A batch with a right checksum, decompressed."""

    header: Header | None
    """None: an older format."""
    data: bytes | memoryview
    """Header and records, without compression."""
    parser: Any
    """aiokafka's."""

    @property
    def first(self) -> int:
        """The batch's first offset, as far as the format says it."""
        return self.header.base if self.header else 0

    @property
    def last(self) -> int:
        """The batch's last offset."""
        return self.header.last if self.header else int(self.parser.next_offset) - 1

    def check_offset(self, offset: int, expected: int) -> None:
        """Raise `UnreadableBatchError` if no record can have this ``offset`` next."""
        is_sparse = self.header is None or not self.header.is_dense
        if not (is_sparse and expected < offset <= self.last):
            raise UnreadableBatchError(_BAD_RECORD)


def open_batch(raw: memoryview) -> OpenBatch:
    """Return a batch, decompressed.

    Raises `UnreadableBatchError`; any other error has the same meaning.
    """
    if raw[_MAGIC_AT] < 2:
        return OpenBatch(None, raw, _legacy(raw))
    header = Header._make(_HEADER.unpack_from(raw))
    parser = DefaultRecordBatch(raw)
    if header.magic != 2 or header.base < 0 or header.delta < 0 or not parser.validate_crc():
        raise UnreadableBatchError(_DAMAGED)
    if header.records > RECORDS_MAX:
        raise UnreadableBatchError(
            f"its batch has {header.records} records, more than {RECORDS_MAX}; publish them again in smaller batches"
        )
    codec = header.attributes & _CODEC
    if not codec:
        return OpenBatch(header, raw, parser)
    head = bytearray(raw[: _HEADER.size])
    _ATTRIBUTES.pack_into(head, _ATTRIBUTES_AT, header.attributes & ~_CODEC)
    data = decompress(codec, raw[_HEADER.size :], bytes(head))
    return OpenBatch(header, data, DefaultRecordBatch(data))


def _legacy(raw: memoryview) -> Any:  # noqa: ANN401 - aiokafka's parser
    """Return the parser of a message of magic 0 or 1; it may hold compressed messages."""
    magic, attributes = raw[_MAGIC_AT], raw[_MAGIC_AT + 1]
    parser = LegacyRecordBatch(raw, magic)
    if not parser.validate_crc():
        raise UnreadableBatchError(_DAMAGED)
    if attributes & _CODEC:
        at = _LEGACY_HEADER.size + 8 * magic
        (key_bytes,) = struct.unpack_from(">i", raw, at)
        decompress(attributes & _CODEC, raw[at + 8 + max(0, key_bytes) :])  # only to check the bound
    return parser


def has_large_records(batch: OpenBatch) -> bool:
    """Return whether a record is so large that aiokafka may take too much memory for it."""
    if batch.header is None or len(batch.data) < _CHECKED_FROM_BYTES:
        return False
    at = _HEADER.size
    for _ in range(batch.header.records):
        length, at = _varint(batch.data, at)
        if length > _LARGE_RECORD_BYTES:
            return True
        at += length
    return False


# ---------------------------------------------------------------------- rows


def rows_of(batch: OpenBatch, position: int) -> Iterator[DefaultRecord]:
    """Yield the records of a batch of magic 2 from ``position`` on, unreadable ones as such."""
    header, at = batch.header, _HEADER.size
    assert header is not None
    last = header.last
    for n in range(header.records):
        expected = max(position, header.base + n) if header.is_dense else max(position, header.base)
        if expected > last:
            return
        begin = at
        try:
            length, at = _varint(batch.data, at)
            end = at + length
            if length < 0 or end > len(batch.data):
                raise ValueError
        except (ValueError, IndexError):
            rest = bytes(batch.data[begin:])
            records = min(header.records - n, last - expected + 1)
            yield _unreadable(last, header.max_ms, rest, _BAD_RECORD, records)
            return
        if not header.is_dense or header.base + n >= position:
            row = _row(header, batch.data, begin, at, end, None if header.is_dense else expected, n)
            if row is not None and row.offset >= position:
                yield row
                position = row.offset + 1
        at = end
    if position <= last and header.records <= 0:
        yield _unreadable(last, header.max_ms, bytes(batch.data), "its batch has no records", 1)


def _row(
    header: Header, data: bytes | memoryview, begin: int, at: int, end: int, since: int | None, n: int
) -> DefaultRecord | None:
    """Return the ``n``-th record of a batch; its length is at ``begin``, its fields from ``at`` on.

    ``since``: the first offset it may have, if the batch is not dense. None: an offset before that.
    """
    offset = header.base + n if since is None else since
    try:
        at += 1  # attributes
        delta_ms, at = _varint(data, at)
        delta, at = _varint(data, at)
        if since is not None and header.base + delta <= header.last:
            if header.base + delta < since:
                return None
            offset = header.base + delta
        key, at = _bytes(data, at, end)
        value, at = _bytes(data, at, end)
        headers = _headers(data, at, end)
        at_ms = header.max_ms if header.attributes & _APPEND_TIME else header.first_ms + delta_ms
        if abs(at_ms) > _INT64_MAX:
            raise ValueError(_BAD_RECORD)
    except (ValueError, IndexError) as error:
        reason = _TOO_MANY_HEADERS if str(error) == _TOO_MANY_HEADERS else _BAD_RECORD
        return _unreadable(offset, header.max_ms, bytes(data[begin:end]), reason, 1)
    stamp_type = int(bool(header.attributes & _APPEND_TIME))
    return DefaultRecord(offset, at_ms, stamp_type, key, value, headers)


def _headers(data: bytes | memoryview, at: int, end: int) -> list[tuple[str, bytes | None]]:
    count, at = _varint(data, at)
    if count < 0:
        raise ValueError(_BAD_RECORD)
    if count > HEADERS_MAX:
        raise ValueError(_TOO_MANY_HEADERS)
    headers: list[tuple[str, bytes | None]] = []
    for _ in range(count):
        name, at = _bytes(data, at, end)
        text, at = _bytes(data, at, end)
        if name is None:
            raise ValueError(_BAD_RECORD)
        headers.append((name.decode("utf-8", "backslashreplace"), text))
    if at != end:
        raise ValueError(_BAD_RECORD)
    return headers


def unreadable_batch(raw: memoryview, position: int, following: int | None, error: Exception) -> DefaultRecord:
    """Return the one row of a batch of which no record can be read.

    ``position``: the offset from which the consumer reads. ``following``: the first offset of the
    next batch, if it was fetched. A damaged batch is believed only where something confirms it:
    its stamp is left out, and it is stepped over up to the next batch.
    """
    reason = str(error) if isinstance(error, UnreadableBatchError) else _DAMAGED
    first, last, records, stamp_ms = position, position, 1, _NO_STAMP_MS
    header = Header._make(_HEADER.unpack_from(raw)) if len(raw) >= _HEADER.size and raw[_MAGIC_AT] >= 2 else None
    if reason == _DAMAGED:
        if following is not None:
            last = following - 1
        elif header is not None and header.is_dense and 0 < header.records <= RECORDS_MAX:
            last = header.last
        records = last - first + 1
    elif header is not None:
        first, last, records, stamp_ms = header.base, header.last, header.records, header.max_ms
    else:
        last = _BASE.unpack_from(raw)[0]
    last = max(last, position)
    records = max(1, min(records, last - max(first, position) + 1))
    return _unreadable(last, stamp_ms, bytes(raw), reason, records)


def _unreadable(offset: int, stamp_ms: int, raw: bytes, reason: str, records: int) -> DefaultRecord:
    stamp_ms = max(_NO_STAMP_MS, stamp_ms)
    return DefaultRecord(offset, stamp_ms, 0, None, raw, [(Unreadable.of(records), reason.encode())])


# ---------------------------------------------------------------------- fields


def _bytes(data: bytes | memoryview, at: int, end: int) -> tuple[bytes | None, int]:
    length, at = _varint(data, at)
    if length < 0:
        return None, at
    if at + length > end:
        raise ValueError(_BAD_RECORD)
    return bytes(data[at : at + length]), at + length


def _varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """Return a zigzag varint and the position after it; raises ValueError, IndexError."""
    raw = shift = 0
    for _ in range(_VARINT_BYTES_MAX):
        byte = data[at]
        at += 1
        raw |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (raw >> 1) ^ -(raw & 1), at
        shift += 7
    raise ValueError(_BAD_RECORD)
