"""The join's settings: every number of JOIN.md with its unit and meaning, once."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

_MINUTE: Final = 60_000
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR

Span = Annotated[int, Meta(ge=0, le=2**53)]


class JoinRules(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far apart in time and space a shot and a read may lie, and how long each is remembered.

    The TOML table is ``[join]``; in the environment each is ``RAMPWATCH_JOIN_`` and its name in capitals.
    """

    before_ms: Annotated[Span, Meta(description="a read counts from this long before the shot")] = 45 * _MINUTE
    after_ms: Annotated[Span, Meta(description="a read counts until this long after the shot")] = 30 * _MINUTE
    max_distance_m: Annotated[Span, Meta(description="from the shot to the ramp, at most")] = 8_000
    max_speed_mps: Annotated[Span, Meta(description="no car is faster")] = 45
    reach_slack_m: Annotated[Span, Meta(description="distance that costs no time")] = 150
    min_confidence: Annotated[float, Meta(ge=0, le=1, description="reads below are no sightings")] = 0.6
    max_lookalikes: Annotated[int, Meta(ge=0, le=10, description="characters that a lookalike may differ in")] = 1
    unknown_theft_lookback_ms: Annotated[
        Span, Meta(description="a theft of unknown time is taken to lie this long before its report")
    ] = 12 * _HOUR
    hit_ttl_ms: Annotated[Span, Meta(description="a listing counts this long after its report")] = 30 * _DAY
    read_retention_ms: Annotated[Span, Meta(description="how long a read is remembered")] = 24 * _HOUR
    incident_retention_ms: Annotated[Span, Meta(description="how long an incident may change")] = 7 * _DAY
    shot_memory_ms: Annotated[Span, Meta(description="how long a shot's id is remembered")] = 90 * _DAY
    max_future_skew_ms: Annotated[Span, Meta(description="how far a clock may run ahead of the broker's")] = 2 * _MINUTE
    stamp_slack_ms: Annotated[Span, Meta(description="how far brokers' stamps may disagree")] = _MINUTE
    max_hits_per_plate: Annotated[int, Meta(ge=1, le=2**53, description="listings under one plate key")] = 32
    max_shots: Annotated[int, Meta(ge=1, le=2**53, description="shots that may still change")] = 100_000
    placeholder_plates: Annotated[tuple[str, ...], Meta(description="what cameras write where they read nothing")] = (
        "UNKNOWN",
        "NOPLATE",
        "NONE",
        "NULL",
        "NA",
        "UNREADABLE",
        "XXXXXX",
        "XXXXXXX",
        "000000",
        "0000000",
    )

    @property
    def hit_memory_ms(self) -> int:
        """How long after its stamp a hit's record can still matter (JOIN.md, Recovery: the horizon of hits)."""
        return self.hit_ttl_ms + self.incident_retention_ms + self.read_retention_ms + self.max_future_skew_ms
