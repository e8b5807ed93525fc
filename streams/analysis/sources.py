"""Reads tallies to report on: from an archive of outcomes or inputs, or a CSV of activations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from streams.core.counters.engine import CounterEngine
from streams.core.counters.events import Tally, tally_of_shot
from streams.core.counters.rules import CounterRules
from streams.core.errors import RampwatchError
from streams.core.events import Millis, ShotAlert
from streams.core.facts import Versions
from streams.core.rules import JoinRules
from streams.core.site import Site
from streams.core.topics import COUNTERS, TALLIES
from streams.core.windows import NEVER
from streams.importers.kansas_city import load_activations
from streams.replay.archive import ArchiveError, read_archive, read_lines, topic_file, value_of
from streams.replay.run import new_pipeline

_CSV: Final = ".csv"
_Value = TypeVar("_Value")


class LocatedShot(Struct, frozen=True):
    """Where and when a shot that counts was fired."""

    at_ms: int
    lat: float
    lon: float


class _AsOf(Struct):
    """The field of a counter that is needed here."""

    as_of_ms: Millis


class SourceTallies(Struct, frozen=True):
    """The tallies of a source, its shots that count, and the time as of which to count.

    That time is just after the last event. For the outcomes of a replay it is the time of their
    counters, because the replay may have been given another one.
    """

    tallies: list[Tally]
    shots: list[LocatedShot]
    """None of a replay's outcomes, which do not hold them."""
    as_of_ms: int


def read_tallies(source: Path, site: Site, rules: JoinRules, partitions: int) -> SourceTallies:
    """Read a folder of outcomes or inputs, or a CSV of activations. Raises `RampwatchError`."""
    if source.suffix == _CSV:
        return _of_activations(source, site)
    if source.is_dir() and topic_file(source, TALLIES):
        return _of_outcomes(source)
    return _of_inputs(source, site, rules, partitions)


def count_tallies(source: SourceTallies, site: Site, rules: CounterRules, as_of_ms: int | None = None) -> CounterEngine:
    """Return the counters of a source; ``as_of_ms`` None: as of the source's own time."""
    engine = CounterEngine(site, rules)
    for tally in source.tallies:
        engine.apply(tally)
    engine.advance(source.as_of_ms if as_of_ms is None else as_of_ms)
    return engine


def _of_activations(source: Path, site: Site) -> SourceTallies:
    shots = [msgspec.convert(alert, ShotAlert) for alert in load_activations(source).alerts]
    if not shots:
        raise RampwatchError(f"{source}: has no usable activation; name another CSV file")
    tallies = [tally_of_shot(shot, site) for shot in shots]
    return SourceTallies(tallies, _located(shots), shots[-1].occurred_at_ms + 1)


def _of_outcomes(source: Path) -> SourceTallies:
    tallies = list(_values(source, TALLIES, Tally, "tally"))
    if not tallies:
        raise ArchiveError(f"{source}: has no tallies; replay an archive that has shots or hits")
    counted_ms = max((counter.as_of_ms for counter in _values(source, COUNTERS, _AsOf, "counter")), default=None)
    as_of_ms = max(tally.at_ms for tally in tallies) + 1 if counted_ms is None else counted_ms
    return SourceTallies(tallies, [], as_of_ms)


def _values(source: Path, topic: str, kind: type[_Value], name: str) -> Iterator[_Value]:
    file = topic_file(source, topic)
    for number, (_, line) in enumerate(read_lines(file) if file else (), 1):
        try:
            yield msgspec.json.decode(value_of(line) if line else b"", type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            raise ArchiveError(f"{file}: line {number} is not a {name} ({error}); run the replay again") from None


def _of_inputs(source: Path, site: Site, rules: JoinRules, partitions: int) -> SourceTallies:
    pipeline = new_pipeline(site, rules)
    tallies: list[Tally] = []
    shots: dict[str, Versions[ShotAlert]] = {}
    for record in read_archive(source, partitions):
        effects = pipeline.apply(record)
        tallies += effects.tallies
        for shot in effects.shots:
            shots.setdefault(shot.alert_id, Versions()).add(shot, record.stamp_ms)
    if pipeline.last_event_ms == NEVER:
        raise ArchiveError(f"{source}: has no usable event; a replay's dead letters give the reasons")
    facts = [max(versions, key=lambda version: version.rank).event for versions in shots.values()]
    located = _located(shot for shot in facts if shot.status != "dismissed")
    return SourceTallies(tallies, located, pipeline.last_event_ms + 1)


def _located(shots: Iterable[ShotAlert]) -> list[LocatedShot]:
    return [LocatedShot(shot.occurred_at_ms, shot.lat, shot.lon) for shot in shots]
