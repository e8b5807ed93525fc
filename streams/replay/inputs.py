"""Reads an archive of inputs for a site, and refuses one of another site."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from streams.core.events import Record
from streams.core.rules import JoinRules
from streams.core.site import Site
from streams.core.site_fit import sample
from streams.core.topics import INPUTS, READS, SHOTS
from streams.replay.archive import Progress, read_archive, unreported
from streams.replay.manifest import check_counts, check_manifest, read_manifest
from streams.resources.site_check import check_ramps, check_shots, label_of

_Value = TypeVar("_Value")


class _Shot(Struct):
    """Where a shot was; nothing else is looked at, so that invalid shots count too."""

    lat: float
    lon: float


class _Read(Struct):
    """The ramp of a read."""

    ramp_id: str


class Inputs(Struct, frozen=True):
    """The records of an archive in the order of their stamps, and what a user should know."""

    records: list[Record]
    warnings: list[str]


def read_inputs(folder: Path, site: Site, rules: JoinRules, partitions: int, progress: Progress = unreported) -> Inputs:
    """Read an archive of inputs that belongs to a site.

    The manifest decides; without one, or if the site file has changed since, the content does:
    where the shots lie, and whether the site has the ramps of the reads. ``progress`` is called now
    and then with the number of bytes read. Raises `ArchiveError` and `WrongSiteError`.
    """
    warnings = []
    manifest = read_manifest(folder)
    certain = manifest is not None and check_manifest(folder, manifest, "inputs", site)
    if manifest is not None and not certain:
        warnings.append(f"{folder}: site {label_of(site)} has changed since this archive was written")
    records = read_archive(folder, partitions, progress)
    if manifest is not None:
        counts = Counter(record.topic for record in records)
        check_counts(folder, manifest, {topic: counts[topic] for topic in INPUTS})
    if not certain:
        _check_content(str(folder), records, site, rules)
    greatest = max((record.partition for record in records), default=0)
    if greatest >= partitions:
        warnings.append(
            f"{folder}: has records of partition {greatest}, but the setting partitions is {partitions}; set it to the "
            "number of the archived topics"
        )
    return Inputs(records, warnings)


def _check_content(source: str, records: Sequence[Record], site: Site, rules: JoinRules) -> None:
    shots = sample([record for record in records if record.topic == SHOTS])
    places = [(shot.lat, shot.lon) for record in shots if (shot := _decoded(record, _Shot))]
    check_shots(source, places, site, rules.max_distance_m)
    reads = sample([record for record in records if record.topic == READS])
    check_ramps(source, [read.ramp_id for record in reads if (read := _decoded(record, _Read))], site)


def _decoded(record: Record, kind: type[_Value]) -> _Value | None:
    try:
        return msgspec.json.decode(record.value or b"", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
