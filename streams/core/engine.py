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
  result is kept (`Pair.finalized`).
* Only a present fact retracts an incident. What is unknown changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import compress
from operator import not_
from typing import Final

from streams.core.events import IncidentAction, LinkedIncident, Outcome, PlateRead, ShotAlert, VehicleHit
from streams.core.facts import Versions
from streams.core.incidents import (
    MAX_ACTIONS,
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
from streams.core.linking import is_evidence
from streams.core.memory import HitKey, Memory, ReadKey, Touched, marking
from streams.core.pairs import Pair, PairKey, ReadOrder, Span, may_be_near, order_of
from streams.core.plates import plate_key
from streams.core.rules import JoinRules
from streams.core.scoring import DEFAULT, Calibration
from streams.core.site import Site
from streams.core.windows import NEVER

_CONTENTS_A_STEP: Final = 2_000
"""Contents of shots that contents of reads are held against in one step: milliseconds."""
_EVALUATIONS_A_STEP: Final = 200
"""Evaluations of a read for a shot and a hit in one step: milliseconds."""


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
        self._pairs: dict[PairKey, Pair] = {}
        self._pairs_of_shot: dict[str, set[PairKey]] = {}
        self._pairs_of_hit: dict[HitKey, set[PairKey]] = {}
        self._pair_of_incident: dict[str, PairKey] = {}
        self._touched = Touched()
        self._dirty: dict[PairKey, bool] = {}
        """The pairs whose incident may differ; True: their reads have to be found out again."""
        self._withheld: set[str] = set()

    @property
    def reads_kept(self) -> int:
        """How many reads are in memory."""
        return self._memory.reads_kept

    @property
    def bytes_kept(self) -> int:
        """About how many bytes the reads in memory take."""
        return self._memory.bytes_kept

    # ------------------------------------------------------------------ adding facts

    def join(self, admitted: Admitted) -> Outcome:
        """Add a hit or a read and return its outcome; raises `InvalidRecord` (``limit``)."""
        event, record = admitted.event, admitted.record
        if type(event) is PlateRead:
            if self._memory.was_finalized(event.captured_at_ms) and not record.forwarded_from:
                return "finalized"
            return self._join_read(event, admitted.plate_key, record.stamp_ms, record.value or b"")
        assert isinstance(event, VehicleHit)
        outcome = self._memory.add_hit(event, admitted.plate_key, record.stamp_ms)
        self._touched.hits[admitted.plate_key, event.hit_id] = True
        return outcome

    def search_unlisted(self, keys: Iterable[str]) -> Iterator[None]:
        """Find the reads of plates whose hits come next, all in one pass; yield between steps.

        This changes no result. Without it, each newly listed plate is searched for by itself.
        """
        return self._memory.search_unlisted(keys)

    def apply_broadcast(self, admitted: Admitted) -> None:
        """Add a shot or an action; `BroadcastState` decides its outcome."""
        event = admitted.event
        if isinstance(event, ShotAlert):
            if self._memory.add_shot(event, admitted.stamp_ms):
                self._touched.shots[event.alert_id] = True
        elif isinstance(event, IncidentAction):
            self._memory.add_action(event, admitted.stamp_ms)
            pair = self._pair_of_incident.get(event.incident_id)
            if pair is not None:
                self._dirty.setdefault(pair, False)

    def join_reads(self, batch: AdmittedReads) -> dict[Outcome, int] | None:
        """Add many reads, as `join` of each but faster; return how many had which outcome.

        Returns None, having added nothing, if a limit may apply to one of them.
        """
        outcomes: dict[Outcome, int] = defaultdict(int)
        listed, keys = self._memory.hits, batch.plate_keys
        plain = [key not in listed for key in keys]
        if self._memory.was_finalized(min(batch.captured_ms)):
            final = map(self._memory.was_finalized, batch.captured_ms)
            plain = [is_plain and not is_final for is_plain, is_final in zip(plain, final, strict=True)]
        special = list(map(not_, plain))
        if not self._memory.has_room(compress(zip(batch.reads, keys, strict=True), special)):
            return None
        for row in compress(zip(batch.reads, keys, batch.stamps_ms, batch.values, strict=True), special):
            is_finalized = self._memory.was_finalized(row[0].captured_at_ms)
            outcomes["finalized" if is_finalized else self._join_read(*row)] += 1
        if any(plain):
            outcomes["used"] += sum(plain)
            columns = (compress(keys, plain), compress(batch.stamps_ms, plain), compress(batch.values, plain))
            self._memory.unlisted.extend(max(batch.captured_ms), *columns)
        return outcomes

    def _join_read(self, read: PlateRead, key: str, stamp_ms: int, value: bytes) -> Outcome:
        if key not in self._memory.hits:
            self._memory.add_unlisted(read, key, stamp_ms, value)
            return "used"
        outcome = self._memory.add_read(read, key, stamp_ms)
        self._touched.reads[key, read.read_id, read.captured_at_ms] = True
        return outcome

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
        final = [stamped for stamped in reads if self._memory.was_finalized(stamped.read.captured_at_ms)]
        for stamped in reads:
            if stamped not in final:
                self._memory.add_read(stamped.read, key, stamped.stamp_ms, revision=-1)
        for action, stamp_ms in actions_of(incident):
            self._memory.add_action(action, stamp_ms)
        left_out_ms = incident.left_out_from_ms
        is_final = left_out_ms is not None and self._memory.was_finalized(left_out_ms)
        pair.restore(final, left_out_ms if is_final else None)
        self._dirty[incident.shot.alert_id, hit.hit_id, key] = True

    def withhold(self, incident_id: str) -> None:
        """Never publish this incident: its last revision is one that this version cannot read."""
        self._withheld.add(incident_id)

    # ------------------------------------------------------------------ incidents

    def changes(self, only_new: bool = False) -> list[LinkedIncident]:
        """Return a new revision of each incident that differs from its last published one.

        The caller must publish them: the engine takes them as published. ``only_new``: leave out
        incidents that were published before; they wait for the next call without it.
        """
        if not self._dirty and not self._touched:
            return []
        return [incident for incident in self.changing(only_new) if incident is not None]

    def changing(self, only_new: bool = False) -> Iterator[LinkedIncident | None]:
        """Do the work of `changes` in steps of milliseconds, so that the caller can pause between.

        Yields None for a step without a new revision. Records may be added between steps. Whoever
        stops early goes on with another call.
        """
        self._freeze()
        yield from self._mark_touched()
        for key in sorted(self._dirty):
            if only_new and key in self._pairs and self._pairs[key].published:
                continue
            if self._dirty.pop(key, False):
                self._refill(key)
            yield self._change(key)

    def _mark_touched(self) -> Iterator[None]:
        """Mark the pairs that new facts may change: first those whose reads are found out again."""
        yield from marking(self._touched.shots, self._mark_shot)
        yield from marking(self._touched.hits, self._mark_hit)
        yield from marking(self._touched.reads, self._mark_read)

    def _mark_shot(self, alert_id: str) -> Iterator[None]:
        shot, compared = self._memory.shots.get(alert_id), 0
        if shot is None:
            return
        self._dirty.update(dict.fromkeys(self._pairs_of_shot.get(alert_id, ()), True))
        for key in self._memory.plates_read():
            compared += 1
            for read in self._candidates(key, shot):
                compared += len(shot) * len(read)
                if compared >= _CONTENTS_A_STEP:
                    compared = 0
                    yield
                if may_be_near(shot, read, self._ramps, self._rules):
                    self._dirty.update({(alert_id, hit_id, key): True for hit_id in self._memory.hits.get(key, ())})
                    break

    def _mark_hit(self, hit: HitKey) -> Iterator[None]:
        key, hit_id = hit
        self._dirty.update(dict.fromkeys(self._pairs_of_hit.get(hit, ()), True))
        for read in list(self._memory.reads(key)):
            compared = 0
            for alert_id in self._memory.shots_around(order_of(read)[0]):
                pair, shot = (alert_id, hit_id, key), self._memory.shots[alert_id]
                compared += len(shot) * len(read)
                if compared >= _CONTENTS_A_STEP:
                    compared = 0
                    yield
                if not self._dirty.get(pair) and may_be_near(shot, read, self._ramps, self._rules):
                    self._dirty[pair] = True
            yield

    def _mark_read(self, identity: ReadKey) -> Iterator[None]:
        key, read_id, captured_at_ms = identity
        read, order, evaluated = self._memory.read(*identity), (captured_at_ms, read_id), 0
        for alert_id in self._memory.shots_around(captured_at_ms):
            for hit_id in list(self._memory.hits.get(key, ())):
                evaluated += 1
                if evaluated % _EVALUATIONS_A_STEP == 0:
                    yield
                self._put_read((alert_id, hit_id, key), order, read)

    def _put_read(self, key: PairKey, order: ReadOrder, read: Versions[PlateRead]) -> None:
        pair = self._pairs.get(key)
        if self._dirty.get(key) or (pair is not None and pair.ignores(order[0])):
            return
        stamped = self._attached(self._memory.shots[key[0]], self._memory.hits[key[2]][key[1]], read)
        if pair is None:
            if stamped is None:
                return
            pair = self._pair(key)
        was_full = pair.is_full
        if pair.put(order, stamped):
            self._dirty[key] = was_full and stamped is None  # then one that was left out moves up

    def _refill(self, key: PairKey) -> None:
        """Find out again which reads are attached to a pair."""
        shot, hit = self._facts_known(key)
        if shot is None or hit is None:
            return
        reads = ((order_of(read), self._attached(shot, hit, read)) for read in self._candidates(key[2], shot))
        pair = self._pairs.get(key) or Pair("")
        pair.refill(reads)
        if pair.open:
            self._pair(key, pair)

    def _change(self, key: PairKey) -> LinkedIncident | None:
        pair = self._pairs.get(key)
        facts = self._facts_of(key, pair) if pair else None
        if pair is None or facts is None:
            return None
        last = pair.published
        if (last is None and not facts.attached) or pair.incident_id in self._withheld:
            return None
        incident = self._builder.build(facts, last.revision + 1 if last else 1)
        if last is not None and same_content(incident, last):
            return None
        if last is not None and pair.stands and rests_on_same_facts(incident, last, self._finalized_through_ms):
            return None
        pair.published, pair.stands = incident, False
        return incident

    def _facts_known(self, key: PairKey) -> tuple[Versions[ShotAlert] | None, Versions[VehicleHit] | None]:
        alert_id, hit_id, plate_key = key
        return self._memory.shots.get(alert_id), self._memory.hits.get(plate_key, {}).get(hit_id)

    def _facts_of(self, key: PairKey, pair: Pair) -> IncidentFacts | None:
        """The present facts of an incident; None if its shot or its hit is unknown."""
        shot, hit = self._facts_known(key)
        if shot is None or hit is None:
            return None
        span = Span(shot.first_ms, self._rules)
        shot_now, hit_now = shot.fact(span.freeze_ms), hit.fact(span.freeze_ms, span.since_ms)
        if shot_now is None or hit_now is None:
            return None
        attached, left_out_from_ms = pair.reads()
        return IncidentFacts(
            incident_id=pair.incident_id,
            shot=shot_now.event,
            shot_stamp_ms=shot_now.stamp_ms(),
            hit=hit_now.event,
            hit_stamp_ms=hit_now.stamp_ms(span.since_ms),
            attached=attached,
            left_out_from_ms=left_out_from_ms,
            review=self._review(pair.incident_id, span),
            frozen_at_ms=span.freeze_ms,
        )

    def _candidates(self, plate_key: str, shot: Versions[ShotAlert]) -> Iterator[Versions[PlateRead]]:
        """The reads in memory within the window of any revision of the shot, in order of time."""
        times = [version.event.occurred_at_ms for version in shot]
        return self._memory.reads(plate_key, min(times) - self._rules.before_ms, max(times) + self._rules.after_ms)

    def _attached(
        self, shot: Versions[ShotAlert], hit: Versions[VehicleHit], reads: Versions[PlateRead]
    ) -> StampedRead | None:
        """The read if it was evidence when its time was up, or is evidence now if it is not."""
        span = Span(shot.first_ms, self._rules)
        read = reads.fact(span.freeze_ms)
        if read is None or read.event.confidence < self._rules.min_confidence:  # most that fail fail here
            return None
        decided_ms = min(read.event.captured_at_ms + self._rules.read_retention_ms, span.freeze_ms)
        shot_then, hit_then = shot.fact(decided_ms), hit.fact(decided_ms, span.since_ms)
        if shot_then is None or hit_then is None:
            return None
        ramp = self._ramps[read.event.ramp_id]
        is_attached = is_evidence(shot_then.event, hit_then.event, read.event, ramp, self._rules)
        return StampedRead(read.event, read.stamp_ms()) if is_attached else None

    def _review(self, identifier: str, span: Span) -> list[tuple[IncidentAction, int]]:
        """The actions that count for an incident, in order, each with its stamp."""
        taken = self._memory.actions(identifier)
        known = [fact for versions in taken if (fact := versions.fact(span.freeze_ms, span.first_ms)) is not None]
        known.sort(key=lambda version: (version.event.at_ms, version.event.action_id))
        return [(version.event, version.stamp_ms(span.first_ms)) for version in known[:MAX_ACTIONS]]

    def _pair(self, key: PairKey, new: Pair | None = None) -> Pair:
        """Return the pair for a key; add it if it is new."""
        pair = self._pairs.get(key)
        if pair is None:
            pair = self._pairs[key] = new or Pair("")
            pair.incident_id = incident_id(*key)
            self._pairs_of_shot.setdefault(key[0], set()).add(key)
            self._pairs_of_hit.setdefault((key[2], key[1]), set()).add(key)
            self._pair_of_incident[pair.incident_id] = key
        return pair

    # ------------------------------------------------------------------ releasing memory

    def release(self, watermark_ms: int) -> None:
        """Release everything the watermark has passed.

        The last `changes` must be published already.
        """
        has_changes = bool(self._dirty or self._touched)
        assert not has_changes, "call changes() and publish them before releasing memory"
        if watermark_ms <= self._memory.watermark_ms:
            return
        self._memory.watermark_ms = watermark_ms
        for key in self._memory.release_reads():
            for hit_id in self._memory.hits.get(key, ()):
                for pair in self._pairs_of_hit.get((key, hit_id), ()):
                    self._pairs[pair].finalize(self._memory.finalized_before_ms)
        self._freeze()
        self._memory.release_hits()
        self._memory.release_actions()

    def _freeze(self) -> None:
        """Release the incidents of frozen shots; they stay as last published."""
        for alert_id in self._memory.release_shots():
            for key in self._pairs_of_shot.pop(alert_id, set()):
                del self._pair_of_incident[self._pairs.pop(key).incident_id]
                of_hit = self._pairs_of_hit[key[2], key[1]]
                of_hit.discard(key)
                if not of_hit:
                    del self._pairs_of_hit[key[2], key[1]]
