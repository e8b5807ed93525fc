"""The front door of the core: every record of every input topic goes through `Pipeline.apply`.

A record is admitted, routed and joined. What the shell has to do because of it comes back as
`Effects`: its outcome, and the dead letters, forwards, tallies and incidents that follow. Replay,
tests and the worker use the same pipeline; batches of ordinary reads take a faster way through it
with the same result (`Pipeline.apply_reads`).

A replay gives one engine all partitions: the incidents do not depend on their number. A worker adds
an engine for each partition it is assigned, publishes the engine's changes when a batch is done,
and releases memory itself, because publishing must come first and may fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from streams.core.broadcast_state import BroadcastState
from streams.core.counters.events import tally_of_hit, tally_of_incident, tally_of_shot
from streams.core.effects import TOO_LARGE_TO_FORWARD, Effects, Forward
from streams.core.engine import Engine
from streams.core.events import InvalidRecord, Outcome, Record, ShotAlert, VehicleHit, event_time_ms
from streams.core.intake import Admitted, Intake
from streams.core.rules import JoinRules
from streams.core.site import Site
from streams.core.topics import BROADCAST, READS
from streams.core.windows import NEVER

FORWARD_BYTES_MAX: Final = 512 * 1024
"""Of a record's value. Its topic might not take a larger one back, being compressed differently."""
_RELEASE_EVERY_MS: Final = 60_000
"""Of stamps. Releasing later changes no result.

Releasing at every record costs more than the join.
"""


class Routing(Protocol):
    """Which partition of a joined topic a record belongs to."""

    def home_of(self, record: Record, plate_key: str) -> int:
        """Return the partition that the record is to be joined on.

        Another than its own forwards it.
        """

    def all_at_home(self, partition: int, plate_keys: Sequence[str]) -> bool:
        """Return whether records with these plate keys all belong to ``partition``."""


class JoinInPlace:
    """Routes no record: each is joined wherever it is."""

    def home_of(self, record: Record, plate_key: str) -> int:
        """Return the record's own partition."""
        return record.partition

    def all_at_home(self, partition: int, plate_keys: Sequence[str]) -> bool:
        """Return True."""
        return True


class Pipeline:
    """Admission, routing and join for one process."""

    def __init__(
        self, site: Site, rules: JoinRules, engine: Engine | None = None, routing: Routing | None = None
    ) -> None:
        """``engine``: takes every partition, and its incidents are part of the effects.

        Without one, `add` an engine for each partition, and ask it for its changes.
        """
        self._site = site
        self._skew_ms = rules.max_future_skew_ms
        self._intake = Intake(site, rules)
        self._routing: Routing = routing or JoinInPlace()
        self._engine = engine
        self._engines: dict[int, Engine] = {}
        self._release_at_ms = NEVER
        self.broadcast: Final = BroadcastState(rules)
        self.last_event_ms = NEVER
        """The greatest event time so far, leaving out clocks that are ahead of the broker's."""

    # ------------------------------------------------------------------ engines

    def add(self, partition: int, engine: Engine) -> None:
        """Add the engine of a partition, and apply all known shots and actions to it."""
        for admitted in self.broadcast.history():
            engine.apply_broadcast(admitted)
        self._engines[partition] = engine

    def remove(self, partition: int) -> None:
        """Remove the engine of a partition."""
        self._engines.pop(partition, None)

    def _engine_of(self, partition: int) -> Engine:
        return self._engine or self._engines[partition]

    def _all_engines(self) -> Iterable[Engine]:
        return (self._engine,) if self._engine else self._engines.values()

    # ------------------------------------------------------------------ records

    def apply(self, record: Record) -> Effects:
        """Apply one record of an input topic and return its effects."""
        effects = Effects()
        self._apply(record, effects)
        if self._engine is not None:
            effects.incidents = self._engine.changes()
            effects.tallies += map(tally_of_incident, effects.incidents)
            self._release(self._engine, record.stamp_ms)
        return effects

    def apply_all(self, records: Iterable[Record]) -> Effects:
        """Apply records in their order and return their effects together, without incidents."""
        effects = Effects()
        for record in records:
            self._apply(record, effects)
        return effects

    def apply_reads(self, partition: int, values: Sequence[bytes | None], stamps_ms: Sequence[int]) -> Effects | None:
        """Apply the reads of a partition as columns: as `apply_all`, at a fraction of the cost.

        Returns None, having applied nothing, if any record is invalid, unusual or misrouted.
        """
        reads = self._intake.admit_reads(values, stamps_ms)
        if reads is None or not self._routing.all_at_home(partition, reads.plate_keys):
            return None
        effects = Effects()
        for outcome, count in self._engine_of(partition).join_reads(reads).items():
            effects.outcomes[READS, outcome] = count
        return effects

    def _apply(self, record: Record, effects: Effects) -> None:
        try:
            admitted = self._intake.admit(record)
            is_broadcast = record.topic in BROADCAST
            outcome = self._apply_broadcast(admitted) if is_broadcast else self._join(admitted, effects)
        except InvalidRecord as error:
            # a new error, because the tracebacks of this one keep the record's bytes alive
            effects.reject(record, InvalidRecord(error.reason, error.field, error.detail))
            return
        effects.outcomes[record.topic, outcome] += 1
        if outcome != "forwarded":
            self._count(admitted, outcome, effects)

    def _apply_broadcast(self, admitted: Admitted) -> Outcome:
        outcome = self.broadcast.apply(admitted)
        for engine in self._all_engines():
            engine.apply_broadcast(admitted)
        return outcome

    def _join(self, admitted: Admitted, effects: Effects) -> Outcome:
        record = admitted.record
        home = self._routing.home_of(record, admitted.plate_key)
        if home == record.partition:
            return self._engine_of(home).join(admitted)
        if len(record.value or b"") > FORWARD_BYTES_MAX:
            raise TOO_LARGE_TO_FORWARD
        effects.forwards.append(Forward(record, home, admitted.plate_key))
        return "forwarded"

    def _count(self, admitted: Admitted, outcome: Outcome, effects: Effects) -> None:
        """Tally shots and hits, superseded revisions included: the counters pick the greatest."""
        event = admitted.event
        at_ms = event_time_ms(event)
        if self.last_event_ms < at_ms <= admitted.stamp_ms + self._skew_ms:
            self.last_event_ms = at_ms
        if outcome == "duplicate":
            return
        if type(event) is ShotAlert:
            effects.shots.append(event)
            effects.tallies.append(tally_of_shot(event, self._site))
        elif type(event) is VehicleHit:
            effects.tallies.append(tally_of_hit(event, self._site))

    def _release(self, engine: Engine, stamp_ms: int) -> None:
        """Release memory now and then; records come in the order of their stamps."""
        if stamp_ms >= self._release_at_ms:
            self._release_at_ms = stamp_ms + _RELEASE_EVERY_MS
            engine.release(stamp_ms)
            self.broadcast.release(stamp_ms)
