"""Reads of plates that are not listed, compressed until they expire: a theft may be reported later.

Almost every read is of such a plate, so keeping one must cost little time and memory. The bytes of
the records are appended to an open chunk. A full chunk is compressed; beside the compressed bytes
it keeps the checksums of its plate keys, sorted, each with its read's position. So a chunk without
a plate is skipped for a fraction of a microsecond, and of one that has it only the reads in
question are sliced. A chunk is released when the last of its reads has expired.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final
from zlib import crc32

import cramjam

CHUNK_READS: Final = 4096
"""Reads per chunk: enough to compress well, few enough to unpack in a millisecond and to number in
two bytes."""
CHUNK_BYTES: Final = 2**20
"""A chunk whose values have so many bytes is full as well, however few its reads are."""
SKIPPED_MAX: Final = 32
"""Chunks that `CompressedReads.search` skips at most between two yields."""
_STAMP_BYTES: Final = 8
_LENGTH_BYTES: Final = 4
_FEW: Final = 64
"""So many checksums are faster to look up one by one than to intersect with all of a chunk."""
_OPEN_ROW_BYTES: Final = 72
"""A row of the open chunk beside its value: object header, allocator's rounding, columns."""
_CHUNK_OVERHEAD_BYTES: Final = 400


class _OpenChunk:
    """Reads in order of arrival, as columns: checksums of plate keys, stamps, lengths, values."""

    __slots__ = ("checksums", "latest_ms", "lengths", "stamps_ms", "value_bytes", "values")

    def __init__(self) -> None:
        self.checksums: array[int] = array("I")
        self.stamps_ms: array[int] = array("q")
        self.lengths: array[int] = array("I")
        self.values: list[bytes] = []
        self.value_bytes = 0
        self.latest_ms = -(2**62)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def bytes_kept(self) -> int:
        return self.value_bytes + _OPEN_ROW_BYTES * len(self.values)

    def rows(self, wanted: frozenset[int]) -> list[tuple[int, bytes]] | None:
        """Return stamp and value of the reads whose checksum is wanted; None: there are none."""
        positions = [n for n, checksum in enumerate(self.checksums) if checksum in wanted]
        return [(self.stamps_ms[n], self.values[n]) for n in positions] or None


class _Chunk:
    """A full chunk, compressed."""

    __slots__ = ("_checksums", "_compressed", "_positions", "latest_ms")

    def __init__(self, full: _OpenChunk) -> None:
        import numpy  # takes a tenth of a second to import, so only where there are many reads

        # Sorted together as one number each: thirty times as fast as sorting in Python.
        pairs = numpy.frombuffer(full.checksums, dtype=numpy.uint32).astype(numpy.uint64)
        pairs <<= numpy.uint64(16)
        pairs |= numpy.arange(len(pairs), dtype=numpy.uint64)
        pairs.sort()
        self._checksums = array("I", (pairs >> numpy.uint64(16)).astype(numpy.uint32).tobytes())
        self._positions = array("H", pairs.astype(numpy.uint16).tobytes())
        # Zstandard at level 1 takes a third of zlib's time and a quarter less space. In order of
        # arrival the records compress better, by 3 bytes a read, than in order of checksums.
        columns = (full.stamps_ms.tobytes(), full.lengths.tobytes(), *full.values)
        self._compressed = bytes(cramjam.zstd.compress(b"".join(columns), 1))
        self.latest_ms = full.latest_ms

    def __len__(self) -> int:
        return len(self._checksums)

    @property
    def bytes_kept(self) -> int:
        index_bytes = (self._checksums.itemsize + self._positions.itemsize) * len(self)
        return len(self._compressed) + index_bytes + _CHUNK_OVERHEAD_BYTES

    def rows(self, wanted: frozenset[int]) -> list[tuple[int, bytes]] | None:
        """Return stamp and value of the reads whose checksum is wanted; None: there are none."""
        checksums = self._checksums
        positions = []
        for checksum in wanted if len(wanted) <= _FEW else wanted.intersection(checksums):
            at = bisect_left(checksums, checksum)
            while at < len(checksums) and checksums[at] == checksum:
                positions.append(self._positions[at])
                at += 1
        return self._unpack(sorted(positions)) if positions else None

    def _unpack(self, positions: Sequence[int]) -> list[tuple[int, bytes]]:
        data = memoryview(cramjam.zstd.decompress(self._compressed))
        stamps_end = _STAMP_BYTES * len(self)
        lengths_end = stamps_end + _LENGTH_BYTES * len(self)
        stamps_ms = data[:stamps_end].cast("q")
        ends = list(accumulate(data[stamps_end:lengths_end].cast("I"), initial=lengths_end))
        return [(stamps_ms[n], bytes(data[ends[n] : ends[n + 1]])) for n in positions]


class CompressedReads:
    """Records of reads by plate key, oldest first, released by the watermark."""

    def __init__(self) -> None:
        self._chunks: deque[_Chunk] = deque()
        self._open = _OpenChunk()
        self._count = 0
        self._chunk_bytes = 0
        self.appended = 0
        """How many reads were ever added."""

    def __len__(self) -> int:
        return self._count

    @property
    def bytes_kept(self) -> int:
        """The memory that the reads take, in bytes; within a tenth for many reads."""
        return self._chunk_bytes + self._open.bytes_kept

    def append(self, captured_ms: int, key: str, stamp_ms: int, value: bytes) -> None:
        """Add the record of one read."""
        chunk, length = self._open, len(value)
        chunk.checksums.append(crc32(key.encode()))
        chunk.stamps_ms.append(stamp_ms)
        chunk.lengths.append(length)
        chunk.values.append(value)
        self._added(1, length, captured_ms)

    def extend(self, latest_ms: int, keys: Iterable[str], stamps_ms: Iterable[int], values: Iterable[bytes]) -> None:
        """Add the records of many reads, as columns; ``latest_ms``: the last time of capture."""
        values = list(values)
        lengths = list(map(len, values))
        checksums = list(map(crc32, map(str.encode, keys)))
        stamps_ms = list(stamps_ms)
        begin = 0
        while begin < len(values):
            end, size = self._fitting(lengths, begin)
            chunk = self._open
            chunk.checksums.extend(checksums[begin:end])
            chunk.stamps_ms.extend(stamps_ms[begin:end])
            chunk.lengths.extend(lengths[begin:end])
            chunk.values.extend(values[begin:end])
            self._added(end - begin, size, latest_ms)
            begin = end

    def _fitting(self, lengths: Sequence[int], begin: int) -> tuple[int, int]:
        """Return the end of the values from ``begin`` that fill the open chunk, and their bytes."""
        used = self._open.value_bytes
        lengths = lengths[begin : begin + CHUNK_READS - len(self._open)]
        size = sum(lengths)
        if used + size < CHUNK_BYTES:
            return begin + len(lengths), size
        sizes = list(accumulate(lengths, initial=used))
        number = bisect_left(sizes, CHUNK_BYTES)
        return begin + number, sizes[number] - used

    def _added(self, number: int, size: int, latest_ms: int) -> None:
        chunk = self._open
        self._count += number
        self.appended += number
        chunk.value_bytes += size
        if latest_ms > chunk.latest_ms:
            chunk.latest_ms = latest_ms
        if len(chunk.values) >= CHUNK_READS or chunk.value_bytes >= CHUNK_BYTES:
            full = _Chunk(chunk)
            self._chunks.append(full)
            self._chunk_bytes += full.bytes_kept
            # A search under way still has the old one, so that is left as it is.
            self._open = _OpenChunk()

    def search(self, keys: Collection[str]) -> Iterator[list[tuple[int, bytes]]]:
        """Yield stamps and values of the records that may have one of these plate keys.

        Different keys can have the same checksum, so the caller must check each record's key. All
        keys take one pass over the chunks. It yields after each chunk that it unpacked, and an
        empty list after every `SKIPPED_MAX` that it skipped, so that the caller can do other work
        between two chunks: reads may be added and released meanwhile. Yielded are the reads kept at
        the time of the call; of those added or released since, some may be yielded.
        """
        wanted = frozenset(map(crc32, map(str.encode, keys)))
        return _search((*self._chunks, self._open), wanted)

    def release(self, captured_before_ms: int) -> None:
        """Release the chunks whose reads were all captured before a time."""
        while self._chunks and self._chunks[0].latest_ms < captured_before_ms:
            released = self._chunks.popleft()
            self._count -= len(released)
            self._chunk_bytes -= released.bytes_kept
        if len(self._open) and self._open.latest_ms < captured_before_ms:
            self._count -= len(self._open)
            self._open = _OpenChunk()


def _search(chunks: Iterable[_Chunk | _OpenChunk], wanted: frozenset[int]) -> Iterator[list[tuple[int, bytes]]]:
    skipped = 0
    for chunk in chunks:
        rows = chunk.rows(wanted)
        skipped = skipped + 1 if rows is None else 0
        if rows is not None:
            yield rows
        elif skipped % SKIPPED_MAX == 0:
            yield []
