"""The broadcast facts, which every partition needs: all shots and all actions.

Every worker reads these topics whole. A record's outcome is decided here, once, however many
partitions it is applied to. An engine that starts later gets the history from here.
"""

from __future__ import annotations

from collections.abc import Iterator

from streams.core.events import Event, InvalidRecord, Outcome, Record, ShotAlert, identity_of
from streams.core.facts import Versions
from streams.core.intake import Admitted
from streams.core.rules import JoinRules
from streams.core.windows import Expiry


class BroadcastState:
    """The shots and actions of the last ``shot_horizon_ms``, by identity."""

    def __init__(self, rules: JoinRules) -> None:
        self._rules = rules
        self._facts: dict[tuple[str, ...], Versions[Event]] = {}
        self._expiry: Expiry[tuple[str, ...]] = Expiry()
        self._unfrozen: set[tuple[str, ...]] = set()
        self._freezes: Expiry[tuple[str, ...]] = Expiry()

    def apply(self, admitted: Admitted) -> Outcome:
        """Apply one record and return its outcome.

        Raises `InvalidRecord` (``limit``) beyond ``max_shots``.
        """
        identity = (admitted.topic, *identity_of(admitted.event))
        versions = self._facts.get(identity)
        if versions is None:
            versions = self._create(identity, admitted)
        return versions.add(admitted.event, admitted.stamp_ms)

    def _create(self, identity: tuple[str, ...], admitted: Admitted) -> Versions[Event]:
        if isinstance(admitted.event, ShotAlert):
            self._count_shot(identity, admitted.stamp_ms)
        versions: Versions[Event] = Versions()
        self._facts[identity] = versions
        self._expiry.add(admitted.stamp_ms + self._rules.shot_horizon_ms, identity)
        return versions

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
