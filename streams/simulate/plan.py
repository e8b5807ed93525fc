"""The plan of a simulated city: how much of everything, and which faults, each a number with a meaning."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from streams.simulate.observed import FOLLOWING_SHARE

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
    following_share: Share = FOLLOWING_SHARE
    """Share of the shots that are heard seconds or minutes after another, close to it: the same shooting."""
    dismissed_share: Share = 0.15
    reclassified_share: Share = 0.1
    linked_share: Share = 0.3
    """Share of the shootings to or from which a stolen car drives, if there is one to drive at the time."""

    stolen_cars: Count = 20
    recovered_share: Share = 0.5
    cancelled_share: Share = 0.04
    plate_corrected_share: Share = 0.05
    theft_time_unknown_share: Share = 0.15
    report_delay_median_h: Annotated[float, Meta(gt=0)] = 0.5
    """From when a car is found gone to the report; how long until it is found gone is as in real records."""
    kept_median_h: Annotated[float, Meta(gt=0)] = 30.0
    """How long a stolen car is driven before it is abandoned."""
    chance_reads_per_stolen_car_day: Amount = 4.0
    owner_reads_per_day: Amount = 1.5
    """How often a car that was given back, or never stolen, passes a ramp with its owner, listed or not."""
    list_refresh_h: Amount = 12.0
    """The list that cameras are matched against is a copy, made so often; 0: every change is there at once."""
    still_listed_share: Share = 0.03
    """Share of the cars given back of which the list never hears."""

    background_reads_per_minute: Amount = 60.0
    """On average over the whole time (more by day, fewer by night), before some are missed and some repeated."""
    ordinary_cars: Annotated[int, Meta(gt=0)] = 50_000
    twins_per_stolen_car: Amount = 0.15
    """Ordinary cars whose plate a camera may take for a stolen car's: one character differs, of the same class. As many
    as these, with the owners, make about a fifth of the hits wrong ones; in life 5 to 35 % are."""

    miss_share: Share = 0.1
    misread_share: Share = 0.03
    misread_lookalike_share: Share = 0.7
    """Share of the misreads that mistake one character for one of its class (O for 0, B for 8)."""
    region_unknown_share: Share = 0.1
    low_confidence_share: Share = 0.03
    make_unknown_share: Share = 0.1
    """Share of the reads without make and colour."""
    make_wrong_share: Share = 0.05
    colour_wrong_share: Share = 0.12
    clock_off_share: Share = 0.03
    """Share of the cameras whose clocks are off, each by as much at all times."""
    clock_off_max_s: Amount = 90.0
    """Ahead or behind, at most; reads more than two minutes ahead are refused (JOIN.md, Refused)."""
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
    "list_refresh_h",
    "still_listed_share",
    "twins_per_stolen_car",
    "make_unknown_share",
    "make_wrong_share",
    "colour_wrong_share",
    "clock_off_share",
)
"""The plan's switches: each is off at 0."""
