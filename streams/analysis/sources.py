"""Reads tallies to report on: from an archive of outcomes or inputs, or a CSV of activations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from streams.console.screen import Report, counted, part_of
from streams.core.counters.engine import CounterEngine
from streams.core.counters.events import Tally, tally_of_shot
from streams.core.counters.rules import CounterRules
from streams.core.errors import RampwatchError
from streams.core.events import Id, Millis, ShotAlert
from streams.core.facts import Versions
from streams.core.rules import JoinRules
from streams.core.site import CITY, Site
from streams.core.topics import COUNTERS, TALLIES
from streams.core.windows import NEVER
from streams.importers.kansas_city import load_activations
from streams.replay.archive import REPORT_EVERY, Progress, archive_bytes, read_lines, topic_file, unreported, value_of
from streams.replay.errors import ArchiveError
from streams.replay.inputs import read_inputs
from streams.replay.manifest import Manifest, check_counts, check_manifest, kind_of, read_manifest
from streams.replay.run import apply_record, new_pipeline
from streams.resources.site_check import check_shots, check_zones

_CSV: Final = ".csv"
_Value = TypeVar("_Value")


class LocatedShot(Struct, frozen=True):
    """Where and when a shot that counts was fired."""

    at_ms: int
    lat: float
    lon: float


class _Counter(Struct):
    """The fields of a counter that are needed here."""

    as_of_ms: Millis
    zone_id: Id = CITY


class SourceTallies(Struct, frozen=True):
    """The tallies of a source, its shots that count, and the time as of which to count.

    That time is just after the last event. For the outcomes of a replay it is the time of their
    counters, because the replay may have been given another one.
    """

    tallies: list[Tally]
    shots: list[LocatedShot]
    """None of a replay's outcomes, which do not hold them."""
    as_of_ms: int
    rows: int = 0
    """The rows or records read."""
    rejected: dict[str, int] = {}
    """How many of them cannot be counted, by reason."""
    warnings: list[str] = []


def read_tallies(
    source: Path, site: Site, rules: JoinRules, partitions: int, report: Report = unreported
) -> SourceTallies:
    """Read a folder of outcomes or inputs, or a CSV of activations, that belongs to the site.

    ``report`` is called now and then with what has been done. Raises `RampwatchError`.
    """
    if source.suffix == _CSV:
        return _of_activations(source, site, rules)
    if source.is_dir() and (topic_file(source, TALLIES) or kind_of(source) == "outcomes"):
        return _of_outcomes(source, site, _bytes_of(source, report))
    return _of_inputs(source, site, rules, partitions, report)


def count_tallies(source: SourceTallies, site: Site, rules: CounterRules, as_of_ms: int | None = None) -> CounterEngine:
    """Return the counters of a source; ``as_of_ms`` None: as of the source's own time."""
    engine = CounterEngine(site, rules)
    for tally in source.tallies:
        engine.apply(tally)
    engine.advance(source.as_of_ms if as_of_ms is None else as_of_ms)
    return engine


def _of_activations(source: Path, site: Site, rules: JoinRules) -> SourceTallies:
    activations = load_activations(source)
    shots = [msgspec.convert(alert, ShotAlert) for alert in activations.alerts]
    if not shots:
        raise RampwatchError(f"{source}: has no usable activation; name another CSV file")
    check_shots(str(source), [(shot.lat, shot.lon) for shot in shots], site, rules.max_distance_m)
    tallies = [tally_of_shot(shot, site) for shot in shots]
    as_of_ms = shots[-1].occurred_at_ms + 1
    return SourceTallies(tallies, _located(shots), as_of_ms, activations.rows, activations.rejected)


def _of_outcomes(source: Path, site: Site, progress: Progress) -> SourceTallies:
    manifest = read_manifest(source)
    if manifest is not None:
        check_manifest(source, manifest, "outcomes", site)
    tallies = list(_values(source, TALLIES, Tally, "tally", progress))
    counters = list(_values(source, COUNTERS, _Counter, "counter"))
    if manifest is None:
        # a replay writes a counter for each zone of its site, even where nothing happened
        check_zones(str(source), {one.zone_id for one in (counters or tallies)}, site)
    else:
        check_counts(source, manifest, {TALLIES: len(tallies), COUNTERS: len(counters)})
    if not tallies:
        raise ArchiveError(f"{source}: has no tallies; replay an archive that has shots or hits")
    counted_ms = max((counter.as_of_ms for counter in counters), default=None)
    as_of_ms = max(tally.at_ms for tally in tallies) + 1 if counted_ms is None else counted_ms
    return SourceTallies(tallies, [], as_of_ms, *_replayed(source, manifest))


def _replayed(source: Path, manifest: Manifest | None) -> tuple[int, dict[str, int]]:
    """Return how many records the replay read, and how many it rejected, by reason."""
    if manifest is None:
        return 0, {}
    rejected: Counter[str] = Counter()
    for counts in manifest.rejected.values():
        rejected.update(counts)
    return manifest.consumed, dict(rejected)


def _bytes_of(source: Path, report: Report) -> Progress:
    file = topic_file(source, TALLIES)
    total = file.stat().st_size if file else 0
    return counted(report, "read", total, "bytes")


def _values(
    source: Path, topic: str, kind: type[_Value], name: str, progress: Progress = unreported
) -> Iterator[_Value]:
    file = topic_file(source, topic)
    for number, (_, line) in enumerate(read_lines(file, progress) if file else (), 1):
        try:
            yield msgspec.json.decode(value_of(line) if line else b"", type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            raise ArchiveError(f"{file}: line {number} is not a {name} ({error}); run the replay again") from None


def _of_inputs(source: Path, site: Site, rules: JoinRules, partitions: int, report: Report) -> SourceTallies:
    reading = counted(part_of(report, 0.0, 0.3), "read", archive_bytes(source), "bytes")
    inputs = read_inputs(source, site, rules, partitions, reading)
    count = len(inputs.records)
    joined = counted(part_of(report, 0.3, 1.0), "joined", count, "records")
    pipeline = new_pipeline(site, rules)
    tallies: list[Tally] = []
    shots: dict[str, Versions[ShotAlert]] = {}
    rejected: Counter[str] = Counter()
    for number, record in enumerate(inputs.records):
        if number % REPORT_EVERY == 0:
            joined(number)
        effects = apply_record(pipeline, record)
        rejected.update(dead.error.reason for dead in effects.dead_letters)
        tallies += effects.tallies
        for shot in effects.shots:
            shots.setdefault(shot.alert_id, Versions()).add(shot, record.stamp_ms)
    if pipeline.last_event_ms == NEVER:
        reasons = f" ({counts_text(rejected)})" if rejected else ""
        raise ArchiveError(f"{source}: has no usable event{reasons}; a replay's dead letters give the reasons")
    facts = [max(versions, key=lambda version: version.rank).event for versions in shots.values()]
    located = _located(shot for shot in facts if shot.status != "dismissed")
    return SourceTallies(tallies, located, pipeline.last_event_ms + 1, count, dict(rejected), inputs.warnings)


def counts_text(rejected: Mapping[str, int]) -> str:
    """Return counts by reason as text, the most frequent first: ``3 schema, 1 late``."""
    ordered = sorted(rejected.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {reason}" for reason, count in ordered)


def _located(shots: Iterable[ShotAlert]) -> list[LocatedShot]:
    return [LocatedShot(shot.occurred_at_ms, shot.lat, shot.lon) for shot in shots]
