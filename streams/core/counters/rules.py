"""The settings of the counters, each with its unit and meaning."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from msgspec import Meta, Struct

from streams.core.counters.events import Kind

_SINCE = (
    "local date from which they are counted, such as 2026-06-05; comparisons with earlier days are null; unset: from "
    "the first day of their data"
)


class CounterRules(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From which dates on events are counted, and what raises an alarm.

    The TOML table is ``[counters]``. In the environment, each is ``RAMPWATCH_COUNTERS_`` and its
    name in capitals.
    """

    shots_since: Annotated[date | None, Meta(description="shots: " + _SINCE)] = None
    stolen_vehicle_hits_since: Annotated[date | None, Meta(description="hits: " + _SINCE)] = None
    linked_incidents_since: Annotated[date | None, Meta(description="incidents: " + _SINCE)] = None
    alarms_since: Annotated[
        date,
        Meta(
            description="local date of the first day that alarms use; isolated events before a gap of 56 days are "
            "not used either"
        ),
    ] = date(2016, 1, 1)
    false_alarms_per_year: Annotated[
        float, Meta(gt=0, le=100, description="false alarms accepted for each kind, over all zones and the city")
    ] = 1.0
    rise: Annotated[float, Meta(gt=1, le=10, description="ratio to the expected rate that alarms detect fastest")] = 2.0
    baseline_days: Annotated[
        int, Meta(ge=28, le=3_660, description="most days from which the expected count is estimated")
    ] = 364
    guard_days: Annotated[
        int, Meta(ge=0, le=55, description="days left out before today, so that a rise is not learnt as normal")
    ] = 28

    def counted_since(self, kind: Kind) -> date | None:
        """Return the local date from which a kind is counted; None: since its data begin."""
        since: date | None = getattr(self, f"{kind}_since")
        return since
