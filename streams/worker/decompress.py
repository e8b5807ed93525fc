"""Decompresses a batch up to a bound. aiokafka has none: a megabyte may become gigabytes.

The bound holds before memory is allocated: the output goes into a buffer of that size.
"""

from __future__ import annotations

import mmap
import struct
import threading
import zlib
from typing import Final

import cramjam

EXPANDED_BYTES_MAX: Final = 32 * 2**20
"""Of one batch, decompressed. Producers fill batches to 16 kB (Java) or 1 MB (librdkafka)."""

_GZIP, _SNAPPY, _LZ4, _ZSTD = 1, 2, 3, 4
_XERIAL: Final = b"\x82SNAPPY\x00"
_XERIAL_HEADER_BYTES: Final = 16
_SCRATCH_KEPT_BYTES: Final = 4 * 2**20
"""A scratch buffer keeps the memory it has touched: after larger batches a new one is used."""

_local = threading.local()


class UnreadableBatchError(Exception):
    """A batch that yields no records; the message says why, in words for a dead letter."""


class TooLargeError(UnreadableBatchError):
    """A batch that expands beyond the bound."""

    def __init__(self) -> None:
        super().__init__(
            f"its batch expands to more than {EXPANDED_BYTES_MAX} bytes; publish its records again in smaller batches"
        )


def decompress(codec: int, data: memoryview, head: bytes = b"") -> bytes:
    """Return ``head`` and the decompressed data, of a codec of Kafka's other than 0 (none).

    Raises `UnreadableBatchError`.
    """
    try:
        if codec == _GZIP:
            return b"".join((head, *_gunzip(data)))
        if codec == _SNAPPY:
            return b"".join((head, *_unsnap(data)))
        if codec in (_LZ4, _ZSTD):
            return _from_scratch(cramjam.lz4 if codec == _LZ4 else cramjam.zstd, data, head)
    except UnreadableBatchError:
        raise
    except cramjam.DecompressionError as error:
        if "failed to write whole buffer" in str(error):  # the bound
            raise TooLargeError from None
        raise UnreadableBatchError("its batch cannot be decompressed; publish its records again") from None
    except (zlib.error, struct.error, EOFError, ValueError, OverflowError, MemoryError):
        raise UnreadableBatchError("its batch cannot be decompressed; publish its records again") from None
    raise UnreadableBatchError(f"its batch has an unknown compression ({codec}); use gzip, snappy, lz4 or zstd")


def _from_scratch(codec: object, data: memoryview, head: bytes) -> bytes:
    scratch = getattr(_local, "scratch", None)
    if scratch is None:
        scratch = _local.scratch = mmap.mmap(-1, EXPANDED_BYTES_MAX)
    written = EXPANDED_BYTES_MAX
    try:
        written = codec.decompress_into(data, scratch)  # type: ignore[attr-defined]
        with memoryview(scratch) as view:
            return b"".join((head, view[:written]))
    finally:
        if written > _SCRATCH_KEPT_BYTES:
            _local.scratch = None


def _gunzip(data: memoryview) -> list[bytes]:
    """Return the members of a gzip stream, as Python's gzip does: zeros may follow."""
    members: list[bytes] = []
    left = EXPANDED_BYTES_MAX
    rest: bytes | memoryview = data
    while True:
        member = zlib.decompressobj(wbits=31)
        members.append(member.decompress(rest, left + 1))
        left -= len(members[-1])
        if left < 0:
            raise TooLargeError
        if not member.eof:
            raise EOFError
        rest = member.unused_data.lstrip(b"\x00")
        if not rest:
            return members


def _unsnap(data: memoryview) -> list[bytes]:
    """Return the blocks of a snappy stream, raw or in xerial's framing."""
    if bytes(data[: len(_XERIAL)]) != _XERIAL or len(data) <= _XERIAL_HEADER_BYTES:
        return [_unsnap_block(data, EXPANDED_BYTES_MAX)]
    blocks: list[bytes] = []
    at, left = _XERIAL_HEADER_BYTES, EXPANDED_BYTES_MAX
    while at < len(data):
        (size,) = struct.unpack_from(">i", data, at)
        at += 4
        if not 0 <= size <= len(data) - at:
            raise EOFError
        blocks.append(_unsnap_block(data[at : at + size], left))
        left -= len(blocks[-1])
        at += size
    return blocks


def _unsnap_block(data: memoryview, bytes_max: int) -> bytes:
    if cramjam.snappy.decompress_raw_len(data) > bytes_max:
        raise TooLargeError
    return bytes(cramjam.snappy.decompress_raw(data))
