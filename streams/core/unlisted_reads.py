"""Reads of plates that nobody lists, kept small until their time is up: a theft may be reported hours later.

Almost every read is of such a plate, so keeping one must cost little time and few bytes. The records' own bytes are
appended to a chunk; a full chunk is compressed, and its plates stay findable through four bytes each. When a plate is
listed, `of` unpacks the chunks that hold it, which is rare. A chunk goes when the last of its reads may go.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import accumulate, pairwise
from typing import Final
from zlib import crc32

import cramjam

CHUNK_READS: Final = 4096
"""Reads compressed together, or a batch more: enough that they resemble each other, few enough to unpack in ms."""
_STAMP_BYTES: Final = 8
_SUM_BYTES: Final = 4


class _Chunk:
    """Reads in the order they came: checksums of their plate keys, and their records' stamps and bytes."""

    __slots__ = ("checksums", "latest_ms", "packed", "stamps_ms", "values")

    def __init__(self) -> None:
        self.checksums: array[int] = array("I")
        self.stamps_ms: array[int] = array("q")
        self.values: list[bytes] = []
        self.packed = b""
        self.latest_ms = -(2**62)

    def pack(self) -> None:
        lengths = array("I", map(len, self.values))
        # Zstandard at its fastest: a third of zlib's time, and a quarter smaller
        columns = (self.stamps_ms.tobytes(), lengths.tobytes(), *self.values)
        self.packed = bytes(cramjam.zstd.compress(b"".join(columns), 1))
        self.stamps_ms, self.values = array("q"), []

    def rows(self) -> list[tuple[int, bytes]]:
        """Stamp and bytes of each record."""
        if not self.packed:
            return list(zip(self.stamps_ms, self.values, strict=True))
        data, count = bytes(cramjam.zstd.decompress(self.packed)), len(self.checksums)
        begin = (_STAMP_BYTES + _SUM_BYTES) * count
        stamps_ms = array("q", data[: _STAMP_BYTES * count])
        lengths = array("I", data[_STAMP_BYTES * count : begin])
        ends = list(accumulate(lengths, initial=begin))
        return [(stamp_ms, data[at:to]) for stamp_ms, (at, to) in zip(stamps_ms, pairwise(ends), strict=True)]

    def positions(self, pattern: bytes) -> Iterator[int]:
        """Where in the chunk this checksum stands."""
        sums = self.checksums.tobytes()
        at = sums.find(pattern)
        while at >= 0:
            if at % _SUM_BYTES == 0:
                yield at // _SUM_BYTES
            at = sums.find(pattern, at + 1)


class CompressedReads:
    """Records of reads by plate key, oldest first, to be let go of by a watermark."""

    def __init__(self) -> None:
        self._chunks: deque[_Chunk] = deque()
        self._open = _Chunk()
        self._kept = 0

    def __len__(self) -> int:
        return self._kept

    def append(self, captured_ms: int, key: str, stamp_ms: int, value: bytes) -> None:
        """Keep the bytes of a read's record."""
        chunk = self._open
        chunk.checksums.append(crc32(key.encode()))
        chunk.stamps_ms.append(stamp_ms)
        chunk.values.append(value)
        self._grown(1, captured_ms)

    def extend(self, latest_ms: int, keys: Iterable[str], stamps_ms: Iterable[int], values: Iterable[bytes]) -> None:
        """Keep the bytes of many, side by side; ``latest_ms``: when the last of them was captured."""
        chunk = self._open
        before = len(chunk.values)
        chunk.checksums.extend(map(crc32, map(str.encode, keys)))
        chunk.stamps_ms.extend(stamps_ms)
        chunk.values.extend(values)
        self._grown(len(chunk.values) - before, latest_ms)

    def _grown(self, count: int, latest_ms: int) -> None:
        chunk = self._open
        self._kept += count
        if latest_ms > chunk.latest_ms:
            chunk.latest_ms = latest_ms
        if len(chunk.values) >= CHUNK_READS:
            chunk.pack()
            self._chunks.append(chunk)
            self._open = _Chunk()

    def of(self, key: str) -> Iterator[tuple[int, bytes]]:
        """Hand out stamp and bytes of the kept records whose plate key may be ``key``: the caller looks at each."""
        pattern = array("I", (crc32(key.encode()),)).tobytes()
        for chunk in (*self._chunks, self._open):
            positions = list(chunk.positions(pattern))
            rows = chunk.rows() if positions else []
            for position in positions:
                yield rows[position]

    def release(self, captured_before_ms: int) -> None:
        """Let go of what was captured before; a chunk goes as one, so a few younger reads delay it."""
        while self._chunks and self._chunks[0].latest_ms < captured_before_ms:
            self._kept -= len(self._chunks.popleft().checksums)
        if self._open.values and self._open.latest_ms < captured_before_ms:
            self._kept -= len(self._open.values)
            self._open = _Chunk()
