"""Reads of plates that nobody lists, kept small until their time is up: a theft may be reported hours later.

Almost every read is of such a plate, so keeping one must cost little time and few bytes. The records' own bytes are
appended to a chunk; a full chunk is compressed, and its plates stay findable through four bytes each. When a plate is
listed, `of` unpacks the chunks that hold it, which is rare. A chunk goes when the last of its reads may go.
"""

from __future__ import annotations

import zlib
from array import array
from collections import deque
from collections.abc import Iterator
from struct import Struct
from typing import Final

import cramjam

CHUNK_READS: Final = 4096
"""Reads compressed together: enough that they resemble each other, few enough to unpack in milliseconds."""
_HEAD: Final = Struct("<qI")
"""Before each record's bytes: its stamp, and how many bytes follow."""
_SUM_BYTES: Final = 4


class _Chunk:
    """Reads in the order they came: checksums of their plate keys, and their records' bytes."""

    __slots__ = ("checksums", "latest_ms", "packed", "rows")

    def __init__(self) -> None:
        self.checksums: array[int] = array("I")
        self.rows: list[bytes] = []
        self.packed = b""
        self.latest_ms = -(2**62)

    def pack(self) -> None:
        # Zstandard at its fastest: a third of zlib's time, and a quarter smaller
        self.packed = bytes(cramjam.zstd.compress(b"".join(self.rows), 1))
        self.rows = []

    def unpacked(self) -> list[bytes]:
        """The rows again, each with its head."""
        if not self.packed:
            return self.rows
        data = bytes(cramjam.zstd.decompress(self.packed))
        rows, at = [], 0
        while at < len(data):
            end = at + _HEAD.size + _HEAD.unpack_from(data, at)[1]
            rows.append(data[at:end])
            at = end
        return rows

    def positions(self, pattern: bytes) -> Iterator[int]:
        """Where in the chunk this checksum stands."""
        sums = self.checksums.tobytes()
        at = sums.find(pattern)
        while at >= 0:
            if at % _SUM_BYTES == 0:
                yield at // _SUM_BYTES
            at = sums.find(pattern, at + 1)


class ReadRing:
    """Records of reads by plate key, oldest first, to be let go of by a watermark."""

    def __init__(self) -> None:
        self._chunks: deque[_Chunk] = deque()
        self._open = _Chunk()
        self._kept = 0

    def __len__(self) -> int:
        return self._kept

    def append(self, key: str, captured_ms: int, stamp_ms: int, value: bytes) -> None:
        """Keep the bytes of a read's record."""
        chunk = self._open
        chunk.checksums.append(zlib.crc32(key.encode()))
        chunk.rows.append(_HEAD.pack(stamp_ms, len(value)) + value)
        if captured_ms > chunk.latest_ms:
            chunk.latest_ms = captured_ms
        self._kept += 1
        if len(chunk.rows) == CHUNK_READS:
            chunk.pack()
            self._chunks.append(chunk)
            self._open = _Chunk()

    def of(self, key: str) -> Iterator[tuple[int, bytes]]:
        """Hand out stamp and bytes of the kept records whose plate key may be ``key``: the caller looks at each."""
        pattern = array("I", (zlib.crc32(key.encode()),)).tobytes()
        for chunk in (*self._chunks, self._open):
            positions = list(chunk.positions(pattern))
            rows = chunk.unpacked() if positions else []
            for position in positions:
                row = rows[position]
                yield _HEAD.unpack_from(row)[0], row[_HEAD.size :]

    def release(self, captured_before_ms: int) -> None:
        """Let go of what was captured before; a chunk goes as one, so a few younger reads delay it."""
        while self._chunks and self._chunks[0].latest_ms < captured_before_ms:
            self._kept -= len(self._chunks.popleft().checksums)
        if self._open.rows and self._open.latest_ms < captured_before_ms:
            self._kept -= len(self._open.rows)
            self._open = _Chunk()
