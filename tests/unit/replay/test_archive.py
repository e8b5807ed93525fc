"""Archives: which fields are optional, what is derived, and the order of the records."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.events import Record
from streams.core.plates import plate_key
from streams.core.topics import ACTIONS, HITS, READS, SHOTS
from streams.kafka.partitioner import partition_of
from streams.replay.archive import (
    Line,
    _read_line,
    line_with,
    read_archive,
    read_lines,
    topic_file,
    value_of,
)
from streams.replay.errors import ArchiveError

READ = {"read_id": "R", "plate": "T0-Y", "captured_at_ms": 50, "ramp_id": "r", "camera_id": "c", "confidence": 0.9}
SHOT = {"alert_id": "S", "kind": "single_gunshot", "occurred_at_ms": 70, "lat": 41.7, "lon": -72.6}
HIT = {"hit_id": "H", "plate": "T0-Y", "reported_at_ms": 60}
ACTION = {"action_id": "A", "incident_id": "I", "kind": "dismiss", "by": "someone", "at_ms": 80}


def write(folder: Path, topic: str, *lines: Any) -> Path:
    file = folder / f"{topic}.jsonl"
    file.write_bytes(
        b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)
    )
    return file


def records(folder: Path, *lines: Any, topic: str = READS, partitions: int = 1) -> list[Record]:
    write(folder, topic, *lines)
    return read_archive(folder, partitions)


def test_the_fields_of_a_line_are_used(tmp_path):
    line = {"partition": 4, "offset": 9, "timestamp_ms": 99, "key": "K", "headers": {"h": "v"}, "value": READ}
    (record,) = records(tmp_path, line)
    assert (record.topic, record.partition, record.offset, record.stamp_ms) == (READS, 4, 9, 99)
    assert json.loads(record.value or b"") == READ


@pytest.mark.parametrize(
    ("topic", "value", "at_ms"), [(READS, READ, 50), (HITS, HIT, 60), (SHOTS, SHOT, 70), (ACTIONS, ACTION, 80)]
)
def test_a_missing_stamp_defaults_to_the_event_time(tmp_path, topic, value, at_ms):
    (record,) = records(tmp_path, {"value": value}, topic=topic)
    assert (record.stamp_ms, record.offset) == (at_ms, 0)


@pytest.mark.parametrize(
    ("topic", "value", "key"),
    [(READS, READ, plate_key("T0Y")), (HITS, HIT, plate_key("T0Y")), (SHOTS, SHOT, "S"), (ACTIONS, ACTION, "I")],
)
def test_a_missing_partition_is_derived_from_the_key_of_the_event(tmp_path, topic, value, key):
    (record,) = records(tmp_path, {"value": value}, topic=topic, partitions=97)
    assert record.partition == partition_of(key, 97)


def test_a_given_key_determines_the_partition(tmp_path):
    (record,) = records(tmp_path, {"key": "another", "value": READ}, partitions=97)
    assert record.partition == partition_of("another", 97)


def test_missing_offsets_count_from_zero_in_each_partition_in_file_order(tmp_path):
    lines = [{"partition": n % 2, "timestamp_ms": 9 - n, "value": READ} for n in range(4)]
    found = records(tmp_path, *lines)
    assert sorted((r.partition, r.offset, r.stamp_ms) for r in found) == [(0, 0, 9), (0, 1, 7), (1, 0, 8), (1, 1, 6)]


def test_missing_offsets_continue_from_the_last_given_one(tmp_path):
    found = records(tmp_path, {"offset": 7, "value": READ}, {"value": READ}, {"value": READ})
    assert [record.offset for record in found] == [7, 8, 9]


def test_records_are_sorted_by_stamp_topic_partition_and_offset(tmp_path):
    write(tmp_path, ACTIONS, {"timestamp_ms": 5, "value": ACTION})
    write(tmp_path, SHOTS, {"timestamp_ms": 5, "value": SHOT})
    places = [(5, 1, 3), (5, 0, 4), (5, 1, 2), (4, 9, 9)]
    write(tmp_path, HITS, *[{"timestamp_ms": s, "partition": p, "offset": o, "value": HIT} for s, p, o in places])
    found = [(r.stamp_ms, r.topic, r.partition, r.offset) for r in read_archive(tmp_path, 1)]
    hits = [(5, HITS, 0, 4), (5, HITS, 1, 2), (5, HITS, 1, 3)]
    assert found == [(4, HITS, 9, 9), (5, SHOTS, 0, 0), *hits, (5, ACTIONS, 0, 0)]


def test_a_record_without_a_time_gets_the_stamp_of_the_previous_one(tmp_path):
    found = records(tmp_path, {"value": READ}, {"value": {}}, {"timestamp_ms": 90, "value": []}, b"broken")
    assert [record.stamp_ms for record in found] == [50, 50, 90, 90]


def test_bytes_that_are_not_json_are_read_unchanged(tmp_path):
    raw = bytes(range(256))
    (record,) = records(tmp_path, {"timestamp_ms": 1, "value_base64": base64.b64encode(raw).decode()})
    assert record.value == raw


def test_a_value_keeps_its_exact_bytes(tmp_path):
    (record,) = records(tmp_path, b'{"timestamp_ms": 1, "value": { "lat":1e0,  "a":"\\u00e9" }}')
    assert record.value == b'{ "lat":1e0,  "a":"\\u00e9" }'


def test_blank_lines_are_skipped_and_windows_line_ends_are_accepted(tmp_path):
    found = records(tmp_path, b"", b"  ", json.dumps({"value": READ}).encode() + b"\r", b"")
    assert len(found) == 1


@pytest.mark.parametrize(
    "line", [b"x", b"{}", b'{"value_base64":"*"}', b'{"offset":"1","value":1}', b'{"value":', b"\xff"]
)
def test_an_invalid_line_becomes_a_record_with_its_raw_bytes(tmp_path, line):
    assert [record.value for record in records(tmp_path, line)] == [line]


def test_a_folder_without_an_archive_is_reported(tmp_path):
    with pytest.raises(ArchiveError, match=r"not an archive; it contains none of shot-spotter-alerts\.jsonl"):
        read_archive(tmp_path, 1)
    with pytest.raises(ArchiveError, match="no such folder"):
        read_archive(tmp_path / "gone", 1)


def test_a_topic_that_is_both_plain_and_compressed_is_rejected(tmp_path):
    packed = tmp_path / f"{READS}.jsonl.gz"
    packed.write_bytes(gzip.compress(b"x\n"))
    assert topic_file(tmp_path, READS) == packed
    assert topic_file(tmp_path, HITS) is None
    write(tmp_path, READS, {"value": READ})
    with pytest.raises(ArchiveError, match="twice"):
        topic_file(tmp_path, READS)


@pytest.mark.parametrize(
    "line",
    [
        {"headers": {"a": None}},
        {"value_base64": None},
        {"timestamp_ms": -1},
        {"key": None, "offset": None, "partition": None, "timestamp_ms": None},
    ],
    ids=str,
)
def test_null_and_negative_fields_of_a_line_are_ignored(tmp_path, line):
    write(tmp_path, READS, {"value": READ, **line})
    [record] = read_archive(tmp_path, 12)
    assert type(record) is Record
    assert record.stamp_ms == READ["captured_at_ms"]


def test_a_byte_order_mark_at_the_start_of_a_file_is_ignored(tmp_path):
    file = write(tmp_path, READS, {"value": READ})
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert [type(record) for record in read_archive(tmp_path, 12)] == [Record]


def test_white_space_around_a_value_is_kept():
    for value in (b' {"a":1} ', b"\t1"):
        assert value_of(msgspec.json.decode(line_with(value), type=Line)) == value


def test_a_corrupt_compressed_file_is_reported(tmp_path):
    packed = bytearray(gzip.compress(json.dumps({"value": READ}).encode()))
    packed[10] = 0xFF  # the first block after the gzip header, with an invalid block type
    file = tmp_path / f"{READS}.jsonl.gz"
    file.write_bytes(packed)
    with pytest.raises(ArchiveError, match="cannot be read to its end"):
        list(read_lines(file))


def test_a_file_that_is_not_compressed_despite_its_name_is_reported(tmp_path):
    file = tmp_path / f"{READS}.jsonl.gz"
    file.write_bytes(b"not compressed")
    with pytest.raises(ArchiveError, match="cannot be read to its end"):
        list(read_lines(file))


@settings(deadline=None)
@given(
    st.binary()
    | st.text().map(str.encode)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda v: json.dumps(v, indent=1).encode())
)
def test_any_bytes_written_are_read_back_unchanged(value):
    line = line_with(value, partition=0, offset=1, timestamp_ms=2, key="k", headers={})
    assert b"\n" not in line
    read = _read_line(line)
    assert read is not None
    assert (value_of(read), read.offset, read.key) == (value, 1, "k")
