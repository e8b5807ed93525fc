"""The subtle rules of JOIN.md, each removed in turn: without any of them some world goes wrong.

Each entry of `MUTATIONS` changes the product, or the worker that drives it, and returns the worker
type to run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

import streams.core.engine as engine_module
import streams.core.pairs as pairs_module
from streams.core.engine import Engine
from streams.core.events import LinkedIncident, PlateRead, ShotAlert, VehicleHit
from streams.core.facts import Versions
from streams.core.incidents import MAX_READS, StampedRead
from streams.core.linking import is_evidence
from streams.core.memory import Memory
from streams.core.pairs import Pair
from streams.core.rules import JoinRules
from streams.core.windows import NEVER
from tests.oracle.records import HITS, READS, SHOTS
from tests.simulation import environment as environment_module
from tests.simulation import worker as worker_module
from tests.simulation.environment import Commit, Environment
from tests.simulation.worker import Worker

Patch = pytest.MonkeyPatch
Mutation = Callable[[Patch], type[Worker]]


# ---------------------------------------------------------------------- the watermark


def watermark_from_offsets(patch: Patch) -> type[Worker]:
    """Results are taken as final up to the stamps at the committed offsets, not the watermark."""

    class FromOffsets(Worker):
        def committed_watermark(self, commit: Commit) -> int:
            if commit.watermark_ms == NEVER:
                return NEVER
            logs = self.environment.topics
            ends = [(logs[topic].records, commit.offsets[topic], self.noted_ends[topic]) for topic in (READS, HITS)]
            greatest_ms = max(
                (
                    log.records[self.noted_ends[topic] - 1].stamp_ms
                    for topic, log in logs.items()
                    if self.noted_ends[topic]
                ),
                default=NEVER,
            )
            return min(records[offset].stamp_ms if offset < end else greatest_ms for records, offset, end in ends)

    return FromOffsets


def unknown_finalized_time(patch: Patch) -> type[Worker]:
    """The engine does not know through which time the previous owner's results are final."""
    original = Engine.__init__

    def from_nothing(self: Engine, *arguments: Any, finalized_through_ms: int = NEVER) -> None:
        original(self, *arguments)

    patch.setattr(Engine, "__init__", from_nothing)
    return Worker


def hold_back(patch: Patch) -> type[Worker]:
    """Changes are published and committed before every input is read to its noted end."""

    class Hasty(Worker):
        def is_behind(self) -> bool:
            return False

    return Hasty


def slack(patch: Patch) -> type[Worker]:
    """An input read to its end advances the watermark to the greatest stamp, slack included."""

    class WithoutSlack(Worker):
        def __init__(self, environment: Environment) -> None:
            super().__init__(environment)
            self.watermark._slack_ms = 0

    return WithoutSlack


def strict_passing(patch: Patch) -> type[Worker]:
    """A time counts as passed when the watermark equals it."""

    class Early(Worker):
        def passed_ms(self) -> int:
            return super().passed_ms() + 1

    return Early


# ---------------------------------------------------------------------- the join


def first_reads(patch: Patch) -> type[Worker]:
    """An incident keeps the reads nearest to the shot in time, not the first."""
    occurred_at_ms = 0
    original = Engine._attached

    def attached(self: Engine, shot: Versions[ShotAlert], *others: Any) -> StampedRead | None:
        nonlocal occurred_at_ms
        occurred_at_ms = max(shot, key=lambda version: version.rank).event.occurred_at_ms
        return original(self, shot, *others)

    def nearest(self: Pair, reads: Sequence[StampedRead]) -> tuple[list[StampedRead], int | None]:
        near = sorted(reads, key=lambda stamped: (abs(stamped.read.captured_at_ms - occurred_at_ms), stamped.order))
        gone = [stamped.read.captured_at_ms for stamped in near[MAX_READS:]]
        known = [*gone, *(() if self._left_out_from_ms is None else (self._left_out_from_ms,))]
        return sorted(near[:MAX_READS], key=lambda stamped: stamped.order), min(known, default=None)

    patch.setattr(Engine, "_attached", attached)
    patch.setattr(Pair, "_first", nearest)
    return Worker


def facts_at_the_deadline(patch: Patch) -> type[Worker]:
    """Reads are judged by the present facts, not by the facts at their deadline."""

    def attached(
        self: Engine, shot: Versions[ShotAlert], hit: Versions[VehicleHit], reads: Versions[PlateRead]
    ) -> StampedRead | None:
        span = pairs_module.Span(shot.first_ms, self._rules)
        read = reads.fact(span.freeze_ms)
        shot_now, hit_now = shot.fact(span.freeze_ms), hit.fact(span.freeze_ms, span.since_ms)
        if not read or not shot_now or not hit_now:
            return None
        ramp = self._ramps[read.event.ramp_id]
        is_attached = is_evidence(shot_now.event, hit_now.event, read.event, ramp, self._rules)
        return StampedRead(read.event, read.stamp_ms()) if is_attached else None

    patch.setattr(Engine, "_attached", attached)
    return Worker


def frozen_shots(patch: Patch) -> type[Worker]:
    """Frozen shots are forgotten."""
    original = Memory.release_shots

    def release_shots(self: Memory) -> list[str]:
        frozen = original(self)
        self._frozen.clear()
        return frozen

    patch.setattr(Memory, "release_shots", release_shots)
    return Worker


# ---------------------------------------------------------------------- horizons


def shots_horizon(patch: Patch) -> type[Worker]:
    """Shots are read again only as far back as incidents can change."""
    original = worker_module.horizons

    def horizons(rules: JoinRules) -> dict[str, int]:
        return original(rules) | {SHOTS: rules.incident_retention_ms}

    patch.setattr(worker_module, "horizons", horizons)
    return Worker


def hits_horizon(patch: Patch) -> type[Worker]:
    """Hits are remembered, kept and read again too briefly: read_retention is left out."""
    memory_ms: Callable[[JoinRules], int] = JoinRules.hit_horizon_ms.fget  # type: ignore[attr-defined]
    patch.setattr(JoinRules, "hit_horizon_ms", property(lambda rules: memory_ms(rules) - rules.read_retention_ms))

    def shorter(of: Callable[[JoinRules], dict[str, int]]) -> Callable[[JoinRules], dict[str, int]]:
        return lambda rules: of(rules) | {HITS: of(rules)[HITS] - rules.read_retention_ms}

    patch.setattr(worker_module, "horizons", shorter(worker_module.horizons))
    patch.setattr(environment_module, "retentions", shorter(environment_module.retentions))
    return Worker


def hits_span(patch: Patch) -> type[Worker]:
    """Records of a hit count however old they are."""

    class Unbounded(pairs_module.Span):
        def __init__(self, first_ms: int, rules: JoinRules) -> None:
            super().__init__(first_ms, rules)
            self.since_ms = NEVER

    patch.setattr(engine_module, "Span", Unbounded)
    return Worker


# ---------------------------------------------------------------------- restoring from published
# incidents


def pending_reads_restored(patch: Patch) -> type[Worker]:
    """Reads before their deadline are not restored from published incidents."""
    add_read = Memory.add_read

    def only_records(self: Memory, read: PlateRead, key: str, stamp_ms: int, revision: int = 0) -> str:
        return add_read(self, read, key, stamp_ms) if revision >= 0 else "used"

    patch.setattr(Memory, "add_read", only_records)
    return Worker


def attached_reads_restored(patch: Patch) -> type[Worker]:
    """No reads are restored from published incidents."""
    patch.setattr(engine_module, "reads_of", lambda incident: [])
    return Worker


def review_restored(patch: Patch) -> type[Worker]:
    """Actions are not restored from published incidents."""
    patch.setattr(engine_module, "actions_of", lambda incident: [])
    return Worker


def left_out_restored(patch: Patch) -> type[Worker]:
    """The time of the first read left out is not restored from published incidents."""
    restore = Engine.restore

    def without(self: Engine, incident: LinkedIncident) -> None:
        restore(self, incident)
        for pair in self._pairs.values():
            pair._left_out_from_ms = None

    patch.setattr(Engine, "restore", without)
    return Worker


def published_revision_restored(patch: Patch) -> type[Worker]:
    """Restored incidents are not known to have been published."""
    restore = Engine.restore

    def unpublished(self: Engine, incident: LinkedIncident) -> None:
        restore(self, incident)
        for pair in self._pairs.values():
            pair.published = None

    patch.setattr(Engine, "restore", unpublished)
    return Worker


MUTATIONS: dict[str, Mutation] = {
    mutation.__name__: mutation
    for mutation in (
        watermark_from_offsets,
        unknown_finalized_time,
        hold_back,
        slack,
        strict_passing,
        first_reads,
        facts_at_the_deadline,
        frozen_shots,
        shots_horizon,
        hits_horizon,
        hits_span,
        pending_reads_restored,
        attached_reads_restored,
        review_restored,
        left_out_restored,
        published_revision_restored,
    )
}
