"""The broadcast facts, which every partition needs: all shots and all actions.

Every worker reads these topics whole. A record's outcome is decided here, once, however many
partitions it is applied to. An engine that starts later gets the history from here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from streams.core.events import Event, IncidentAction, InvalidRecord, Outcome, Record, ShotAlert, identity_of
from streams.core.facts import Versions, check_contents
from streams.core.intake import Admitted
from streams.core.rules import JoinRules
from streams.core.topics import ACTIONS, SHOTS
from streams.core.windows import Expiry

ACTIONS_MAX: Final = 1_000
"""Actions on one incident, of which it publishes the first 50 (JOIN.md, Limits)."""


class BroadcastState:
    """The shots and actions of the last ``shot_horizon_ms``, by identity."""

    def __init__(self, rules: JoinRules) -> None:
        self._rules = rules
        self._facts: dict[tuple[str, ...], Versions[Event]] = {}
        self._expiry: Expiry[tuple[str, ...]] = Expiry()
        self._unfrozen: set[tuple[str, ...]] = set()
        self._actions_on: Counter[str] = Counter()
        self._freezes: Expiry[tuple[str, ...]] = Expiry()

    def apply(self, admitted: Admitted) -> Outcome:
        """Apply one record and return its outcome.

        Raises `InvalidRecord` (``limit``) beyond ``max_shots``, and for more contents of one
        identity, or actions on one incident, than are remembered.
        """
        identity = (admitted.topic, *identity_of(admitted.event))
        versions = self._facts.get(identity)
        if versions is None:
            versions = self._create(identity, admitted)
        else:
            check_contents(versions, admitted.event, "alert_id" if admitted.topic == SHOTS else "action_id")
        return versions.add(admitted.event, admitted.stamp_ms)

    def _create(self, identity: tuple[str, ...], admitted: Admitted) -> Versions[Event]:
        if isinstance(admitted.event, ShotAlert):
            self._count_shot(identity, admitted.stamp_ms)
        elif isinstance(admitted.event, IncidentAction):
            self._count_action(admitted.event.incident_id)
        versions: Versions[Event] = Versions()
        self._facts[identity] = versions
        self._expiry.add(admitted.stamp_ms + self._rules.shot_horizon_ms, identity)
        return versions

    def _count_action(self, incident_id: str) -> None:
        if self._actions_on[incident_id] >= ACTIONS_MAX:
            raise InvalidRecord(
                "limit", "incident_id", f"{ACTIONS_MAX} actions on one incident already; find out what repeats them"
            )
        self._actions_on[incident_id] += 1

    def _count_shot(self, identity: tuple[str, ...], stamp_ms: int) -> None:
        self._unfrozen.difference_update(self._freezes.due(stamp_ms))
        if len(self._unfrozen) >= self._rules.max_shots:
            raise InvalidRecord(
                "limit",
                "alert_id",
                f"{self._rules.max_shots} unfrozen shots already; raise max_shots, or find out what floods the topic",
            )
        self._unfrozen.add(identity)
        self._freezes.add(stamp_ms + self._rules.incident_retention_ms, identity)

    def history(self) -> Iterator[Admitted]:
        """Yield every remembered record, for an engine that starts now."""
        for identity, versions in self._facts.items():
            for version in versions:
                for stamp_ms in version.stamps_ms:
                    yield Admitted(version.event, "", Record(identity[0], 0, 0, stamp_ms, b""))

    def release(self, watermark_ms: int) -> None:
        """Forget facts older than ``shot_horizon_ms``.

        The watermark is the lowest of the worker's partitions.
        """
        for identity in self._expiry.due(watermark_ms):
            del self._facts[identity]
            topic, incident_id, *_ = identity
            if topic == ACTIONS:
                self._actions_on[incident_id] -= 1
                if not self._actions_on[incident_id]:
                    del self._actions_on[incident_id]
