"""Archives: a folder with one file a topic, one record a line (DESIGN.md, Replay).

``{"partition":0,"offset":17,"timestamp_ms":…,"key":"…","headers":{},"value":{…}}``; only ``value`` is required. What is
missing is derived: the stamp from the event's time, the partition from the key, the offset from the order in the file.
Bytes that are not JSON are kept as ``value_base64``. A line that is no such object is a record like any other, which
cannot be used: it is dead-lettered, and everything else goes on.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, cast

import msgspec
from msgspec import UNSET, Struct, UnsetType

from streams.core.errors import RampwatchError
from streams.core.events import (
    FORWARDED_HEADER,
    INPUTS,
    IncidentAction,
    InvalidRecord,
    PlateRead,
    Record,
    ShotAlert,
    VehicleHit,
    decode,
    event_time_ms,
)
from streams.core.plates import plate_key
from streams.kafka.partitioner import partition_of


class ArchiveError(RampwatchError):
    """An archive that cannot be read or written; the message names the file and the remedy."""


class InvalidLine(Record, frozen=True, gc=False):
    """A line that is no record of an archive: kept as it is, and never used, whatever it holds."""


class Line(Struct, omit_defaults=True):
    """One line of an archive's file."""

    partition: int | None = None
    offset: int | None = None
    timestamp_ms: int | None = None
    key: str | None = None
    headers: dict[str, str | None] | None = None
    value: msgspec.Raw | UnsetType = UNSET
    value_base64: str | UnsetType | None = UNSET


_LINE = msgspec.json.Decoder(Line)
_ENCODE = msgspec.json.Encoder().encode
_ANYTHING = msgspec.json.Decoder()


def read_archive(folder: Path, partitions: int) -> list[Record]:
    """Return the records of an archive's input topics in the order of their stamps; raises `ArchiveError`."""
    if not folder.is_dir():
        raise ArchiveError(f"{folder}: no such folder; name one that holds files like {INPUTS[0]}.jsonl")
    files = {topic: file for topic in INPUTS if (file := topic_file(folder, topic))}
    if not files:
        names = ", ".join(f"{topic}.jsonl" for topic in INPUTS)
        raise ArchiveError(f"{folder}: no archive; it holds none of {names} (or .jsonl.gz)")
    records = [record for topic, file in files.items() for record in _records(file, topic, partitions)]
    order = {topic: n for n, topic in enumerate(INPUTS)}
    records.sort(key=lambda r: (r.stamp_ms, order[r.topic], r.partition, r.offset))
    return records


def topic_file(folder: Path, topic: str) -> Path | None:
    """Return the file of a topic in an archive, compressed or not; None where there is none.

    Raises `ArchiveError` where there are both: nobody could say which counts.
    """
    found = [file for ending in (".jsonl", ".jsonl.gz") if (file := folder / f"{topic}{ending}").is_file()]
    if len(found) > 1:
        raise ArchiveError(f"{folder}: holds {topic} twice, as .jsonl and as .jsonl.gz; remove one of them")
    return found[0] if found else None


def read_lines(file: Path) -> Iterator[tuple[bytes, Line | None]]:
    """Hand out the lines of a file that are not blank, each as it is and as read; None where it is no archive line."""
    try:
        with _opened(file) as lines:
            for number, raw in enumerate(lines):
                if number == 0:
                    raw = raw.removeprefix(b"\xef\xbb\xbf")
                if raw.strip():
                    yield raw.rstrip(b"\r\n"), _read_line(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise ArchiveError(f"{file}: cannot be read to its end ({error}); copy it anew") from None


def _opened(file: Path) -> BinaryIO:
    if file.suffix == ".gz":
        return cast(BinaryIO, BufferedReader(gzip.open(file)))
    return file.open("rb")


def _read_line(raw: bytes) -> Line | None:
    try:
        line = _LINE.decode(raw)
        value_of(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, binascii.Error, ValueError):
        return None
    return line


def value_of(line: Line) -> bytes:
    """Return the bytes that a line holds; `ValueError` where it holds none."""
    if not isinstance(line.value, UnsetType):
        return bytes(line.value)
    if isinstance(line.value_base64, str):
        return base64.b64decode(line.value_base64, validate=True)
    raise ValueError("neither value nor value_base64")


def _records(file: Path, topic: str, partitions: int) -> Iterator[Record]:
    """Hand out a file's records in its order, with what a line left out derived."""
    offsets: dict[int, int] = {}
    stamp_ms = 0
    for raw, line in read_lines(file):
        kind, value = (InvalidLine, raw) if line is None else (Record, value_of(line))
        line = line or Line()
        at_ms, key = _derived(topic, value)
        partition = partition_of(line.key or key, partitions) if line.partition is None else line.partition
        # Kafka says "no timestamp" as -1
        stamped = line.timestamp_ms is not None and line.timestamp_ms >= 0
        stamp_ms = cast(int, line.timestamp_ms) if stamped else stamp_ms if at_ms is None else at_ms
        offset = offsets.get(partition, 0) if line.offset is None else line.offset
        offsets[partition] = offset + 1
        forwarded_from = (line.headers or {}).get(FORWARDED_HEADER) or ""
        yield kind(topic, partition, offset, stamp_ms, value, forwarded_from)


def _derived(topic: str, value: bytes) -> tuple[int | None, str]:
    """The event's time and its record's key, as far as the value tells."""
    try:
        event = decode(topic, value)
        match event:
            case PlateRead() | VehicleHit():
                return event_time_ms(event), plate_key(event.plate)
            case ShotAlert():
                return event_time_ms(event), event.alert_id
            case IncidentAction():
                return event_time_ms(event), event.incident_id
    except InvalidRecord:
        return None, ""


def write_archive(
    folder: Path, rows: Iterable[tuple[str, int, str, bytes]], beside: Mapping[str, Iterable[object]]
) -> int:
    """Write records (topic, stamp, key, value) as an archive and return how many.

    Every input topic gets a file, if only an empty one; ``beside``: further files of JSON lines, by name.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = {topic: (folder / f"{topic}.jsonl").open("wb") for topic in INPUTS}
        for name, things in beside.items():
            (folder / f"{name}.jsonl").write_bytes(b"".join(_ENCODE(thing) + b"\n" for thing in things))
    except OSError as error:
        raise ArchiveError(f"{folder}: cannot be written ({error.strerror}); name another folder") from None
    written = 0
    with ExitStack() as stack:
        for file in files.values():
            stack.enter_context(file)
        for topic, stamp_ms, key, value in rows:
            files[topic].write(line_with(value, timestamp_ms=stamp_ms, key=key) + b"\n")
            written += 1
    return written


def line_with(value: bytes, **rest: object) -> bytes:
    """Return an archive line, without its end, that keeps ``value`` to the byte."""
    line = msgspec.convert(rest, Line)
    if _is_one_line_of_json(value):
        line.value = msgspec.Raw(value)
    else:
        line.value_base64 = base64.b64encode(value).decode()
    return _ENCODE(line)


def _is_one_line_of_json(value: bytes) -> bool:
    if b"\n" in value or b"\r" in value or value != value.strip():
        return False
    try:
        value.decode()
        _ANYTHING.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
