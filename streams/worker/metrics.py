"""Every metric of rampwatch, declared once. No label ever holds a plate, a name or an id."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter, Gauge

from streams.core.counters.events import Period, SpikeCounter

REGISTRY = CollectorRegistry()

RECORDS = Counter(
    "rampwatch_records",
    "Records read from the input topics, by what each ended as; the outcomes of a topic add up to what was consumed.",
    ["topic", "outcome"],
    registry=REGISTRY,
)
DEAD_LETTERS = Counter(
    "rampwatch_dead_letters", "Records that could not be used, by the reason.", ["topic", "reason"], registry=REGISTRY
)
INCIDENTS = Counter(
    "rampwatch_incidents_published",
    "Revisions of linked incidents published, by the status they say.",
    ["status"],
    registry=REGISTRY,
)
READS_KEPT = Gauge(
    "rampwatch_reads_kept", "Plate reads in memory, over all partitions of this worker.", registry=REGISTRY
)
PARTITIONS = Gauge(
    "rampwatch_partitions", "Partitions of the joined topics that this worker has, or is rebuilding.", registry=REGISTRY
)
PARTITIONS_READY = Gauge(
    "rampwatch_partitions_ready",
    "Partitions that are rebuilt and have read all that was there when they were taken over.",
    registry=REGISTRY,
)
LAG = Gauge(
    "rampwatch_lag_records",
    "Records of the joined topics that lie behind what this worker has joined, asked for once a second.",
    ["topic"],
    registry=REGISTRY,
)
WATERMARK = Gauge(
    "rampwatch_watermark_timestamp_seconds",
    "Up to when, by stamps, all is joined and said for good, in the partition of this worker that is furthest behind; "
    "NaN until that is known. It stands still while nothing at all comes in.",
    registry=REGISTRY,
)
WATERMARK.set(math.nan)
REBUILT = Counter(
    "rampwatch_rebuilt_records",
    "Records read again to rebuild what was known of partitions taken over.",
    ["topic"],
    registry=REGISTRY,
)

_PERIODS = ["kind", "zone", "period"]
_COUNT = Gauge("rampwatch_spike_count", "Events of a period, by kind, zone and period.", _PERIODS, registry=REGISTRY)
_BASE = Gauge(
    "rampwatch_spike_comparison_count",
    "Events of the period that it is compared with; absent where it cannot be compared.",
    _PERIODS,
    registry=REGISTRY,
)
_RATIO = Gauge(
    "rampwatch_spike_rate_ratio",
    "Rate of a period over that of the one it is compared with, and the ends of its 95 % interval.",
    [*_PERIODS, "bound"],
    registry=REGISTRY,
)
_RECENT = Gauge(
    "rampwatch_spike_recent", "Events of the last hour, day and week.", ["kind", "zone", "window"], registry=REGISTRY
)
_ALARM = Gauge("rampwatch_spike_alarm", "1 while an alarm is up.", ["kind", "zone"], registry=REGISTRY)
_SPIKES = (_COUNT, _BASE, _RATIO, _RECENT, _ALARM)


def show_counters(counters: Iterable[SpikeCounter]) -> None:
    """Set the gauges of the spike counters; on the worker that counts."""
    for counter in counters:
        kind, zone = counter.kind, counter.zone_id
        for window in ("h1", "h24", "d7"):
            _RECENT.labels(kind, zone, window).set(getattr(counter.recent, window))
        _ALARM.labels(kind, zone).set(counter.alarm is not None)
        for name in counter.periods.__struct_fields__:
            period: Period = getattr(counter.periods, name)
            _COUNT.labels(kind, zone, name).set(period.count)
            _set_or_remove(_BASE, (kind, zone, name), period.comparison_count)
            bounds = {"": period.rate_ratio, "low": period.rate_ratio_low, "high": period.rate_ratio_high}
            for bound, value in bounds.items():
                _set_or_remove(_RATIO, (kind, zone, name, bound), value)


def _set_or_remove(gauge: Gauge, labels: tuple[str, ...], value: float | None) -> None:
    """Set a gauge; what cannot be said is absent, not nought."""
    if value is not None:
        gauge.labels(*labels).set(value)
    else:
        with suppress(KeyError):
            gauge.remove(*labels)


def forget_counters() -> None:
    """Show no counters: another worker counts now."""
    for gauge in _SPIKES:
        gauge.clear()
