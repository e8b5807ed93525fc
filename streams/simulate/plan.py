"""The parameters of a simulated city: event rates, delays and fault rates."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from streams.simulate.observed import FOLLOWING_SHARE

Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]
Amount = Annotated[float, Meta(ge=0)]


class CityPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of a city simulated from ``begin_ms`` for ``duration_ms``.

    Shares are 0 to 1. Names ending in ``_median_h`` are medians, in hours, of log-normal delays.
    Raises ValueError for a value out of range.
    """

    begin_ms: int
    duration_ms: Annotated[int, Meta(gt=0)]
    seed: int = 1
    region: str | None = None
    """Home region of most plates, such as ``US-CT``; None: that of the site's time zone."""

    shots_per_day: Amount = 2.0
    following_share: Share = FOLLOWING_SHARE
    """Share of alerts that follow another one closely in time and space: the same shooting."""
    dismissed_share: Share = 0.15
    reclassified_share: Share = 0.1
    linked_share: Share = 0.3
    """Share of shootings that a stolen car drives to or from, provided one is available then."""

    stolen_cars: Count = 20
    recovered_share: Share = 0.5
    cancelled_share: Share = 0.04
    plate_corrected_share: Share = 0.05
    theft_time_unknown_share: Share = 0.15
    report_delay_median_h: Annotated[float, Meta(gt=0)] = 0.5
    """From discovery of the theft to the report. The time to discovery follows real records."""
    kept_median_h: Annotated[float, Meta(gt=0)] = 30.0
    """How long a stolen car is driven before it is abandoned."""
    chance_reads_per_stolen_car_day: Amount = 4.0
    owner_reads_per_day: Amount = 1.5
    """How often a returned or never stolen car passes a ramp with its owner, listed or not."""
    list_refresh_h: Amount = 12.0
    """Interval between copies of the stolen-vehicle list; 0: changes apply at once."""
    still_listed_share: Share = 0.03
    """Share of recovered cars that are never removed from the list."""

    background_reads_per_minute: Amount = 60.0
    """Average over the whole plan (more by day, fewer by night), before misses and duplicates."""
    ordinary_cars: Annotated[int, Meta(gt=0)] = 50_000
    twins_per_stolen_car: Amount = 0.15
    """Ordinary cars whose plates differ from a stolen car's in one lookalike character.

    With this default, twins and owners' trips make about a fifth of the hits wrong; in reality 5 to
    35 % are.
    """

    miss_share: Share = 0.1
    misread_share: Share = 0.03
    misread_lookalike_share: Share = 0.7
    """Share of misreads that confuse one character with a lookalike (O for 0, B for 8)."""
    region_unknown_share: Share = 0.1
    low_confidence_share: Share = 0.03
    make_unknown_share: Share = 0.1
    """Share of reads without make and colour."""
    make_wrong_share: Share = 0.05
    colour_wrong_share: Share = 0.12
    clock_off_share: Share = 0.03
    """Share of cameras with a wrong clock, each by a constant offset."""
    clock_off_max_s: Amount = 90.0
    """Greatest offset, ahead or behind.

    Reads more than two minutes ahead are dead-lettered (``streams/core/JOIN.md``).
    """
    late_share: Share = 0.005
    """Share of reads that arrive 2 to 40 minutes late."""
    duplicate_share: Share = 0.01

    def __post_init__(self) -> None:
        for field in msgspec.structs.fields(self):
            value = getattr(self, field.name)
            try:
                msgspec.convert(value, field.type)
            except msgspec.ValidationError as error:
                raise ValueError(f"{field.name}={value!r}: {error}; change this number of the city's plan") from None

    @property
    def end_ms(self) -> int:
        """End of the plan, exclusive."""
        return self.begin_ms + self.duration_ms

    def without_faults(self) -> CityPlan:
        """Return the same plan with faultless cameras and lists; dismissed shots are unaffected."""
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
"""The parameters that model faults; 0 turns a fault off."""
