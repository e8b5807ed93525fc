"""The entry point of the core: every record of every input topic goes through `Pipeline`.

A record is admitted, routed and joined. What the shell has to do because of it comes back as
`Effects`: its outcome, and the dead letters, forwards, tallies and incidents that follow. Replay,
tests and the worker use the same pipeline; batches of ordinary reads take a faster way through it
with the same result (`Pipeline.apply_reads`).

A replay gives one engine all partitions: the incidents do not depend on their number. A worker adds
an engine for each partition it is assigned, publishes the engine's changes when a batch is done,
and releases memory itself, because publishing must come first and may fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final, Protocol

from streams.core.broadcast_state import BroadcastState
from streams.core.counters.events import tally_of_hit, tally_of_incident, tally_of_shot
from streams.core.effects import Effects, Forward, too_large_to_forward
from streams.core.engine import Engine
from streams.core.events import InvalidRecord, Outcome, Record, ShotAlert, VehicleHit, event_time_ms
from streams.core.intake import Admitted, Intake
from streams.core.rules import JoinRules
from streams.core.site import Site
from streams.core.topics import BROADCAST, JOINED, READS
from streams.core.windows import NEVER

_RELEASE_EVERY_MS: Final = 60_000
"""Of stamps. Releasing later changes no result; at every record it costs more than the join."""
_RECORDS_A_STEP: Final = 500


class Routing(Protocol):
    """Which partition of a joined topic a record belongs to."""

    forward_bytes_max: int | None
    """Larger records are not forwarded but dead-lettered; None: no limit."""

    def homes_of(self, admitted: Sequence[Admitted]) -> list[int]:
        """Return the partition that each record is to be joined on.

        A record whose partition is another one is forwarded there.
        """

    def all_at_home(self, partition: int, plate_keys: Sequence[str]) -> bool:
        """Return whether records with these plate keys all belong to ``partition``."""


class Pipeline:
    """Admission, routing and join for one process."""

    def __init__(
        self, site: Site, rules: JoinRules, engine: Engine | None = None, routing: Routing | None = None
    ) -> None:
        """``engine``: takes every partition, and its incidents are part of the effects.

        Without one, `add` an engine for each partition, and ask it for its changes. Without a
        ``routing``, every record is joined wherever it is.
        """
        self._site = site
        self._skew_ms = rules.max_future_skew_ms
        self._intake = Intake(site, rules)
        self._routing = routing
        self._engine = engine
        self._engines: dict[int, Engine] = {}
        self._release_at_ms = NEVER
        self.broadcast: Final = BroadcastState(rules)
        self.last_event_ms = NEVER
        """The greatest event time so far, leaving out clocks that are ahead of the broker's."""

    # ------------------------------------------------------------------ engines

    def add(self, partition: int, engine: Engine) -> None:
        """Add the engine of a partition, and apply all known shots and actions to it."""
        for _ in self.adding(partition, engine):
            pass

    def adding(self, partition: int, engine: Engine) -> Iterator[None]:
        """Do the work of `add` in steps of milliseconds; no broadcast record may come between."""
        for n, admitted in enumerate(self.broadcast.history(), 1):
            engine.apply_broadcast(admitted)
            if n % _RECORDS_A_STEP == 0:
                yield
        self._engines[partition] = engine

    def remove(self, partition: int) -> None:
        """Remove the engine of a partition."""
        self._engines.pop(partition, None)

    def _engine_of(self, partition: int) -> Engine:
        return self._engine or self._engines[partition]

    def _all_engines(self) -> Iterable[Engine]:
        return (self._engine,) if self._engine else self._engines.values()

    # ------------------------------------------------------------------ records

    def apply(self, record: Record, tally: bool = True) -> Effects:
        """Apply one record of an input topic and return its effects.

        ``tally``: whether to compute tallies, which takes longer than the join.
        """
        effects = Effects()
        admitted = self._admit(record, effects)
        if admitted is not None:
            home = record.partition
            if self._routing is not None and record.topic in JOINED:
                (home,) = self._routing.homes_of((admitted,))
            self._apply(admitted, home, effects, tally)
        if self._engine is not None:
            self._publish(self._engine, effects)
        return effects

    def apply_all(self, records: Iterable[Record], tally: bool = True) -> Effects:
        """Apply records of joined topics in order; return their effects together.

        The incidents are not among them: ask the engines for their changes.
        """
        effects = Effects()
        admitted = [one for record in records if (one := self._admit(record, effects)) is not None]
        homes = [one.record.partition for one in admitted]
        if self._routing is not None:
            homes = self._routing.homes_of(admitted)
        for one, home in zip(admitted, homes, strict=True):
            self._apply(one, home, effects, tally)
        return effects

    def search_unlisted(self, partition: int, records: Iterable[Record]) -> Iterator[None]:
        """Find the reads of plates that these hits list, all in one pass; yield between steps.

        To be called before `apply_all` of the same records: it saves a search for each of them.
        """
        keys = []
        for record in records:
            with suppress(InvalidRecord):
                keys.append(self._intake.admit(record).plate_key)
        return self._engine_of(partition).search_unlisted(keys)

    def apply_reads(self, partition: int, values: Sequence[bytes | None], stamps_ms: Sequence[int]) -> Effects | None:
        """Apply the reads of a partition as columns: as `apply_all`, at a fraction of the cost.

        Returns None, having applied nothing, if any record is invalid, unusual or misrouted.
        """
        reads = self._intake.admit_reads(values, stamps_ms)
        if reads is None:
            return None
        if self._routing is not None and not self._routing.all_at_home(partition, reads.plate_keys):
            return None
        outcomes = self._engine_of(partition).join_reads(reads)
        if outcomes is None:
            return None
        effects = Effects(seen_ms=max(stamps_ms))
        for outcome, records in outcomes.items():
            effects.count(READS, outcome, records)
        return effects

    def _admit(self, record: Record, effects: Effects) -> Admitted | None:
        try:
            return self._intake.admit(record)
        except InvalidRecord as error:
            _reject(record, error, effects)
            return None

    def _apply(self, admitted: Admitted, home: int, effects: Effects, tally: bool) -> None:
        record = admitted.record
        if home != record.partition:
            self._forward(admitted, home, effects)
            return
        try:
            outcome = (
                self._apply_broadcast(admitted) if record.topic in BROADCAST else self._engine_of(home).join(admitted)
            )
        except InvalidRecord as error:
            _reject(record, error, effects)
            return
        effects.count(record.topic, outcome)
        effects.see(record)
        self._note_time(admitted)
        if tally and outcome not in ("duplicate", "finalized"):
            self._tally(admitted, effects)

    def _apply_broadcast(self, admitted: Admitted) -> Outcome:
        outcome = self.broadcast.apply(admitted)
        for engine in self._all_engines():
            engine.apply_broadcast(admitted)
        return outcome

    def _forward(self, admitted: Admitted, home: int, effects: Effects) -> None:
        record = admitted.record
        assert self._routing is not None
        bytes_max = self._routing.forward_bytes_max
        if bytes_max is not None and len(record.value or b"") > bytes_max:
            effects.reject(record, too_large_to_forward())
            return
        effects.forwards.append(Forward(record, home, admitted.plate_key))
        effects.count(record.topic, "forwarded")
        effects.see(record)

    def _note_time(self, admitted: Admitted) -> None:
        at_ms = event_time_ms(admitted.event)
        if self.last_event_ms < at_ms <= admitted.record.stamp_ms + self._skew_ms:
            self.last_event_ms = at_ms

    def _tally(self, admitted: Admitted, effects: Effects) -> None:
        """Tally shots and hits, superseded revisions included: the counters pick the greatest."""
        event = admitted.event
        if type(event) is ShotAlert:
            effects.shots.append(event)
            effects.tallies.append(tally_of_shot(event, self._site))
        elif type(event) is VehicleHit:
            effects.tallies.append(tally_of_hit(event, self._site))

    def _publish(self, engine: Engine, effects: Effects) -> None:
        incidents = engine.changes()
        if incidents:
            effects.incidents = incidents
            effects.tallies += map(tally_of_incident, incidents)
        self._release(engine, effects.seen_ms)

    def _release(self, engine: Engine, stamp_ms: int) -> None:
        """Release memory now and then; records come in the order of their stamps.

        A record that cannot be used releases nothing: its stamp may be as wrong as the rest.
        """
        if stamp_ms >= self._release_at_ms:
            self._release_at_ms = stamp_ms + _RELEASE_EVERY_MS
            engine.release(stamp_ms)
            self.broadcast.release(stamp_ms)


def _reject(record: Record, error: InvalidRecord, effects: Effects) -> None:
    # a new error, because the tracebacks of this one keep the record's bytes alive
    effects.reject(record, InvalidRecord(error.reason, error.field, error.detail))
