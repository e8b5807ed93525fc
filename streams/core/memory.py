"""What a partition must remember: shots, hits, reads and actions as facts, each for as long as it can matter.

Nothing here decides what links; `engine` does. Memory is let go of by the watermark alone, and only when it is greater
than the time in question: equal stamps may still come.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from streams.core.events import (
    READS,
    Event,
    IncidentAction,
    InvalidRecord,
    Outcome,
    PlateRead,
    ShotAlert,
    VehicleHit,
    decode,
)
from streams.core.facts import Versions
from streams.core.plates import plate_key
from streams.core.rules import JoinRules
from streams.core.unlisted_reads import CompressedReads
from streams.core.windows import NEVER, Expiry, IntervalBuffer

F = TypeVar("F", bound=Event)

HitKey = tuple[str, str]
"""Plate key, hit id."""


class Memory:
    """The facts of one partition. ``watermark_ms``: what was judged before it is not taken in again."""

    def __init__(self, rules: JoinRules, watermark_ms: int = NEVER) -> None:
        self._rules = rules
        self.watermark_ms = watermark_ms
        self.shots: dict[str, Versions[ShotAlert]] = {}
        self._shot_times: IntervalBuffer[None, str] = IntervalBuffer()
        self._freezes: Expiry[str] = Expiry()
        self._frozen: dict[str, int] = {}
        self._frozen_memory: Expiry[str] = Expiry()
        self.hits: dict[str, dict[str, Versions[VehicleHit]]] = {}
        self._hit_memory: Expiry[HitKey] = Expiry()
        self._reads: IntervalBuffer[str, Versions[PlateRead]] = IntervalBuffer()
        self._read_ids: dict[tuple[str, str, int], Versions[PlateRead]] = {}
        self.unlisted = CompressedReads()
        """Reads of plates that nobody lists, as their records' bytes: a theft may be reported later."""
        self._actions: dict[str, dict[str, Versions[IncidentAction]]] = {}
        self._action_memory: Expiry[tuple[str, str]] = Expiry()

    @property
    def reads_kept(self) -> int:
        """How many reads are in memory."""
        return len(self._reads) + len(self.unlisted)

    # ------------------------------------------------------------------ taking in

    def add_shot(self, shot: ShotAlert, stamp_ms: int, first_ms: int | None = None) -> bool:
        """Take in a shot's record; return whether it can still change anything.

        ``first_ms``: the first stamp of the shot, where it is known from an incident.
        """
        if shot.alert_id in self._frozen:
            return False
        versions = self.shots.get(shot.alert_id)
        if versions is None:
            versions = self.shots[shot.alert_id] = Versions()
        before_ms = versions.first_ms
        times = {version.event.occurred_at_ms for version in versions}
        versions.add(shot, stamp_ms)
        if first_ms is not None:
            versions.first_ms = min(versions.first_ms, first_ms)
        if versions.first_ms < before_ms:
            self._freezes.add(versions.first_ms + self._rules.incident_retention_ms, shot.alert_id)
        if shot.occurred_at_ms not in times:
            self._shot_times.add(None, shot.occurred_at_ms, shot.alert_id)
        return True

    def add_hit(self, hit: VehicleHit, key: str, stamp_ms: int, told: bool = False) -> Outcome:
        """Take in a hit's record; raises `InvalidRecord` (``limit``), but not for what an incident has told."""
        listed = self.hits.get(key)
        if listed is None:
            listed = self.hits[key] = {}
            self._recall(key)
        versions = listed.get(hit.hit_id)
        if versions is None:
            if len(listed) >= self._rules.max_hits_per_plate and not told:
                raise InvalidRecord(
                    "limit",
                    "plate",
                    f"{len(listed)} listings lie under one plate key already; withdraw old ones or raise "
                    "max_hits_per_plate",
                )
            versions = listed[hit.hit_id] = Versions()
            self._hit_memory.add(stamp_ms + self._rules.hit_memory_ms, (key, hit.hit_id))
        return versions.add(hit, stamp_ms)

    def was_judged(self, captured_ms: int) -> bool:
        """Whether the time of a read captured then was up before the watermark."""
        return captured_ms + self._rules.read_retention_ms < self.watermark_ms

    def add_read(self, read: PlateRead, key: str, stamp_ms: int, revision: int = 0) -> Outcome:
        """Take in a read of a listed plate as a fact.

        ``revision`` is below 0 for what an incident tells of a read: the record itself says more and replaces it.
        """
        identity = (key, read.read_id, read.captured_at_ms)
        versions = self._read_ids.get(identity)
        if versions is None:
            versions = self._read_ids[identity] = Versions()
            self._reads.add(key, read.captured_at_ms, versions)
        return versions.add(read, stamp_ms, revision)

    def _recall(self, key: str) -> None:
        """Make facts of the reads of a plate that is listed now and was not when they came."""
        for stamp_ms, value in self.unlisted.of(key):
            read = decode(READS, value)
            assert isinstance(read, PlateRead)
            if not self.was_judged(read.captured_at_ms) and plate_key(read.plate) == key:
                self.add_read(read, key, stamp_ms)

    def add_action(self, action: IncidentAction, stamp_ms: int) -> None:
        """Take in an action's record, whether or not its incident is known."""
        if stamp_ms + self._rules.incident_retention_ms < self.watermark_ms:
            return
        taken = self._actions.setdefault(action.incident_id, {})
        if action.action_id not in taken:
            taken[action.action_id] = Versions()
            due_ms = stamp_ms + self._rules.incident_retention_ms
            self._action_memory.add(due_ms, (action.incident_id, action.action_id))
        taken[action.action_id].add(action, stamp_ms)

    # ------------------------------------------------------------------ asking

    def shots_around(self, captured_at_ms: int) -> set[str]:
        """Return the shots in whose window, after any of their revisions, a read of this time lies."""
        around = self._shot_times.between(
            None, captured_at_ms - self._rules.after_ms, captured_at_ms + self._rules.before_ms
        )
        return {alert_id for alert_id in around if alert_id in self.shots}

    def plates_read(self) -> Iterator[str]:
        """Hand out the keys of the plates that have facts of reads."""
        return iter(self._reads)

    def reads(self, key: str, from_ms: int = NEVER, to_ms: int = -NEVER) -> Iterator[Versions[PlateRead]]:
        """Hand out the facts of a plate's reads in an interval of time, both ends included."""
        return self._reads.between(key, from_ms, to_ms)

    def actions(self, incident_id: str) -> Iterable[Versions[IncidentAction]]:
        """Return the actions on an incident."""
        return self._actions.get(incident_id, {}).values()

    # ------------------------------------------------------------------ letting go

    def release_reads(self) -> dict[str, list[Versions[PlateRead]]]:
        """Let go of the reads whose time is up and return those of listed plates, by key, to be judged for good."""
        captured_before_ms = self.watermark_ms - self._rules.read_retention_ms
        gone: dict[str, list[Versions[PlateRead]]] = {}
        for key, versions in self._reads.release(captured_before_ms):
            read = next(iter(versions)).event
            del self._read_ids[key, read.read_id, read.captured_at_ms]
            if key in self.hits:
                gone.setdefault(key, []).append(versions)
        self.unlisted.release(captured_before_ms)
        return gone

    def release_shots(self) -> list[str]:
        """Freeze the shots whose time is up and return them; of each its id and first stamp are kept for a while."""
        frozen = []
        for alert_id in self._freezes.due(self.watermark_ms):
            if alert_id in self.shots:
                first_ms = self.shots.pop(alert_id).first_ms
                self._frozen[alert_id] = first_ms
                self._frozen_memory.add(first_ms + self._rules.shot_memory_ms, alert_id)
                frozen.append(alert_id)
        for alert_id in self._frozen_memory.due(self.watermark_ms):
            self._frozen.pop(alert_id, None)
        # no read that is still to be judged lies in the window of a shot before this
        self._shot_times.release(self.watermark_ms - self._rules.read_retention_ms - self._rules.after_ms)
        return frozen

    def release_hits(self) -> None:
        """Let go of listings that can matter to no incident any more."""
        _forget(self.hits, self._hit_memory, self.watermark_ms, self._rules.hit_memory_ms)

    def release_actions(self) -> None:
        """Let go of actions that can matter to no incident any more."""
        _forget(self._actions, self._action_memory, self.watermark_ms, self._rules.incident_retention_ms)


def _forget(
    facts: dict[str, dict[str, Versions[F]]], expiry: Expiry[tuple[str, str]], watermark_ms: int, keep_ms: int
) -> None:
    """Let go of identities whose last stamp is older than ``keep_ms``; the others are due again later."""
    again = []
    for one, other in expiry.due(watermark_ms):
        versions = facts[one][other]
        if not versions.forget(watermark_ms, keep_ms):
            again.append((versions.last_ms + keep_ms, (one, other)))
            continue
        del facts[one][other]
        if not facts[one]:
            del facts[one]
    for due_ms, identity in again:
        expiry.add(due_ms, identity)
