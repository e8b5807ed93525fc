"""What aiokafka cannot read costs one record or one batch, and a bounded amount of memory."""

from __future__ import annotations

import gc
import gzip
import random
import struct
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import cramjam
import pytest
from aiokafka import TopicPartition
from aiokafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder

from streams.worker.aiokafka_patch import FETCH_EXPANDED_BYTES_MAX, tolerate_unreadable_records
from streams.worker.batch_reader import HEADERS_MAX, RECORDS_MAX
from streams.worker.decompress import EXPANDED_BYTES_MAX
from streams.worker.records import Unreadable, core_record
from tests.drivers.batches import (
    GZIP,
    HEADER_BYTES,
    LZ4,
    SNAPPY,
    ZSTD,
    batch,
    built,
    record,
    varint,
    with_checksum,
)

TP = TopicPartition("topic", 3)
BAD_NAME = [(b"caf\xe9", b"x"), (b"good", None)]
CODECS = {GZIP: gzip_encode, SNAPPY: snappy_encode, LZ4: lz4_encode, ZSTD: zstd_encode}


@pytest.fixture(autouse=True)
def tolerant() -> Iterator[None]:
    stock = fetcher.MemoryRecords, PartitionRecords._unpack_records
    tolerate_unreadable_records()
    yield
    fetcher.MemoryRecords, PartitionRecords._unpack_records = stock


def unpacked(fetched: bytes, since: int = 0, isolation: int = fetcher.READ_UNCOMMITTED) -> tuple[list[Any], int]:
    """The rows of a fetch, and the offset of the next one."""
    records = fetcher.MemoryRecords(fetched)
    rows = PartitionRecords(TP, records, None, since, None, None, True, isolation)
    return list(rows), rows.next_fetch_offset


def mark(row: Any) -> tuple[int, str] | None:
    """How many records a row that could not be read stands for, and why; None if it was read."""
    if row.headers and type(row.headers[0][0]) is Unreadable:
        return row.headers[0][0].records, row.headers[0][1].decode()
    return None


def short(rows: list[Any]) -> list[tuple[int, bytes | None, int]]:
    """Offset, value, and how many records an unreadable row stands for (else 0)."""
    return [(row.offset, row.value, (mark(row) or (0,))[0]) for row in rows]


# ---------------------------------------------------------------------- what is readable


@pytest.mark.parametrize("codec", [0, *CODECS])
@pytest.mark.parametrize("since", [0, 7, 110, 190])
def test_a_good_fetch_is_what_aiokafka_makes_of_it(codec: int, since: int) -> None:
    values = [None if n % 5 == 0 else b'{"n": %d}' % n for n in range(100)]
    fetched = built(values, codec) + built(values, codec, base=100)
    rows, following = unpacked(fetched, since)
    assert following == 200
    assert [row.offset for row in rows] == list(range(since, 200))
    assert [(row.value, row.key, row.timestamp) for row in rows] == [
        (values[n % 100], b"k", 1_000 + n % 100) for n in range(since, 200)
    ]
    assert [row.headers for row in rows] == [
        (("name", b"text"),) if n % 100 % 3 == 0 else () for n in range(since, 200)
    ]


@pytest.mark.parametrize("codec", [0, *CODECS])
def test_a_header_name_that_is_not_utf_8_costs_nothing(codec: int) -> None:
    records = [record(0, b"a"), record(1, b"b", BAD_NAME, b"key"), record(2, b"c")]
    packed = CODECS[codec](b"".join(records)) if codec else None
    rows, following = unpacked(batch(records, base=40, codec=codec, packed=packed), 40)
    assert short(rows) == [(40, b"a", 0), (41, b"b", 0), (42, b"c", 0)]
    assert (rows[1].headers, rows[1].key, rows[1].timestamp) == (
        (("caf\\xe9", b"x"), ("good", None)),
        b"key",
        1_000,
    )
    assert following == 43


# ---------------------------------------------------------------------- one record


BAD_INSIDES = {
    "a key longer than the record": b"\x00" + varint(0) + varint(1) + varint(900),
    "a value longer than the record": b"\x00" + varint(0) + varint(1) + varint(-1) + varint(2**31 - 1),
    "a negative number of headers": b"\x00" + varint(0) + varint(1) + varint(-1) * 2 + varint(-1),
    "a header without a name": b"\x00" + varint(0) + varint(1) + varint(-1) * 2 + varint(1) + varint(-1) * 2,
    "bytes after the headers": b"\x00" + varint(0) + varint(1) + varint(-1) * 2 + varint(0) + b"more",
    "a number without an end": b"\xff" * 30,
    "too many headers": b"\x00" + varint(0) + varint(1) + varint(-1) * 2 + varint(HEADERS_MAX + 1)
    + b"\x00\x01" * (HEADERS_MAX + 1),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_INSIDES)
def test_bad_insides_cost_that_record(name: str) -> None:
    bad = varint(len(BAD_INSIDES[name])) + BAD_INSIDES[name]
    rows, following = unpacked(batch([record(0, b"a"), bad, record(2, b"c")], base=10), 10)
    assert short(rows) == [(10, b"a", 0), (11, bad, 1), (12, b"c", 0)]
    assert following == 13
    reason = mark(rows[1])
    assert reason is not None
    assert ("headers; send fewer" in reason[1]) == (name == "too many headers")


@pytest.mark.parametrize("deltas", [(0, 0, 0), (0, 2**31 - 1, 2), (2, 1, 0), (-5, 1, 2), (0, 2, 1)])
def test_records_with_offsets_that_are_not_theirs_have_those_the_broker_counted(deltas: tuple[int, ...]) -> None:
    """Otherwise a consumer would skip them, or go where the topic has not been yet."""
    records = [record(delta, b"%d" % n) for n, delta in enumerate(deltas)]
    rows, following = unpacked(batch(records, base=100), 100)
    assert short(rows) == [(100, b"0", 0), (101, b"1", 0), (102, b"2", 0)]
    assert following == 103


def test_a_compacted_batch_keeps_the_offsets_of_its_records() -> None:
    records = [record(2, b"a"), record(5, b"b", BAD_NAME), record(8, b"c")]
    raw = bytearray(batch(records, base=10))
    struct.pack_into(">i", raw, 23, 9)  # the last offset is 19
    assert short(unpacked(with_checksum(bytes(raw)), 10)[0]) == [(12, b"a", 0), (15, b"b", 0), (18, b"c", 0)]
    rows, following = unpacked(with_checksum(bytes(raw)), 13)
    assert short(rows) == [(15, b"b", 0), (18, b"c", 0)]
    assert following == 20


@pytest.mark.parametrize("length", [10**6, -1, -(2**31)])
def test_after_a_length_that_cannot_be_the_rest_of_the_batch_is_one_row(length: int) -> None:
    rest = varint(length) + b"?" * 20
    raw = batch([record(0, b"a"), rest, b"", b""], base=10) + batch([record(0, b"next")], base=14)
    rows, following = unpacked(raw, 10)
    assert short(rows) == [(10, b"a", 0), (13, rest, 3), (14, b"next", 0)]
    assert following == 15


# ---------------------------------------------------------------------- one batch


def test_a_damaged_batch_is_one_row_and_the_next_batch_is_read() -> None:
    damaged = bytearray(batch([record(n, b"abc") for n in range(4)], base=10))
    damaged[-3] ^= 1
    rows, following = unpacked(bytes(damaged) + batch([record(0, b"next")], base=14), 10)
    assert short(rows) == [(13, bytes(damaged), 4), (14, b"next", 0)]
    assert rows[0].timestamp == -1  # it may be what is damaged
    assert following == 15
    assert short(unpacked(bytes(damaged), 12)[0]) == [(13, bytes(damaged), 2)]


def test_a_damaged_count_does_not_step_over_other_batches() -> None:
    damaged = bytearray(batch([record(0, b"a")], base=10))
    struct.pack_into(">i", damaged, 23, 2**31 - 1)
    assert short(unpacked(bytes(damaged), 10)[0]) == [(10, bytes(damaged), 1)]
    rows, following = unpacked(bytes(damaged) + batch([record(0, b"next")], base=11), 10)
    assert short(rows) == [(10, bytes(damaged), 1), (11, b"next", 0)]
    assert following == 12


@pytest.mark.parametrize("codec", [*CODECS, 5, 7])
def test_a_batch_that_cannot_be_decompressed_is_one_row(codec: int) -> None:
    raw = batch([b""] * 3, base=10, codec=codec, packed=b"\x00" * 5 + b"no such stream")
    rows, following = unpacked(raw + batch([record(0, b"next")], base=13), 10)
    assert short(rows) == [(12, raw, 3), (13, b"next", 0)]
    assert following == 14


@pytest.mark.parametrize("codec", CODECS)
def test_a_truncated_stream_is_one_row(codec: int) -> None:
    packed = CODECS[codec](b"".join(record(n, b"%d" % n * 40) for n in range(50)))
    raw = batch([b""] * 50, codec=codec, packed=packed[: len(packed) // 2])
    assert short(unpacked(raw)[0]) == [(49, raw, 50)]


def bomb(codec: int, expanded_bytes: int) -> bytes:
    """Zeros, compressed."""
    zeros = bytes(2**20)
    if codec == GZIP:
        return gzip.compress(bytes(expanded_bytes), 1)
    if codec == SNAPPY:
        block = bytes(cramjam.snappy.compress_raw(zeros))
        blocks = (struct.pack(">i", len(block)) + block) * (expanded_bytes // 2**20)
        return b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1) + blocks
    return bytes((cramjam.lz4 if codec == LZ4 else cramjam.zstd).compress(bytes(expanded_bytes)))


@pytest.mark.parametrize("codec", CODECS)
def test_a_batch_that_expands_beyond_the_bound_is_one_row_and_takes_no_more_memory(codec: int) -> None:
    raw = batch([b""] * 7, base=10, codec=codec, packed=bomb(codec, 16 * EXPANDED_BYTES_MAX))
    tracemalloc.start()
    try:
        rows, following = unpacked(raw, 10)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert short(rows) == [(16, raw, 7)]
    assert following == 17
    assert "smaller batches" in str(mark(rows[0]))
    # the zeros are never there all at once, whoever allocates them
    assert peak_bytes < 3 * EXPANDED_BYTES_MAX


@pytest.mark.parametrize("codec", CODECS)
def test_a_batch_just_within_the_bound_is_read(codec: int) -> None:
    value = bytes(EXPANDED_BYTES_MAX - 100)
    raw = batch([b""], codec=codec, packed=CODECS[codec](record(0, value)))
    (row,), _ = unpacked(raw)
    assert row.value == value
    raw = batch([b""], codec=codec, packed=CODECS[codec](record(0, value + bytes(100))))
    (row,), _ = unpacked(raw)
    assert mark(row) is not None


def test_what_one_fetch_expands_to_is_bounded_and_the_rest_is_fetched_again() -> None:
    one = batch([b""], codec=ZSTD, packed=zstd_encode(record(0, bytes(20 * 2**20))))
    fetched = b"".join(struct.pack(">q", n) + one[8:] for n in range(20))
    rows, following = unpacked(fetched)
    assert [row.offset for row in rows] == [0, 1]
    assert following == 2
    assert sum(len(row.value) for row in rows) > FETCH_EXPANDED_BYTES_MAX
    rows, following = unpacked(fetched, 19)
    assert [row.offset for row in rows] == [19]


def test_a_batch_with_too_many_records_is_one_row() -> None:
    records = [record(n, b"") for n in range(RECORDS_MAX + 1)]
    raw = batch(records)
    assert short(unpacked(raw)[0]) == [(RECORDS_MAX, raw, RECORDS_MAX + 1)]


def test_a_record_of_headers_alone_takes_bounded_memory() -> None:
    """Sixteen million headers are a gigabyte of objects."""
    headers = 8 * 2**20
    body = b"\x00" + varint(0) + varint(1) + varint(-1) * 2 + varint(headers) + b"\x00\x01" * headers
    large = varint(len(body)) + body
    raw = batch([record(0, b"a"), large, record(2, b"c")])
    tracemalloc.start()
    try:
        rows, _ = unpacked(raw)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert short(rows) == [(0, b"a", 0), (1, large, 1), (2, b"c", 0)]
    assert peak_bytes < 3 * len(raw)


def test_bytes_that_are_no_batch_cost_one_offset() -> None:
    fetched = batch([record(0, b"a")], base=10) + struct.pack(">qi", 11, -12) + bytes(100)
    rows, following = unpacked(fetched, 10)
    assert [(row.offset, mark(row) is not None) for row in rows] == [(10, False), (11, True)]
    assert following == 12
    assert unpacked(struct.pack(">qi", 0, 500) + bytes(40)) == ([], 0)  # less than a batch


@pytest.mark.parametrize("magic", [0, 1])
def test_a_damaged_message_of_an_old_format_costs_that_message(magic: int) -> None:
    builder = LegacyRecordBatchBuilder(magic, 0, 2**20)
    for n in range(3):
        builder.append(n, 1_000, b"k", b"value")
    whole = bytes(builder.build())
    size = len(whole) // 3
    assert short(unpacked(whole)[0]) == [(n, b"value", 0) for n in range(3)]
    damaged = bytearray(whole)
    damaged[size + size - 2] ^= 1
    rows, following = unpacked(bytes(damaged))
    assert short(rows) == [(0, b"value", 0), (1, bytes(damaged[size : 2 * size]), 1), (2, b"value", 0)]
    assert following == 3


def test_a_bomb_in_an_old_format_is_one_row() -> None:
    builder = LegacyRecordBatchBuilder(1, GZIP, 2**30)
    for n in range(3):
        builder.append(n, 1_000, b"k", bytes(EXPANDED_BYTES_MAX // 2))
    raw = bytes(builder.build())
    (row,), following = unpacked(raw)
    assert (row.value, following) == (raw, row.offset + 1)
    assert "smaller batches" in str(mark(row))


# ---------------------------------------------------------------------- any bytes


@pytest.mark.parametrize("codec", [0, *CODECS])
def test_any_mutation_gives_rows_with_growing_offsets_and_never_an_error(codec: int) -> None:
    for seed in range(400):
        rng = random.Random(1_000 * codec + seed)
        count = rng.randrange(1, 30)
        raw = bytearray(built([rng.randbytes(rng.randrange(40)) for _ in range(count)], codec, base=50))
        for _ in range(rng.choice((1, 1, 2, 8))):
            raw[rng.randrange(21, len(raw))] ^= 1 << rng.randrange(8)
        mutated = with_checksum(bytes(raw)) if rng.random() < 0.9 else bytes(raw)
        if rng.random() < 0.1:
            mutated = mutated[: rng.randrange(len(mutated))]
        fetched = built([b"before"], codec, base=49) + mutated + built([b"after"] * 2, 0, base=50 + count)
        since = rng.choice((0, 49, 50, 50 + count // 2))
        rows, following = unpacked(fetched, since)
        offsets = [row.offset for row in rows]
        assert offsets == sorted(set(offsets)), seed
        assert all(offset >= since for offset in offsets), seed
        assert not offsets or following > offsets[-1], seed


def test_a_batch_whose_records_are_all_unreadable_takes_time_in_proportion_to_its_bytes() -> None:
    def took_s(count: int) -> float:
        bad = [varint(30) + b"\xff" * 30] * count
        raw = batch(bad)
        best = 1e9
        for _ in range(3):
            began = time.process_time()
            rows, _ = unpacked(raw)
            best = min(best, time.process_time() - began)
            assert len(rows) == count
        return best

    gc.disable()  # its time depends on what other tests have left in memory
    try:
        assert took_s(40_000) < 8 * took_s(10_000)
    finally:
        gc.enable()


def test_an_unreadable_row_is_a_record_that_no_producer_can_send() -> None:
    (row,), _ = unpacked(batch([b""] * 3, codec=GZIP, packed=b"?"))
    record_ = core_record("", "topic", 3, row.offset, row.timestamp, row.key, row.value, row.headers)
    assert (record_.stands_for, record_.unreadable[:9]) == (3, "its batch")
    ((name, text),) = row.headers
    sent = core_record("", "topic", 3, 0, 0, None, b"{}", [(str(name), text)])
    assert (sent.stands_for, sent.unreadable) == (1, "")


def test_the_header_of_a_batch_is_as_long_as_these_tests_say() -> None:
    assert len(batch([])) == HEADER_BYTES
