"""Reads of plates that nobody lists, kept small until their time is up: a theft may be reported hours later.

Almost every read is of such a plate, so keeping one must cost little time and few bytes. The records' own bytes are
appended to a chunk; a full chunk is compressed, and its plates stay findable through eight bytes each. When a plate is
listed, `of` unpacks the chunks that hold it, which is rare. A chunk goes when the last of its reads may go.
"""

from __future__ import annotations

import zlib
from array import array
from collections import deque
from collections.abc import Iterator
from struct import Struct
from typing import Final

CHUNK_READS: Final = 4096
"""Reads compressed together: enough that they resemble each other, few enough to unpack in milliseconds."""
_HEAD: Final = Struct("<qI")
"""Before each record's bytes: its stamp, and how many bytes follow."""
_KEY_BYTES: Final = 8


class _Chunk:
    """Reads in the order they came: what their plates hash to, and their records' bytes."""

    __slots__ = ("hashes", "latest_ms", "packed", "rows")

    def __init__(self) -> None:
        self.hashes: array[int] = array("q")
        self.rows: list[bytes] = []
        self.packed = b""
        self.latest_ms = -(2**62)

    def pack(self) -> None:
        self.packed = zlib.compress(b"".join(self.rows), 1)
        self.rows = []

    def unpacked(self) -> list[bytes]:
        """The rows again, each with its head."""
        if not self.packed:
            return self.rows
        data = zlib.decompress(self.packed)
        rows, at = [], 0
        while at < len(data):
            end = at + _HEAD.size + _HEAD.unpack_from(data, at)[1]
            rows.append(data[at:end])
            at = end
        return rows

    def positions(self, pattern: bytes) -> Iterator[int]:
        """Where in the chunk this hash stands."""
        hashes = self.hashes.tobytes()
        at = hashes.find(pattern)
        while at >= 0:
            if at % _KEY_BYTES == 0:
                yield at // _KEY_BYTES
            at = hashes.find(pattern, at + 1)


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
        chunk.hashes.append(hash(key))
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
        pattern = array("q", (hash(key),)).tobytes()
        for chunk in (*self._chunks, self._open):
            positions = list(chunk.positions(pattern))
            rows = chunk.unpacked() if positions else []
            for position in positions:
                row = rows[position]
                yield _HEAD.unpack_from(row)[0], row[_HEAD.size :]

    def release(self, captured_before_ms: int) -> None:
        """Let go of what was captured before; a chunk goes as one, so a few younger reads delay it."""
        while self._chunks and self._chunks[0].latest_ms < captured_before_ms:
            self._kept -= len(self._chunks.popleft().hashes)
        if self._open.rows and self._open.latest_ms < captured_before_ms:
            self._kept -= len(self._open.rows)
            self._open = _Chunk()
