"""The counters' settings, each with its unit and meaning, once."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from msgspec import Meta, Struct

from streams.core.counters.events import Kind

_SINCE = "local date from which they were counted, as 2026-06-05; what would be compared with earlier is null"


class CounterRules(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From when on is counted, and what an alarm is.

    The TOML table is ``[counters]``; in the environment each is ``RAMPWATCH_COUNTERS_`` and its name in capitals.
    """

    shots_since: Annotated[date | None, Meta(description="shots: " + _SINCE)] = None
    stolen_vehicle_hits_since: Annotated[date | None, Meta(description="hits: " + _SINCE)] = None
    linked_incidents_since: Annotated[date | None, Meta(description="incidents: " + _SINCE)] = None
    alarms_since: Annotated[
        date,
        Meta(description="local date before which alarms know nothing; nor of few events before a gap of 56 days"),
    ] = date(2016, 1, 1)
    false_alarms_per_year: Annotated[
        float, Meta(gt=0, le=100, description="accepted for each kind, over all zones and the city together")
    ] = 1.0
    rise: Annotated[float, Meta(gt=1, le=10, description="times the expected rate that an alarm is quickest for")] = 2.0
    baseline_days: Annotated[
        int, Meta(ge=28, le=3_660, description="days that what is expected is learnt from, at the most")
    ] = 364
    guard_days: Annotated[
        int, Meta(ge=0, le=55, description="days between those and today, so that a rise is not learnt as usual")
    ] = 28

    def counted_since(self, kind: Kind) -> date | None:
        """Return from which local date on a kind was counted; None: always."""
        since: date | None = getattr(self, f"{kind}_since")
        return since
