"""The memory of one partition: shots, hits, reads and actions as facts, each while it can matter.

What links is decided in `engine`, not here. Only the watermark releases memory, and only when it is
greater than the time in question: records with an equal stamp may still come.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final, TypeVar

from streams.core.codec import ENCODER, decode
from streams.core.events import Event, IncidentAction, InvalidRecord, Outcome, PlateRead, ShotAlert, VehicleHit
from streams.core.facts import CONTENTS_MAX, HIT_CONTENTS_MAX, Versions
from streams.core.plates import plate_key
from streams.core.rules import JoinRules
from streams.core.topics import READS
from streams.core.unlisted_reads import CompressedReads
from streams.core.windows import NEVER, Expiry, IntervalBuffer

F = TypeVar("F", bound=Event)

HitKey = tuple[str, str]
"""Plate key, hit id."""
ReadKey = tuple[str, str, int]
"""Plate key, read id, time of capture."""

LISTED_READ_BYTES: Final = 1_200
"""Of memory for a read of a listed plate, measured with long texts left out."""
_AS_RECEIVED_BYTES_MAX: Final = 512
"""Larger records of reads are kept without the fields that rampwatch does not know."""


class Memory:
    """The facts of one partition."""

    def __init__(self, rules: JoinRules, watermark_ms: int = NEVER) -> None:
        """``watermark_ms``: reads with an earlier deadline are final, and are not added again."""
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
        self._read_ids: dict[ReadKey, Versions[PlateRead]] = {}
        self.unlisted = CompressedReads()
        """Reads of plates that are not listed (yet: a theft may be reported later)."""
        self._found = _Found()
        self._actions: dict[str, dict[str, Versions[IncidentAction]]] = {}
        self._action_memory: Expiry[tuple[str, str]] = Expiry()

    @property
    def reads_kept(self) -> int:
        """How many reads are in memory."""
        return len(self._reads) + len(self.unlisted)

    @property
    def bytes_kept(self) -> int:
        """About how many bytes the reads in memory take."""
        return LISTED_READ_BYTES * len(self._reads) + self.unlisted.bytes_kept

    # ------------------------------------------------------------------ adding facts

    def add_shot(self, shot: ShotAlert, stamp_ms: int, first_ms: int | None = None) -> bool:
        """Add a record of a shot; return False, having added nothing, if it takes no part.

        The shot is frozen, or the record came more than ``shot_memory_ms`` after its event: when
        the shot was forgotten must make no difference.

        ``first_ms``: the shot's first stamp, if a published incident gives it.
        """
        if shot.alert_id in self._frozen or stamp_ms - shot.occurred_at_ms > self._rules.shot_memory_ms:
            return False
        versions = self.shots.get(shot.alert_id)
        if versions is None:
            versions = self.shots[shot.alert_id] = Versions()
        known_first_ms = versions.first_ms
        known_times = {version.event.occurred_at_ms for version in versions}
        versions.add(shot, stamp_ms)
        if first_ms is not None:
            versions.first_ms = min(versions.first_ms, first_ms)
        if versions.first_ms < known_first_ms:
            self._freezes.add(versions.first_ms + self._rules.incident_retention_ms, shot.alert_id)
        if shot.occurred_at_ms not in known_times:
            self._shot_times.add(None, shot.occurred_at_ms, shot.alert_id)
        return True

    def add_hit(self, hit: VehicleHit, key: str, stamp_ms: int, restored: bool = False) -> Outcome:
        """Add a record of a hit and return its outcome; raises `InvalidRecord` (``limit``).

        ``restored``: it comes from a published incident, and is added beyond the limit as well.
        """
        listed = self.hits.get(key)
        if listed is None:
            if not restored:
                self._check_room("this hit is not listed")
            self._restore_unlisted(key)
            listed = self.hits[key] = {}
        versions = listed.get(hit.hit_id)
        if versions is None:
            if len(listed) >= self._rules.max_hits_per_plate and not restored:
                raise InvalidRecord(
                    "limit",
                    "plate",
                    f"this plate key has {len(listed)} hits already; raise max_hits_per_plate if they are real, else "
                    "correct the list",
                )
            versions = listed[hit.hit_id] = Versions()
            self._hit_memory.add(stamp_ms + self._rules.hit_horizon_ms, (key, hit.hit_id))
        if not restored:
            check_contents(versions, hit, "hit_id")
        return versions.add(hit, stamp_ms)

    @property
    def finalized_before_ms(self) -> int:
        """Reads captured before this time are final: the watermark has passed their deadline."""
        return self.watermark_ms - self._rules.read_retention_ms

    def was_finalized(self, captured_ms: int) -> bool:
        """Return whether the watermark has passed the deadline of a read captured at this time."""
        return captured_ms < self.finalized_before_ms

    def add_unlisted(self, read: PlateRead, key: str, stamp_ms: int, value: bytes) -> None:
        """Keep a read of a plate that is not listed; raises `InvalidRecord` (``limit``)."""
        self._check_room("this read is not kept")
        # unknown fields may be most of a record
        kept = value if len(value) <= _AS_RECEIVED_BYTES_MAX else ENCODER.encode(read)
        self.unlisted.append(read.captured_at_ms, key, stamp_ms, kept)

    def add_read(self, read: PlateRead, key: str, stamp_ms: int, revision: int = 0) -> Outcome:
        """Add a record of a read of a listed plate and return its outcome.

        ``revision`` is -1 for a read restored from a published incident, so that the read's own
        record, which has more fields, replaces it; no limit applies to it. Raises `InvalidRecord`
        (``limit``).
        """
        identity = (key, read.read_id, read.captured_at_ms)
        versions = self._read_ids.get(identity)
        if versions is None:
            if revision >= 0:
                self._check_reads_of(key)
            versions = self._read_ids[identity] = Versions()
            self._reads.add(key, read.captured_at_ms, versions)
        elif revision >= 0:
            check_contents(versions, read, "read_id")
        return versions.add(read, stamp_ms, revision)

    def has_room(self, reads: Iterable[tuple[PlateRead, str]]) -> bool:
        """Return whether no limit applies to these reads, by the number of records alone."""
        if self.bytes_kept > self._rules.max_read_bytes_kept:
            return False
        listed = [(key, read.read_id, read.captured_at_ms) for read, key in reads]
        contents, reads_of = Counter(listed), Counter(key for key, _, _ in listed)
        return all(
            len(self._read_ids.get(identity, ())) + count <= CONTENTS_MAX for identity, count in contents.items()
        ) and all(self._reads.count(key) + count <= self._rules.max_reads_per_plate for key, count in reads_of.items())

    def _check_reads_of(self, key: str) -> None:
        if self._reads.count(key) >= self._rules.max_reads_per_plate:
            raise InvalidRecord(
                "limit",
                "plate",
                f"this plate key has {self._rules.max_reads_per_plate} reads in memory; find the camera that repeats "
                "itself, or raise max_reads_per_plate",
            )

    def _check_room(self, consequence: str) -> None:
        if self.bytes_kept > self._rules.max_read_bytes_kept:
            raise InvalidRecord(
                "limit",
                "",
                f"the partition keeps {self.bytes_kept} bytes of reads, {consequence}; raise max_read_bytes_kept, "
                "lower read_retention_ms, or use more partitions",
            )

    # ------------------------------------------------------------------ plates listed later

    def search_unlisted(self, keys: Iterable[str]) -> Iterator[None]:
        """Find the reads of plates that may be listed next, all in one pass; yield between steps.

        `add_hit` then takes what was found. Without a search it makes one for its plate.
        """
        new = frozenset(keys) - self.hits.keys()
        found = _Found(new, self.unlisted.appended)
        for rows in self.unlisted.search(new) if new else ():
            for stamp_ms, value in rows:
                found.add(stamp_ms, value)
            yield
        self._found = found

    def _restore_unlisted(self, key: str) -> None:
        """Add the reads of a plate that was not listed when they arrived, and is listed now."""
        if not self._found.covers(key, self.unlisted.appended):
            for _ in self.search_unlisted((key,)):
                pass
        for read, stamp_ms in self._found.of(key):
            if not self.was_finalized(read.captured_at_ms):
                with suppress(InvalidRecord):  # beyond the limit of reads a plate
                    self.add_read(read, key, stamp_ms)

    def add_action(self, action: IncidentAction, stamp_ms: int) -> None:
        """Add a record of an action, whether or not its incident is known.

        `BroadcastState` limits their contents.
        """
        if stamp_ms + self._rules.incident_retention_ms < self.watermark_ms:
            return
        actions = self._actions.setdefault(action.incident_id, {})
        if action.action_id not in actions:
            actions[action.action_id] = Versions()
            due_ms = stamp_ms + self._rules.incident_retention_ms
            self._action_memory.add(due_ms, (action.incident_id, action.action_id))
        actions[action.action_id].add(action, stamp_ms)

    # ------------------------------------------------------------------ queries

    def shots_around(self, captured_at_ms: int) -> set[str]:
        """Return the shots whose window, by any of their revisions, contains this time."""
        around = self._shot_times.between(
            None, captured_at_ms - self._rules.after_ms, captured_at_ms + self._rules.before_ms
        )
        return {alert_id for alert_id in around if alert_id in self.shots}

    def plates_read(self) -> list[str]:
        """Return the keys of the listed plates that have reads."""
        return list(self._reads)

    def reads(self, key: str, from_ms: int = NEVER, to_ms: int = -NEVER) -> Iterator[Versions[PlateRead]]:
        """Yield the reads of a plate captured in an interval, both ends included."""
        return self._reads.between(key, from_ms, to_ms)

    def read(self, key: str, read_id: str, captured_at_ms: int) -> Versions[PlateRead]:
        """Return all contents of a read of a listed plate."""
        return self._read_ids[key, read_id, captured_at_ms]

    def actions(self, incident_id: str) -> Iterable[Versions[IncidentAction]]:
        """Return the actions on an incident."""
        return self._actions.get(incident_id, {}).values()

    # ------------------------------------------------------------------ releasing

    def release_reads(self) -> set[str]:
        """Release the reads whose deadline has passed; return the keys of the listed plates."""
        keys = set()
        for key, versions in self._reads.release(self.finalized_before_ms):
            read = next(iter(versions)).event
            del self._read_ids[key, read.read_id, read.captured_at_ms]
            keys.add(key)
        self.unlisted.release(self.finalized_before_ms)
        return keys

    def release_shots(self) -> list[str]:
        """Release the shots whose freeze has passed and return their ids.

        Their ids and first stamps are remembered for ``shot_horizon_ms``.
        """
        frozen = []
        for alert_id in self._freezes.due(self.watermark_ms):
            if alert_id in self.shots:
                first_ms = self.shots.pop(alert_id).first_ms
                self._frozen[alert_id] = first_ms
                self._frozen_memory.add(first_ms + self._rules.shot_horizon_ms, alert_id)
                frozen.append(alert_id)
        for alert_id in self._frozen_memory.due(self.watermark_ms):
            self._frozen.pop(alert_id, None)
        # No read that is not final yet is in the window of an earlier shot, and a read that was
        # forwarded late may be in that of any shot that is not frozen.
        longest_ms = max(self._rules.read_retention_ms, self._rules.incident_retention_ms)
        self._shot_times.release(self.watermark_ms - longest_ms - self._rules.after_ms)
        return frozen

    def release_hits(self) -> None:
        """Release the hits that can no longer matter to any incident."""
        _forget(self.hits, self._hit_memory, self.watermark_ms, self._rules.hit_horizon_ms)

    def release_actions(self) -> None:
        """Release the actions that can no longer matter to any incident."""
        _forget(self._actions, self._action_memory, self.watermark_ms, self._rules.incident_retention_ms)


class Touched:
    """What new facts were added of, until it is known which pairs they change."""

    def __init__(self) -> None:
        self.shots: dict[str, None] = {}
        self.hits: dict[HitKey, None] = {}
        self.reads: OrderedDict[ReadKey, None] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self.shots or self.hits or self.reads)


def check_contents(versions: Versions[F], event: F, field: str) -> None:
    """Raise `InvalidRecord` (``limit``) if an identity has no room for another content."""
    most = HIT_CONTENTS_MAX if isinstance(event, VehicleHit) else CONTENTS_MAX
    if len(versions) >= most and not versions.knows(event):
        raise InvalidRecord("limit", field, f"{most} different contents of one id; give each event an id of its own")


class _Found:
    """The reads found for plates that may be listed next."""

    def __init__(self, keys: frozenset[str] = frozenset(), appended: int = 0) -> None:
        self._keys = keys
        self._appended = appended
        self._reads: dict[str, list[tuple[PlateRead, int]]] = {}

    def add(self, stamp_ms: int, value: bytes) -> None:
        read = decode(READS, value)
        assert isinstance(read, PlateRead)
        key = plate_key(read.plate)
        if key in self._keys:  # the search goes by checksums
            self._reads.setdefault(key, []).append((read, stamp_ms))

    def covers(self, key: str, appended: int) -> bool:
        """Return whether it holds all reads of a plate, given how many reads were ever appended."""
        return key in self._keys and appended == self._appended

    def of(self, key: str) -> list[tuple[PlateRead, int]]:
        return self._reads.pop(key, [])


def _forget(
    facts: dict[str, dict[str, Versions[F]]], expiry: Expiry[tuple[str, str]], watermark_ms: int, keep_ms: int
) -> None:
    """Release identities whose last stamp is older than ``keep_ms``; others are due later."""
    later = []
    for outer, inner in expiry.due(watermark_ms):
        versions = facts[outer][inner]
        if not versions.forget(watermark_ms, keep_ms):
            later.append((versions.last_ms + keep_ms, (outer, inner)))
            continue
        del facts[outer][inner]
        if not facts[outer]:
            del facts[outer]
    for due_ms, identity in later:
        expiry.add(due_ms, identity)
