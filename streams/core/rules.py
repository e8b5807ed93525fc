"""The join's settings: every number of JOIN.md with its unit and meaning, once."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

_MINUTE: Final = 60_000
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR

Duration = Annotated[int, Meta(ge=0, le=2**53)]
Distance = Annotated[int, Meta(ge=0, le=2**53)]
Speed = Annotated[int, Meta(ge=0, le=2**53)]


class JoinRules(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far apart in time and space a shot and a read may be, and how long facts are kept.

    Each field is a key of the TOML table ``[join]``; its environment variable is
    ``RAMPWATCH_JOIN_`` and its name in capitals.
    """

    before_ms: Annotated[Duration, Meta(description="reads count from this long before the shot")] = 45 * _MINUTE
    after_ms: Annotated[Duration, Meta(description="reads count until this long after the shot")] = 30 * _MINUTE
    max_distance_m: Annotated[Distance, Meta(description="greatest distance from the shot to the ramp")] = 8_000
    max_speed_mps: Annotated[Speed, Meta(description="greatest speed of a car")] = 45
    reach_slack_m: Annotated[Distance, Meta(description="distance a car is given without needing time")] = 150
    min_confidence: Annotated[float, Meta(ge=0, le=1, description="least confidence of a sighting")] = 0.6
    max_lookalikes: Annotated[
        int, Meta(ge=0, le=10, description="greatest number of characters in which a lookalike may differ")
    ] = 1
    unknown_theft_lookback_ms: Annotated[
        Duration, Meta(description="a theft of unknown time is assumed to be at most this long before its report")
    ] = 12 * _HOUR
    hit_ttl_ms: Annotated[Duration, Meta(description="a listing expires this long after its report")] = 30 * _DAY
    read_retention_ms: Annotated[Duration, Meta(description="how long a read is kept after its capture")] = 24 * _HOUR
    incident_retention_ms: Annotated[
        Duration, Meta(description="how long incidents may change after the first stamp of their shot")
    ] = 7 * _DAY
    shot_memory_ms: Annotated[
        Duration, Meta(description="how long a shot's id is kept after its first stamp; at least incident_retention_ms")
    ] = 90 * _DAY
    max_future_skew_ms: Annotated[
        Duration, Meta(description="how far a sender's clock may be ahead of the broker's")
    ] = 2 * _MINUTE
    stamp_slack_ms: Annotated[
        Duration, Meta(description="allowance for brokers' clocks, and for records readable only after their stamp")
    ] = _MINUTE
    max_hits_per_plate: Annotated[int, Meta(ge=1, le=2**53, description="greatest number of hits per plate key")] = 32
    max_shots: Annotated[int, Meta(ge=1, le=2**53, description="greatest number of unfrozen shots")] = 100_000
    max_reads_per_plate: Annotated[
        int, Meta(ge=1, le=2**53, description="greatest number of reads in memory per listed plate key")
    ] = 2_000
    max_read_bytes_kept: Annotated[
        int, Meta(ge=2**20, le=2**53, description="bytes of reads that a partition keeps; then reads are dead letters")
    ] = 2**30
    max_record_bytes: Annotated[
        int, Meta(ge=1_024, le=16 * 2**20, description="greatest size of an input record's value")
    ] = 65_536
    placeholder_plates: Annotated[
        tuple[str, ...], Meta(description="what cameras send as the plate if they could not read one")
    ] = (
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
    def read_horizon_ms(self) -> int:
        """How long after its stamp a read can still matter (JOIN.md, Recovery)."""
        return self.read_retention_ms + self.max_future_skew_ms

    @property
    def shot_horizon_ms(self) -> int:
        """How long after a shot's first stamp its records may count (JOIN.md, Freeze)."""
        return self.shot_memory_ms + self.max_future_skew_ms

    @property
    def hit_horizon_ms(self) -> int:
        """How long after its last stamp a hit can still matter (JOIN.md, Recovery)."""
        return self.hit_ttl_ms + self.incident_retention_ms + self.read_retention_ms + self.max_future_skew_ms
