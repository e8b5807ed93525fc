"""The join of one partition: records in, linked incidents out.

The engine holds what JOIN.md requires and nothing more: shots, hits, reads and actions as facts
with their stamps; for each incident, the reads attached when their time was up and the revision
last published. Its incidents depend on which records it was given, never on their order, on
duplicates, or on how often `changes` was called.

Invariants:

* ``join`` and ``apply_broadcast`` only add facts and mark the incidents that may differ;
  ``changes`` returns those that do; ``release`` frees memory. The caller publishes the changes
  before it releases.
* Only the watermark releases memory, and only when it is greater than the time in question: records
  with an equal stamp may still come.
* Before a read is released it is evaluated for every shot and hit it could be evidence for; the
  result is kept (`_Pair.attached`).
* Only a present fact retracts an incident. What is unknown changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import compress
from operator import not_

from streams.core.events import IncidentAction, LinkedIncident, Outcome, PlateRead, ShotAlert, VehicleHit
from streams.core.facts import Version, Versions
from streams.core.incidents import (
    MAX_ACTIONS,
    MAX_READS,
    IncidentBuilder,
    IncidentFacts,
    StampedRead,
    actions_of,
    hit_of,
    incident_id,
    reads_of,
    rests_on_same_facts,
    same_content,
    shot_of,
)
from streams.core.intake import Admitted, AdmittedReads
from streams.core.linking import is_evidence, is_near
from streams.core.memory import HitKey, Memory
from streams.core.plates import plate_key
from streams.core.rules import JoinRules
from streams.core.scoring import DEFAULT, Calibration
from streams.core.site import Site
from streams.core.windows import NEVER

PairKey = tuple[str, str, str]
"""Alert id, hit id, plate key."""


class _Pair:
    """A shot and a hit that reads link: the finalized reads, and the last published revision."""

    __slots__ = ("attached", "incident_id", "left_out_from_ms", "published", "stands")

    def __init__(self, identifier: str) -> None:
        self.incident_id = identifier
        self.attached: list[StampedRead] = []
        self.left_out_from_ms: int | None = None
        self.published: LinkedIncident | None = None
        self.stands = False
        """Whether it was published under another digest, and stands until its facts change."""


class Engine:
    """The join of one partition of hits and reads with all shots and actions."""

    def __init__(
        self, site: Site, rules: JoinRules, calibration: Calibration = DEFAULT, finalized_through_ms: int = NEVER
    ) -> None:
        """``finalized_through_ms``: the watermark reached by earlier engines of this partition."""
        self._ramps = site.ramps
        self._rules = rules
        self._builder = IncidentBuilder(site, rules, calibration)
        self._memory = Memory(rules, finalized_through_ms)
        self._finalized_through_ms = finalized_through_ms
        self._pairs: dict[PairKey, _Pair] = {}
        self._pairs_of_shot: dict[str, set[PairKey]] = {}
        self._pairs_of_hit: dict[HitKey, set[PairKey]] = {}
        self._pair_of_incident: dict[str, PairKey] = {}
        self._dirty: dict[PairKey, None] = {}
        self._withheld: set[str] = set()

    @property
    def reads_kept(self) -> int:
        """How many reads are in memory."""
        return self._memory.reads_kept

    # ------------------------------------------------------------------ adding facts

    def join(self, admitted: Admitted) -> Outcome:
        """Add a hit or a read and return its outcome; raises `InvalidRecord` (``limit``)."""
        event, record = admitted.event, admitted.record
        if type(event) is PlateRead:
            return self._join_read(event, admitted.plate_key, record.stamp_ms, record.value or b"")
        assert isinstance(event, VehicleHit)
        return self._join_hit(event, admitted.plate_key, record.stamp_ms)

    def apply_broadcast(self, admitted: Admitted) -> None:
        """Add a shot or an action; `BroadcastState` decides its outcome."""
        if isinstance(admitted.event, ShotAlert):
            self._apply_shot(admitted.event, admitted.stamp_ms)
        elif isinstance(admitted.event, IncidentAction):
            self._apply_action(admitted.event, admitted.stamp_ms)

    def join_reads(self, batch: AdmittedReads) -> dict[Outcome, int]:
        """Add many reads, as `join` of each but faster; return how many had which outcome."""
        outcomes: dict[Outcome, int] = defaultdict(int)
        listed, keys = self._memory.hits, batch.plate_keys
        some_finalized = self._memory.was_finalized(min(batch.captured_ms))
        plain = [key not in listed and not some_finalized for key in keys]
        rows = zip(batch.reads, keys, batch.stamps_ms, batch.values, strict=True)
        for row in compress(rows, map(not_, plain)):
            outcomes[self._join_read(*row)] += 1
        if any(plain):
            outcomes["used"] += sum(plain)
            columns = (compress(keys, plain), compress(batch.stamps_ms, plain), compress(batch.values, plain))
            self._memory.unlisted.extend(max(batch.captured_ms), *columns)
        return outcomes

    def _join_read(self, read: PlateRead, key: str, stamp_ms: int, value: bytes) -> Outcome:
        if self._memory.was_finalized(read.captured_at_ms):
            return "duplicate"
        listed = self._memory.hits.get(key)
        if listed is None:
            self._memory.unlisted.append(read.captured_at_ms, key, stamp_ms, value)
            return "used"
        for alert_id in self._memory.shots_around(read.captured_at_ms):
            near = self._near(self._memory.shots[alert_id], read)
            for hit_id in listed:
                if near or (alert_id, hit_id, key) in self._pairs:
                    self._dirty[alert_id, hit_id, key] = None
        return self._memory.add_read(read, key, stamp_ms)

    def _join_hit(self, hit: VehicleHit, key: str, stamp_ms: int) -> Outcome:
        outcome = self._memory.add_hit(hit, key, stamp_ms)
        for read in self._memory.reads(key):
            for alert_id in self._memory.shots_around(_captured_at_ms(read)):
                if any(self._near(self._memory.shots[alert_id], version.event) for version in read):
                    self._dirty[alert_id, hit.hit_id, key] = None
        self._dirty.update(dict.fromkeys(self._pairs_of_hit.get((key, hit.hit_id), ())))
        return outcome

    def _apply_shot(self, shot: ShotAlert, stamp_ms: int) -> None:
        if not self._memory.add_shot(shot, stamp_ms):
            return
        from_ms = shot.occurred_at_ms - self._rules.before_ms
        to_ms = shot.occurred_at_ms + self._rules.after_ms
        for key in self._memory.plates_read():
            reads = (version.event for read in self._memory.reads(key, from_ms, to_ms) for version in read)
            if any(is_near(shot, read, self._ramps[read.ramp_id], self._rules) for read in reads):
                for hit_id in self._memory.hits.get(key, ()):
                    self._dirty[shot.alert_id, hit_id, key] = None
        self._dirty.update(dict.fromkeys(self._pairs_of_shot.get(shot.alert_id, ())))

    def _apply_action(self, action: IncidentAction, stamp_ms: int) -> None:
        self._memory.add_action(action, stamp_ms)
        pair = self._pair_of_incident.get(action.incident_id)
        if pair is not None:
            self._dirty[pair] = None

    def _near(self, shot: Versions[ShotAlert], read: PlateRead) -> bool:
        """Whether the read could be evidence, by place and time, for any revision of the shot."""
        ramp = self._ramps[read.ramp_id]
        return any(is_near(version.event, read, ramp, self._rules) for version in shot)

    def restore(self, incident: LinkedIncident, under_other_digest: bool = False, stands: bool = False) -> None:
        """Add the facts of an incident published before this engine began (JOIN.md, Recovery).

        ``under_other_digest``: it was published under another site file, other rules or another
        calibration, so its shot may freeze at another time now. ``stands``: it stands as published
        until its facts change: an upgrade retracts nothing by itself.

        Reads whose deadline had passed are attached for good. The others are added as reads, and
        their own records replace what the incident says of them. Frozen incidents need nothing.
        Reads at ramps that the site file no longer has are skipped.
        """
        finalized_through_ms, rules = self._memory.watermark_ms, self._rules
        reads = [stamped for stamped in reads_of(incident) if stamped.read.ramp_id in self._ramps]
        # Under other rules shots may freeze at another time, which follows from the topic of shots.
        if incident.frozen_at_ms < finalized_through_ms and not under_other_digest:
            return
        hit, key = hit_of(incident), plate_key(incident.vehicle.plate)
        first_ms = None if under_other_digest else incident.frozen_at_ms - rules.incident_retention_ms
        self._memory.add_shot(shot_of(incident), incident.shot.stamp_ms, first_ms)
        self._memory.add_hit(hit, key, incident.vehicle.stamp_ms, restored=True)
        pair = self._pair((incident.shot.alert_id, hit.hit_id, key))
        pair.published, pair.stands = incident, stands
        for stamped in reads:
            if self._memory.was_finalized(stamped.read.captured_at_ms):
                pair.attached.append(stamped)
            else:
                self._memory.add_read(stamped.read, key, stamped.stamp_ms, revision=-1)
        for action, stamp_ms in actions_of(incident):
            self._memory.add_action(action, stamp_ms)
        left_out_ms = incident.left_out_from_ms
        if left_out_ms is not None and left_out_ms + rules.read_retention_ms < finalized_through_ms:
            pair.left_out_from_ms = left_out_ms
        self._dirty[incident.shot.alert_id, hit.hit_id, key] = None

    def withhold(self, incident_id: str) -> None:
        """Never publish this incident: its last revision is one that this version cannot read."""
        self._withheld.add(incident_id)

    # ------------------------------------------------------------------ incidents

    def changes(self, only_new: bool = False) -> list[LinkedIncident]:
        """Return a new revision of each incident that differs from its last published one.

        The caller must publish them: the engine takes them as published. ``only_new``: leave out
        incidents that were published before; they wait for the next call without it.
        """
        if not self._dirty:
            return []
        self._freeze()
        dirty, self._dirty = self._dirty, {}
        if only_new:
            self._dirty = {key: None for key in dirty if key in self._pairs and self._pairs[key].published}
            dirty = {key: None for key in dirty if key not in self._dirty}
        return [incident for key in sorted(dirty) if (incident := self._change(key)) is not None]

    def _change(self, key: PairKey) -> LinkedIncident | None:
        facts = self._facts_of(key)
        pair = self._pairs.get(key)
        last = pair.published if pair else None
        if facts is None or (last is None and not facts.attached) or facts.incident_id in self._withheld:
            return None
        incident = self._builder.build(facts, last.revision + 1 if last else 1)
        if last is not None and same_content(incident, last):
            return None
        pair = pair or self._pair(key)
        if last is not None and pair.stands and rests_on_same_facts(incident, last, self._finalized_through_ms):
            return None
        pair.published, pair.stands = incident, False
        return incident

    def _facts_of(self, key: PairKey) -> IncidentFacts | None:
        """The present facts of an incident; None if its shot or its hit is unknown."""
        alert_id, hit_id, plate_key = key
        shot, hit = self._memory.shots.get(alert_id), self._memory.hits.get(plate_key, {}).get(hit_id)
        if shot is None or hit is None:
            return None
        span = _Span(shot.first_ms, self._rules)
        shot_now, hit_now = shot.fact(span.freeze_ms), hit.fact(span.freeze_ms, span.since_ms)
        if shot_now is None or hit_now is None:
            return None
        pair = self._pairs.get(key)
        attached = list(pair.attached) if pair else []
        attached += self._attached(shot, hit, self._candidates(plate_key, shot))
        attached, left_out_from_ms = _first_reads(attached, pair.left_out_from_ms if pair else None)
        identifier = pair.incident_id if pair else incident_id(alert_id, hit_id, plate_key)
        return IncidentFacts(
            incident_id=identifier,
            shot=shot_now.event,
            shot_stamp_ms=shot_now.stamp_ms(),
            hit=hit_now.event,
            hit_stamp_ms=hit_now.stamp_ms(span.since_ms),
            attached=attached,
            left_out_from_ms=left_out_from_ms,
            review=self._review(identifier, span),
            frozen_at_ms=span.freeze_ms,
        )

    def _candidates(self, plate_key: str, shot: Versions[ShotAlert]) -> Iterator[Versions[PlateRead]]:
        """The reads in memory within the window of any revision of the shot."""
        times = [version.event.occurred_at_ms for version in shot]
        return self._memory.reads(plate_key, min(times) - self._rules.before_ms, max(times) + self._rules.after_ms)

    def _attached(
        self, shot: Versions[ShotAlert], hit: Versions[VehicleHit], reads: Iterable[Versions[PlateRead]]
    ) -> Iterator[StampedRead]:
        """The reads that were evidence when their time was up, or are evidence now if it is not."""
        span = _Span(shot.first_ms, self._rules)
        for versions in reads:
            read = versions.fact(span.freeze_ms)
            if read is None:
                continue
            decided_ms = min(read.event.captured_at_ms + self._rules.read_retention_ms, span.freeze_ms)
            shot_then, hit_then = shot.fact(decided_ms), hit.fact(decided_ms, span.since_ms)
            if shot_then and hit_then and self._links(shot_then, hit_then, read):
                yield StampedRead(read.event, read.stamp_ms())

    def _links(self, shot: Version[ShotAlert], hit: Version[VehicleHit], read: Version[PlateRead]) -> bool:
        ramp = self._ramps[read.event.ramp_id]
        return is_evidence(shot.event, hit.event, read.event, ramp, self._rules)

    def _review(self, identifier: str, span: _Span) -> list[tuple[IncidentAction, int]]:
        """The actions that count for an incident, in order, each with its stamp."""
        taken = self._memory.actions(identifier)
        known = [fact for versions in taken if (fact := versions.fact(span.freeze_ms, span.first_ms)) is not None]
        known.sort(key=lambda version: (version.event.at_ms, version.event.action_id))
        return [(version.event, version.stamp_ms(span.first_ms)) for version in known[:MAX_ACTIONS]]

    def _pair(self, key: PairKey) -> _Pair:
        """Return the pair for a key; create it if it is new."""
        pair = self._pairs.get(key)
        if pair is None:
            pair = self._pairs[key] = _Pair(incident_id(*key))
            self._pairs_of_shot.setdefault(key[0], set()).add(key)
            self._pairs_of_hit.setdefault((key[2], key[1]), set()).add(key)
            self._pair_of_incident[pair.incident_id] = key
        return pair

    # ------------------------------------------------------------------ releasing memory

    def release(self, watermark_ms: int) -> None:
        """Release everything the watermark has passed.

        The last `changes` must be published already.
        """
        assert not self._dirty, "call changes() and publish them before releasing memory"
        if watermark_ms <= self._memory.watermark_ms:
            return
        self._memory.watermark_ms = watermark_ms
        for key, reads in self._memory.release_reads().items():
            for hit_id, hit in self._memory.hits[key].items():
                self._finalize(key, hit_id, hit, reads)
        self._freeze()
        self._memory.release_hits()
        self._memory.release_actions()

    def _finalize(self, key: str, hit_id: str, hit: Versions[VehicleHit], reads: list[Versions[PlateRead]]) -> None:
        around = {alert_id for read in reads for alert_id in self._memory.shots_around(_captured_at_ms(read))}
        for alert_id in around:
            attached = list(self._attached(self._memory.shots[alert_id], hit, reads))
            if attached:
                pair = self._pair((alert_id, hit_id, key))
                pair.attached, pair.left_out_from_ms = _first_reads(pair.attached + attached, pair.left_out_from_ms)

    def _freeze(self) -> None:
        """Release the incidents of frozen shots; they stay as last published."""
        for alert_id in self._memory.release_shots():
            for key in self._pairs_of_shot.pop(alert_id, set()):
                del self._pair_of_incident[self._pairs.pop(key).incident_id]
                of_hit = self._pairs_of_hit[key[2], key[1]]
                of_hit.discard(key)
                if not of_hit:
                    del self._pairs_of_hit[key[2], key[1]]


class _Span:
    """The span of stamps that an incident depends on, from its shot's first stamp."""

    __slots__ = ("first_ms", "freeze_ms", "since_ms")

    def __init__(self, first_ms: int, rules: JoinRules) -> None:
        self.first_ms = first_ms
        self.freeze_ms = first_ms + rules.incident_retention_ms
        self.since_ms = first_ms - rules.hit_ttl_ms - rules.read_retention_ms - rules.max_future_skew_ms


def _captured_at_ms(read: Versions[PlateRead]) -> int:
    return next(iter(read)).event.captured_at_ms


def _first_reads(attached: list[StampedRead], left_out_from_ms: int | None) -> tuple[list[StampedRead], int | None]:
    """Return the reads an incident keeps, and the time of the first one it leaves out."""
    kept = sorted(attached, key=lambda stamped: stamped.order)
    if len(kept) > MAX_READS:
        first_out_ms = kept[MAX_READS].read.captured_at_ms
        left_out_from_ms = first_out_ms if left_out_from_ms is None else min(first_out_ms, left_out_from_ms)
    return kept[:MAX_READS], left_out_from_ms
