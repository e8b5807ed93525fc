"""Where tallies to report on come from: an archive of outcomes, one of inputs, or a table of real activations."""

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
from streams.core.events import COUNTERS, TALLIES, Millis, ShotAlert
from streams.core.rules import JoinRules
from streams.core.site import Site
from streams.core.windows import NEVER
from streams.importers.kansas_city import load_activations
from streams.replay.archive import ArchiveError, read_archive, read_lines, topic_file, value_of
from streams.replay.run import Fold

_TABLE: Final = ".csv"
_Value = TypeVar("_Value")


class Place(Struct, frozen=True):
    """Where and when one thing that counts happened."""

    at_ms: int
    lat: float
    lon: float


class _Said(Struct):
    """Of a counter that was said, as of when it is."""

    as_of_ms: Millis


class Counted(Struct, frozen=True):
    """Tallies, what counts of the shots with its place, and the time up to which they were counted.

    That is just after the last event, or what the counters say that lie beside the tallies: a replay may have been told
    another time.
    """

    tallies: list[Tally]
    shots: list[Place]
    as_of_ms: int


def counted(source: Path, site: Site, rules: JoinRules, partitions: int) -> Counted:
    """Read a source: a folder of outcomes or inputs, or a CSV of activations. Raises `RampwatchError`."""
    if source.suffix == _TABLE:
        return _of_table(source, site)
    if source.is_dir() and topic_file(source, TALLIES):
        return _of_outcomes(source)
    return _of_inputs(source, site, rules, partitions)


def folded(source: Counted, site: Site, rules: CounterRules, as_of_ms: int | None = None) -> CounterEngine:
    """Return the counters of what was counted; ``as_of_ms`` None: as of the source's own time."""
    fold = CounterEngine(site, rules)
    for tally in source.tallies:
        fold.feed(tally)
    fold.advance(source.as_of_ms if as_of_ms is None else as_of_ms)
    return fold


def _of_table(source: Path, site: Site) -> Counted:
    shots = [msgspec.convert(alert, ShotAlert) for alert in load_activations(source).alerts]
    if not shots:
        raise RampwatchError(f"{source}: holds no activation that can be used; name another table")
    return Counted([tally_of_shot(shot, site) for shot in shots], _places(shots), shots[-1].occurred_at_ms + 1)


def _of_outcomes(source: Path) -> Counted:
    tallies = list(_values(source, TALLIES, Tally, "tally"))
    if not tallies:
        raise ArchiveError(f"{source}: holds no tally; replay an archive with shots or hits in it")
    said_ms = max((said.as_of_ms for said in _values(source, COUNTERS, _Said, "counter")), default=None)
    return Counted(tallies, [], max(tally.at_ms for tally in tallies) + 1 if said_ms is None else said_ms)


def _values(source: Path, topic: str, kind: type[_Value], name: str) -> Iterator[_Value]:
    file = topic_file(source, topic)
    for number, (_, line) in enumerate(read_lines(file) if file else (), 1):
        try:
            yield msgspec.json.decode(value_of(line) if line else b"", type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            raise ArchiveError(f"{file}: line {number} holds no {name} ({error}); write it anew") from None


def _of_inputs(source: Path, site: Site, rules: JoinRules, partitions: int) -> Counted:
    fold = Fold(site, rules)
    tallies: list[Tally] = []
    shots: dict[str, ShotAlert] = {}
    for record in read_archive(source, partitions):
        fold.apply(record)
        tallies += fold.tallied
        for shot in fold.shots:
            known = shots.get(shot.alert_id)
            if known is None or shot.revision >= known.revision:
                shots[shot.alert_id] = shot
    if fold.last_event_ms == NEVER:
        raise ArchiveError(f"{source}: holds no event that can be used; the replay's dead letters tell why")
    return Counted(tallies, _places(s for s in shots.values() if s.status != "dismissed"), fold.last_event_ms + 1)


def _places(shots: Iterable[ShotAlert]) -> list[Place]:
    return [Place(shot.occurred_at_ms, shot.lat, shot.lon) for shot in shots]
