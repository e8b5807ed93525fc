"""The rules of JOIN.md that look like subtleties, each taken away: then some world goes wrong.

Each entry of `RULES` bends the product, or the worker that drives it, and returns the worker to run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

import streams.core.engine as engine_module
from streams.core.engine import Engine
from streams.core.events import LinkedIncident, PlateRead, ShotAlert, VehicleHit
from streams.core.facts import Versions
from streams.core.incidents import MAX_READS, StampedRead
from streams.core.memory import Memory
from streams.core.rules import JoinRules
from streams.core.windows import NEVER
from tests.simulation import shell
from tests.simulation.records import HITS, READS, SHOTS
from tests.simulation.shell import Commit, Shell, Worker

Patch = pytest.MonkeyPatch
Taken = Callable[[Patch], type[Worker]]


def watermark_from_offsets(patch: Patch) -> type[Worker]:
    """What was judged is taken to end at the stamps of the committed offsets, not at the committed watermark."""

    class Guessing(Worker):
        def committed_watermark(self, commit: Commit) -> int:
            if commit.watermark_ms == NEVER:
                return NEVER
            logs = self.shell.topics
            ends = [(logs[topic].records, commit.offsets[topic], self.noted_ends[topic]) for topic in (READS, HITS)]
            greatest_ms = max(
                (
                    log.records[self.noted_ends[topic] - 1].stamp_ms
                    for topic, log in logs.items()
                    if self.noted_ends[topic]
                ),
                default=NEVER,
            )
            return min(records[at].stamp_ms if at < end else greatest_ms for records, at, end in ends)

    return Guessing


def judged_by_nobody(patch: Patch) -> type[Worker]:
    """The engine is not told up to when another has judged."""
    original = Engine.__init__

    def begun_anew(self: Engine, *site_and_rules: Any, finalized_through_ms: int = NEVER) -> None:
        original(self, *site_and_rules)

    patch.setattr(Engine, "__init__", begun_anew)
    return Worker


def hold_back(patch: Patch) -> type[Worker]:
    """Changes are published, and committed, before every input has been read to its noted end."""

    class Hasty(Worker):
        def is_behind(self) -> bool:
            return False

    return Hasty


def slack(patch: Patch) -> type[Worker]:
    """An input read to its end counts as the greatest stamp seen, less nothing."""

    class Sharp(Worker):
        def __init__(self, world: Shell) -> None:
            super().__init__(world)
            self.watermark._slack_ms = 0

    return Sharp


def strict_passing(patch: Patch) -> type[Worker]:
    """A time counts as passed when the watermark equals it."""

    class Lax(Worker):
        def passed_ms(self) -> int:
            return super().passed_ms() + 1

    return Lax


def first_reads(patch: Patch) -> type[Worker]:
    """An incident keeps the reads nearest to the shot in time, not the first."""
    occurred_at_ms = 0
    original = Engine._attached

    def attached(self: Engine, shot: Versions[ShotAlert], *others: Any) -> Iterator[StampedRead]:
        nonlocal occurred_at_ms
        occurred_at_ms = max(shot, key=lambda version: version.rank).event.occurred_at_ms
        return original(self, shot, *others)

    def nearest(reads: Sequence[StampedRead], left_out_from_ms: int | None) -> tuple[list[StampedRead], int | None]:
        near = sorted(reads, key=lambda stamped: (abs(stamped.read.captured_at_ms - occurred_at_ms), stamped.order))
        gone = [stamped.read.captured_at_ms for stamped in near[MAX_READS:]]
        known = [*gone, *(() if left_out_from_ms is None else (left_out_from_ms,))]
        return sorted(near[:MAX_READS], key=lambda stamped: stamped.order), min(known, default=None)

    patch.setattr(Engine, "_attached", attached)
    patch.setattr(engine_module, "_first_reads", nearest)
    return Worker


def judged_at_the_deadline(patch: Patch) -> type[Worker]:
    """Reads are judged by the facts as they are now, not as they stood when the reads' time was up."""

    def attached(
        self: Engine, shot: Versions[ShotAlert], hit: Versions[VehicleHit], reads: Sequence[Versions[PlateRead]]
    ) -> Iterator[StampedRead]:
        span = engine_module._Span(shot.first_ms, self._rules)
        for versions in reads:
            read = versions.fact(span.freeze_ms)
            shot_now, hit_now = shot.fact(span.freeze_ms), hit.fact(span.freeze_ms, span.since_ms)
            if read and shot_now and hit_now and self._links(shot_now, hit_now, read):
                yield StampedRead(read.event, read.stamp_ms())

    patch.setattr(Engine, "_attached", attached)
    return Worker


def frozen_shots(patch: Patch) -> type[Worker]:
    """Of a frozen shot nothing is remembered."""
    original = Memory.release_shots

    def release_shots(self: Memory) -> list[str]:
        frozen = original(self)
        self._frozen.clear()
        return frozen

    patch.setattr(Memory, "release_shots", release_shots)
    return Worker


def shots_horizon(patch: Patch) -> type[Worker]:
    """Shots are read again only as far back as incidents may change."""
    original = shell.horizons

    def horizons(rules: JoinRules) -> dict[str, int]:
        return original(rules) | {SHOTS: rules.incident_retention_ms}

    patch.setattr(shell, "horizons", horizons)
    return Worker


def hits_horizon(patch: Patch) -> type[Worker]:
    """Hits are remembered, kept and read again without the time that reads wait."""
    memory_ms, horizons, retentions = JoinRules.hit_memory_ms.fget, shell.horizons, shell.retentions  # type: ignore[attr-defined]
    patch.setattr(JoinRules, "hit_memory_ms", property(lambda rules: memory_ms(rules) - rules.read_retention_ms))

    def shorter(of: Callable[[JoinRules], dict[str, int]]) -> Callable[[JoinRules], dict[str, int]]:
        return lambda rules: of(rules) | {HITS: of(rules)[HITS] - rules.read_retention_ms}

    patch.setattr(shell, "horizons", shorter(horizons))
    patch.setattr(shell, "retentions", shorter(retentions))
    return Worker


def hits_span(patch: Patch) -> type[Worker]:
    """Records of a hit count however old they are."""

    class Bottomless(engine_module._Span):
        def __init__(self, first_ms: int, rules: JoinRules) -> None:
            super().__init__(first_ms, rules)
            self.since_ms = NEVER

    patch.setattr(engine_module, "_Span", Bottomless)
    return Worker


def reads_fed_back(patch: Patch) -> type[Worker]:
    """Reads that are not judged yet are not taken from what was said."""
    add_read = Memory.add_read

    def only_records(self: Memory, read: PlateRead, key: str, stamp_ms: int, revision: int = 0) -> str:
        return add_read(self, read, key, stamp_ms) if revision >= 0 else "used"

    patch.setattr(Memory, "add_read", only_records)
    return Worker


def attached_reads_fed_back(patch: Patch) -> type[Worker]:
    """No reads are taken from what was said."""
    patch.setattr(engine_module, "told_reads", lambda incident: [])
    return Worker


def review_fed_back(patch: Patch) -> type[Worker]:
    """Actions are not taken from what was said."""
    patch.setattr(engine_module, "told_actions", lambda incident: [])
    return Worker


def left_out_fed_back(patch: Patch) -> type[Worker]:
    """The time of the first read left out is not taken from what was said."""
    restore = Engine.restore

    def without(self: Engine, incident: LinkedIncident) -> None:
        restore(self, incident)
        for pair in self._pairs.values():
            pair.left_out_from_ms = None

    patch.setattr(Engine, "restore", without)
    return Worker


def said_fed_back(patch: Patch) -> type[Worker]:
    """What was said is not known to have been said."""
    restore = Engine.restore

    def unsaid(self: Engine, incident: LinkedIncident) -> None:
        restore(self, incident)
        for pair in self._pairs.values():
            pair.said = None

    patch.setattr(Engine, "restore", unsaid)
    return Worker


RULES: dict[str, Taken] = {
    rule.__name__: rule
    for rule in (
        watermark_from_offsets,
        judged_by_nobody,
        hold_back,
        slack,
        strict_passing,
        first_reads,
        judged_at_the_deadline,
        frozen_shots,
        shots_horizon,
        hits_horizon,
        hits_span,
        reads_fed_back,
        attached_reads_fed_back,
        review_fed_back,
        left_out_fed_back,
        said_fed_back,
    )
}
