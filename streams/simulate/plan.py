"""The plan of a simulated city: how much of everything, and which faults, each a number with a meaning."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]
Amount = Annotated[float, Meta(ge=0)]


class CityPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What happens in the city, from ``begin_ms`` on, for ``duration_ms``; ValueError where a number cannot be.

    Shares are 0 to 1. Names ending in ``_median_h`` are medians, in hours, of log-normal delays.
    """

    begin_ms: int
    duration_ms: Annotated[int, Meta(gt=0)]
    seed: int = 1
    region: str | None = None
    """Where most plates are from, such as ``US-CT``; None: the home of the site's time zone."""

    shots_per_day: Amount = 2.0
    dismissed_share: Share = 0.15
    reclassified_share: Share = 0.1
    linked_share: Share = 0.3
    """Share of the shots to or from which a stolen car drives, if there is one to drive at the time."""

    stolen_cars: Count = 20
    recovered_share: Share = 0.5
    cancelled_share: Share = 0.04
    plate_corrected_share: Share = 0.05
    theft_time_unknown_share: Share = 0.15
    report_delay_median_h: Annotated[float, Meta(gt=0)] = 5.0
    kept_median_h: Annotated[float, Meta(gt=0)] = 30.0
    """How long a stolen car is driven before it is abandoned."""
    chance_reads_per_stolen_car_day: Amount = 4.0

    background_reads_per_minute: Amount = 60.0
    """On average over the whole time (more by day, fewer by night), before some are missed and some repeated."""
    ordinary_cars: Annotated[int, Meta(gt=0)] = 50_000

    miss_share: Share = 0.1
    misread_share: Share = 0.03
    misread_lookalike_share: Share = 0.7
    """Share of the misreads that mistake one character for one of its class (O for 0, B for 8)."""
    region_unknown_share: Share = 0.1
    low_confidence_share: Share = 0.03
    late_share: Share = 0.005
    """Share of the reads that arrive minutes late."""
    duplicate_share: Share = 0.01

    def __post_init__(self) -> None:
        for field in msgspec.structs.fields(self):
            value = getattr(self, field.name)
            try:
                msgspec.convert(value, field.type)
            except msgspec.ValidationError as error:
                raise ValueError(f"The city cannot have {field.name} = {value!r}: {error}; change it.") from None

    @property
    def end_ms(self) -> int:
        """The log ends before this moment."""
        return self.begin_ms + self.duration_ms

    def without_faults(self) -> CityPlan:
        """Return the same plan with cameras and lists that never err; dismissed shots stay as they are."""
        return msgspec.structs.replace(self, **dict.fromkeys(FAULTS, 0.0))


FAULTS: Final = (
    "miss_share",
    "misread_share",
    "region_unknown_share",
    "low_confidence_share",
    "late_share",
    "duplicate_share",
    "cancelled_share",
    "plate_corrected_share",
    "theft_time_unknown_share",
)
"""The plan's switches: each is off at 0."""
