"""What a search among the reads of unlisted plates costs, and how much memory they take.

Run ``.venv/bin/python -m tests.bench.unlisted [READS]`` (default 4 000 000). It prints one line for
each search, with the processor time of the whole search and the longest between two yields.
"""

from __future__ import annotations

import gc
import random
import sys
import tracemalloc
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from time import perf_counter, process_time

from streams.bench.traffic import read_of
from streams.core.unlisted_reads import CHUNK_READS, CompressedReads

BATCH = 500
BEGIN_MS = 1_780_000_000_000
HOT = "HOT40"
HOT_READS = 40
NEW_PLATES = 5_000


@dataclass(frozen=True)
class Cost:
    """What one search cost."""

    name: str
    took_ms: float
    longest_ms: float
    """The longest between two yields."""
    unpacked: int
    """Chunks."""
    rows: int


def plate(number: int) -> str:
    return f"K{number:06}"


def filled(number: int) -> CompressedReads:
    """Reads of half a million plates, each with the same chance, and of one plate 40 times."""
    ring, rng = CompressedReads(), random.Random(1)
    hot = set(range(0, number, max(1, number // HOT_READS))[:HOT_READS])
    ramps = [f"I-84-E-{n}-on" for n in range(80)]
    for begin in range(0, number, BATCH):
        numbers = range(begin, min(begin + BATCH, number))
        keys = [HOT if n in hot else plate(rng.randrange(500_000)) for n in numbers]
        values = [
            read_of(key, f"r-{n:012}", BEGIN_MS + 20 * n, rng.choice(ramps))
            for n, key in zip(numbers, keys, strict=True)
        ]
        ring.extend(BEGIN_MS + 20 * numbers[-1], keys, [BEGIN_MS + 20 * n + 700 for n in numbers], values)
    return ring


def cost(ring: CompressedReads, name: str, keys: Collection[str]) -> Cost:
    """The cost of one search: of three, the one that took the least."""
    return min((_cost(ring, name, keys) for _ in range(3)), key=lambda one: one.took_ms)


def _cost(ring: CompressedReads, name: str, keys: Collection[str]) -> Cost:
    longest_s, unpacked, rows = 0.0, 0, 0
    began_s = since_s = process_time()
    for found in ring.search(keys):
        now_s = process_time()
        longest_s, since_s = max(longest_s, now_s - since_s), now_s
        unpacked += bool(found)
        rows += len(found)
    took_s = process_time() - began_s
    return Cost(name, 1000 * took_s, 1000 * longest_s, unpacked, rows)


def costs(ring: CompressedReads) -> Iterator[Cost]:
    """Plates never read, a plate read 40 times, and a batch of 5 000 of which half were read."""
    rng = random.Random(2)
    yield cost(ring, "one plate, never read", ["N0"])
    yield cost(ring, "one plate, read 40 times", [HOT])
    never = [f"N{n:06}" for n in range(NEW_PLATES)]
    yield cost(ring, "5 000 plates, never read", never)
    read = [plate(n) for n in rng.sample(range(500_000), NEW_PLATES // 2)]
    yield cost(ring, "5 000 plates, half of them read", read + never[: NEW_PLATES // 2])
    many = [f"N{n:06}" for n in range(100_000)]
    yield cost(ring, "100 000 plates, never read", many)


def main(number: int = 4_000_000) -> None:
    gc.collect()
    began_s = perf_counter()
    ring = filled(number)
    print(f"{len(ring):,} reads in {len(ring) // CHUNK_READS} chunks, {perf_counter() - began_s:.0f} s to fill")
    print(f"{ring.bytes_kept / len(ring):.1f} bytes a read by its own count")
    for one in costs(ring):
        print(
            f"{one.took_ms:10.2f} ms, longest {one.longest_ms:6.2f} ms, {one.unpacked:5} chunks unpacked, "
            f"{one.rows:7,} rows  {one.name}"
        )
    tracemalloc.start()
    again = filled(100_000)
    allocated, _ = tracemalloc.get_traced_memory()
    print(f"100 000 reads: {again.bytes_kept:,} bytes by its own count, {allocated:,} allocated")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
