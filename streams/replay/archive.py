"""Reads and writes archives: a folder with one file per topic and one JSON record per line.

``streams/replay/ARCHIVES.md`` defines the format. In short, a line is
``{"partition":0,"offset":17,"timestamp_ms":…,"key":"…","headers":{},"value":{…}}``, and only
``value`` is required. Missing fields are derived: the stamp from the event's time, the partition
from the key, and the offset from the order in the file. Values that are not JSON are stored in
``value_base64``. A line that is not such an object becomes an `InvalidLine`, which a replay
dead-letters; it does not stop the replay.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import SEEK_CUR, BufferedReader
from pathlib import Path
from typing import BinaryIO, Final, cast

import msgspec
from msgspec import UNSET, Struct, UnsetType

from streams.core.codec import decode
from streams.core.events import IncidentAction, InvalidRecord, PlateRead, Record, ShotAlert, VehicleHit, event_time_ms
from streams.core.plates import plate_key
from streams.core.site import Site
from streams.core.topics import FORWARDED_HEADER, INPUTS
from streams.kafka.partitioner import partition_of
from streams.replay.errors import ArchiveError
from streams.replay.folder import FolderWriter
from streams.replay.manifest import manifest_of

REPORT_EVERY: Final = 10_000
"""Records between two reports of progress."""

Progress = Callable[[int], None]


def unreported(*_: object) -> None:
    """Report progress to nobody."""


class InvalidLine(Record, frozen=True, gc=False):
    """A line that is not an archive record; its value is the whole line, and it is never joined."""


class Line(Struct, omit_defaults=True):
    """One line of an archive file."""

    partition: int | None = None
    offset: int | None = None
    timestamp_ms: int | None = None
    key: str | None = None
    headers: dict[str, str | None] | None = None
    value: msgspec.Raw | UnsetType = UNSET
    value_base64: str | UnsetType | None = UNSET


_LINE = msgspec.json.Decoder(Line)
_ENCODE = msgspec.json.Encoder().encode
_ANY_JSON = msgspec.json.Decoder()


def read_archive(folder: Path, partitions: int, progress: Progress = unreported) -> list[Record]:
    """Return the records of an archive's input topics, in the order of their stamps.

    ``progress`` is called now and then with the number of bytes read; `archive_bytes` is how many
    there are. Raises `ArchiveError` if the folder has no file of an input topic or a file cannot be
    read.
    """
    files = input_files(folder)
    records: list[Record] = []
    done = 0
    for topic, file in files.items():
        records.extend(_records(file, topic, partitions, _shifted(progress, done)))
        done += file.stat().st_size
    order = {topic: n for n, topic in enumerate(INPUTS)}
    records.sort(key=lambda r: (r.stamp_ms, order[r.topic], r.partition, r.offset))
    return records


def _shifted(progress: Progress, begin: int) -> Progress:
    return lambda done: progress(begin + done)


def archive_bytes(folder: Path) -> int:
    """Return the size of an archive's input files, as they are on disk. Raises `ArchiveError`."""
    return sum(file.stat().st_size for file in input_files(folder).values())


def input_files(folder: Path) -> dict[str, Path]:
    """Return the files of an archive of inputs by topic; raises `ArchiveError` if it has none."""
    if not folder.is_dir():
        raise ArchiveError(f"{folder}: no such folder; name one that contains files like {INPUTS[0]}.jsonl")
    files = {topic: file for topic in INPUTS if (file := topic_file(folder, topic))}
    if not files:
        names = ", ".join(f"{topic}.jsonl" for topic in INPUTS)
        raise ArchiveError(f"{folder}: not an archive; it contains none of {names} (or .jsonl.gz)")
    return files


def topic_file(folder: Path, topic: str) -> Path | None:
    """Return the file of a topic in an archive, compressed or not; None if there is none.

    Raises `ArchiveError` if both exist, because it is unknown which one is meant.
    """
    files = [file for ending in (".jsonl", ".jsonl.gz") if (file := folder / f"{topic}{ending}").is_file()]
    if len(files) > 1:
        raise ArchiveError(f"{folder}: contains {topic} twice, as .jsonl and as .jsonl.gz; remove one of them")
    return files[0] if files else None


def read_lines(file: Path, progress: Progress = unreported) -> Iterator[tuple[bytes, Line | None]]:
    """Yield the bytes of each line that is not blank, and the decoded line or None if invalid.

    ``progress`` is called now and then with the number of bytes read of the file. Raises
    `ArchiveError` if the file cannot be read to its end.
    """
    try:
        with file.open("rb") as stored, _lines_of(file, stored) as lines:
            for number, raw in enumerate(lines):
                if number % REPORT_EVERY == 0:
                    progress(stored.seek(0, SEEK_CUR))
                if number == 0:
                    raw = raw.removeprefix(b"\xef\xbb\xbf")
                if raw.strip():
                    yield raw.rstrip(b"\r\n"), _read_line(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise ArchiveError(f"{file}: cannot be read to its end ({error}); copy it again") from None


def _lines_of(file: Path, stored: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, BufferedReader(gzip.open(stored))) if file.suffix == ".gz" else stored


def _read_line(raw: bytes) -> Line | None:
    try:
        line = _LINE.decode(raw)
        value_of(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, binascii.Error, ValueError):
        return None
    return line


def value_of(line: Line) -> bytes:
    """Return the value of a line; raises ValueError if it has none."""
    if not isinstance(line.value, UnsetType):
        return bytes(line.value)
    if isinstance(line.value_base64, str):
        return base64.b64decode(line.value_base64, validate=True)
    raise ValueError("neither value nor value_base64")


def _records(file: Path, topic: str, partitions: int, progress: Progress) -> Iterator[Record]:
    """Yield a file's records in file order, with missing fields derived."""
    offsets: dict[int, int] = {}
    stamp_ms = 0
    for raw, line in read_lines(file, progress):
        kind, value = (InvalidLine, raw) if line is None else (Record, value_of(line))
        line = line or Line()
        at_ms, key = _derived(topic, value)
        partition = partition_of(line.key or key, partitions) if line.partition is None else line.partition
        # Kafka gives the timestamp -1 to records without one.
        stamped = line.timestamp_ms is not None and line.timestamp_ms >= 0
        stamp_ms = cast(int, line.timestamp_ms) if stamped else stamp_ms if at_ms is None else at_ms
        offset = offsets.get(partition, 0) if line.offset is None else line.offset
        offsets[partition] = offset + 1
        forwarded_from = (line.headers or {}).get(FORWARDED_HEADER) or ""
        yield kind(topic, partition, offset, stamp_ms, value, forwarded_from)


def _derived(topic: str, value: bytes) -> tuple[int | None, str]:
    """Return the event's time and the record's key; None and empty for an invalid event."""
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
    folder: Path,
    rows: Iterable[tuple[str, int, str, bytes]],
    beside: Mapping[str, Iterable[object]],
    site: Site,
    progress: Progress = unreported,
) -> int:
    """Write records (topic, stamp, key, value) of a site as an archive, and return their number.

    Every input topic gets a file, even without records. ``beside``: contents of further files of
    JSON lines, by name without ending. ``progress`` is called now and then with the number of
    records done. Raises `ArchiveError` before anything is written, or `WriteError` after nothing
    has been.
    """
    names = (*INPUTS, *beside)
    records = Counter(dict.fromkeys(names, 0))
    with FolderWriter(folder, "inputs", [f"{name}.jsonl" for name in names]) as writer:
        for number, (topic, stamp_ms, key, value) in enumerate(rows):
            writer.write(f"{topic}.jsonl", line_with(value, timestamp_ms=stamp_ms, key=key) + b"\n")
            records[topic] += 1
            if number % REPORT_EVERY == 0:
                progress(number)
        written = records.total()
        for name, items in beside.items():
            for item in items:
                writer.write(f"{name}.jsonl", _ENCODE(item) + b"\n")
                records[name] += 1
        writer.commit(manifest_of("inputs", site, dict(records)))
    return written


def line_with(value: bytes, **fields: object) -> bytes:
    """Return an archive line with exactly these bytes as value, without a line end."""
    line = msgspec.convert(fields, Line)
    if _is_json_in_one_line(value):
        line.value = msgspec.Raw(value)
    else:
        line.value_base64 = base64.b64encode(value).decode()
    return _ENCODE(line)


def _is_json_in_one_line(value: bytes) -> bool:
    if b"\n" in value or b"\r" in value or value != value.strip():
        return False
    try:
        value.decode()
        _ANY_JSON.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
