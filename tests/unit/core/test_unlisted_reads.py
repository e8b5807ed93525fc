"""Reads of unlisted plates: found exactly, packed by count and by bytes, cheap to miss."""

from __future__ import annotations

import itertools
import tracemalloc
from zlib import crc32

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.core.unlisted_reads import CHUNK_BYTES, CHUNK_READS, SKIPPED_MAX, CompressedReads
from tests.bench.unlisted import BEGIN_MS, HOT, HOT_READS, NEW_PLATES, cost, costs, filled
from tests.lanes import LANE

Row = tuple[int, bytes]
KEYS = [f"P{n}" for n in range(40)]


def value_of(key: str, number: int, padding: int = 0) -> bytes:
    return f"{key} {number} ".encode() + b"x" * padding


def key_of(value: bytes) -> str:
    return value.split()[0].decode()


def found(ring: CompressedReads, *keys: str) -> list[Row]:
    return list(itertools.chain.from_iterable(ring.search(keys)))


def ring_of(keys: list[str], padding: int = 0) -> CompressedReads:
    """A read of each key, its stamp and its time of capture its place in the list."""
    ring = CompressedReads()
    values = [value_of(key, n, padding) for n, key in enumerate(keys)]
    ring.extend(len(keys) - 1, keys, range(len(keys)), values)
    return ring


# Exactness

steps = st.lists(
    st.tuples(st.sampled_from(["append", "extend", "large", "release"]), st.integers(1, 6_000), st.integers(0, 40)),
    min_size=1,
    max_size=12,
)


@settings(deadline=None, max_examples=LANE.ring_examples, suppress_health_check=list(HealthCheck))
@given(steps=steps, wanted=st.sets(st.sampled_from([*KEYS, "N1", "N2"])), random=st.randoms(use_true_random=False))
def test_a_search_finds_what_a_plain_list_holds_in_order_of_arrival(steps, wanted, random):
    ring, rows, released_before_ms = CompressedReads(), [], 0
    for step, number, more in steps:
        if step == "release":
            released_before_ms = max(released_before_ms, len(rows) - number)
            ring.release(released_before_ms)
            continue
        number = {"append": number % 50, "large": more, "extend": number}[step]
        padding = 100_000 if step == "large" else 0
        keys = random.choices(KEYS, k=number)
        added = [(len(rows) + n, value_of(key, len(rows) + n, padding)) for n, key in enumerate(keys)]
        if step == "append":
            for key, (at_ms, value) in zip(keys, added, strict=True):
                ring.append(at_ms, key, at_ms, value)
        elif added:
            # columns may be any iterables, as the engine's are
            ring.extend(added[-1][0], iter(keys), (at_ms for at_ms, _ in added), (value for _, value in added))
        rows += added
    result = found(ring, *wanted)
    assert result == sorted(result)
    assert {crc32(key_of(value).encode()) for _, value in result} <= {crc32(key.encode()) for key in wanted}
    expected = [row for row in rows if key_of(row[1]) in wanted]
    assert [row for row in expected if row[0] >= released_before_ms] == [
        row for row in result if row[0] >= released_before_ms
    ]
    assert set(result) <= set(expected)
    assert len(rows) - released_before_ms <= len(ring) <= len(rows)
    assert len(found(ring, *KEYS)) == len(ring)


def test_few_and_many_keys_find_the_same_reads():
    keys = [f"P{n % 900}" for n in range(3 * CHUNK_READS)]
    ring = ring_of(keys)
    one_by_one = [row for n in range(300) for row in found(ring, f"P{n}")]
    assert sorted(one_by_one) == found(ring, *(f"P{n}" for n in range(300)))
    assert len(one_by_one) == sum(int(key[1:]) < 300 for key in keys)


def test_reads_of_keys_with_one_checksum_are_all_yielded():
    one, other = "plumless", "buckeroo"
    assert crc32(one.encode()) == crc32(other.encode())
    ring = ring_of([one, other] + ["FILLER"] * CHUNK_READS)
    assert found(ring, one) == [(0, value_of(one, 0)), (1, value_of(other, 1))]


def test_nothing_is_found_in_an_empty_ring_or_for_no_keys():
    assert found(CompressedReads(), "P1") == []
    assert found(ring_of(["P1"] * (CHUNK_READS + 1))) == []


# Packing


@pytest.mark.parametrize("way", ["append", "extend"])
def test_large_reads_are_packed_by_their_bytes(way):
    """300 reads of 1 MB, which compress to a few kB, never take more than a few chunks' bytes."""
    value, number = b'{"read_id":"r","more":"' + b"x" * 1_000_000 + b'"}', 300
    ring = CompressedReads()
    tracemalloc.start()
    try:
        if way == "append":
            for n in range(number):
                ring.append(n, "P1", n, value)
        else:
            ring.extend(number, ["P1"] * number, range(number), [value] * number)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(ring) == number
    assert ring.bytes_kept < 2 * CHUNK_BYTES
    assert kept < 2 * CHUNK_BYTES
    assert peak < 10 * CHUNK_BYTES
    assert sum(len(rows) for rows in ring.search(["P1"])) == number
    assert max(len(rows) for rows in ring.search(["P1"])) <= 2


def test_a_chunk_holds_no_more_than_its_reads_however_many_come_at_once():
    rows = list(ring_of(["P1"] * (3 * CHUNK_READS + 5)).search(["P1"]))
    assert [len(chunk) for chunk in rows] == [CHUNK_READS] * 3 + [5]


def test_the_open_chunk_counts_its_bytes_until_they_are_compressed_and_none_when_released():
    ring = ring_of(["P1"] * 10, padding=1_000)
    assert 10_000 < ring.bytes_kept < 12_000
    ring.extend(9, ["P1"] * CHUNK_READS, range(CHUNK_READS), [b"x" * 200] * CHUNK_READS)
    assert len(ring) == CHUNK_READS + 10
    assert ring.bytes_kept < 200 * CHUNK_READS / 10
    ring.release(10)
    assert (len(ring), ring.bytes_kept) == (0, 0)


def test_the_bytes_kept_are_what_is_allocated():
    filled(CHUNK_READS)  # imports numpy
    tracemalloc.start()
    try:
        ring = filled(25 * CHUNK_READS + 2_000)
        allocated, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert ring.bytes_kept == pytest.approx(allocated, rel=0.1)


# A search with other work between its yields


def test_reads_added_and_released_during_a_search_do_not_disturb_it():
    keys = ["P1", "P2"] * (5 * CHUNK_READS)
    ring = ring_of(keys)
    before = len(ring)
    rows = []
    for step, chunk in enumerate(ring.search(["P1"])):
        rows += chunk
        # enough to close the chunk that was open when the search began
        ring.extend(10**9, ["P1"] * 3_000, range(10**9, 10**9 + 3_000), [b"P1 later"] * 3_000)
        ring.append(10**9, "P1", 10**9, b"P1 later")
        if step == 2:
            ring.release(10**8)
    own = [row for row in rows if row[0] < before]
    assert own == [(n, value_of("P1", n)) for n in range(0, before, 2)]
    assert all(value == b"P1 later" for _, value in rows[len(own) :])
    assert {at_ms for at_ms, _ in found(ring, "P2")} <= set(range(before))


def test_a_search_begins_with_what_is_kept_when_it_is_called():
    ring = ring_of(["P1"] * 10)
    search = ring.search(["P1"])
    ring.release(10**6)
    ring.append(10**6, "P2", 10**6, b"P2")
    assert [row for rows in search for row in rows] == [(n, value_of("P1", n)) for n in range(10)]


def test_a_search_yields_after_every_so_many_skipped_chunks():
    ring = ring_of(["FILLER"] * (70 * CHUNK_READS + 1))
    assert list(ring.search(["N1"])) == [[]] * (71 // SKIPPED_MAX)
    assert len(list(ring.search([f"N{n}" for n in range(5_000)]))) == 71 // SKIPPED_MAX


# Cost


def test_the_cost_of_searches_by_the_number_of_reads():
    """Bounds are about ten times what an idle machine needs."""
    ring = filled(LANE.ring_reads)
    chunks = LANE.ring_reads // CHUNK_READS + 1
    never, hot, many_never, half, _ = costs(ring)
    assert (never.rows, many_never.rows) == (0, 0)
    assert never.took_ms < 1 + chunks * 0.005
    assert many_never.took_ms < 20 + chunks * 1
    assert hot.rows == HOT_READS
    assert hot.unpacked <= HOT_READS
    assert hot.took_ms < 5 + HOT_READS * 5 + never.took_ms
    assert half.rows == pytest.approx(LANE.ring_reads * (NEW_PLATES / 2) / 500_000, rel=0.2)
    assert half.took_ms < 20 + chunks * 10
    assert max(one.longest_ms for one in (never, hot, many_never, half)) < 100


def test_a_miss_hardly_grows_with_the_reads_of_a_plate():
    ring = ring_of([HOT] * (40 * CHUNK_READS))
    assert cost(ring, "one plate, never read", ["N0"]).took_ms < 2
    assert sum(len(rows) for rows in ring.search([HOT])) == len(ring)


def test_a_kept_read_of_typical_length_takes_less_than_48_bytes():
    ring = filled(50 * CHUNK_READS)
    assert ring.bytes_kept / len(ring) < 48
    ring.release(BEGIN_MS + 10**9)
    assert (len(ring), ring.bytes_kept) == (0, 0)
