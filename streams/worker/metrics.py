"""Every metric of rampwatch, declared once. No label value is ever a plate, a name or an id."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter, Gauge

from streams.core.counters.events import Period, SpikeCounter
from streams.core.effects import Effects

REGISTRY = CollectorRegistry()

RECORDS = Counter(
    "rampwatch_records",
    "Records consumed from the input topics, by outcome. Each record has exactly one outcome.",
    ["topic", "outcome"],
    registry=REGISTRY,
)
DEAD_LETTERS = Counter(
    "rampwatch_dead_letters", "Records sent to the dead letters, by reason.", ["topic", "reason"], registry=REGISTRY
)
INCIDENTS = Counter(
    "rampwatch_incidents_published",
    "Revisions of linked incidents published, by status.",
    ["status"],
    registry=REGISTRY,
)
READS_KEPT = Gauge(
    "rampwatch_reads_kept", "Plate reads in memory, over all partitions of this worker.", registry=REGISTRY
)
PARTITIONS = Gauge(
    "rampwatch_partitions", "Partitions of the joined topics that this worker owns or rebuilds.", registry=REGISTRY
)
PARTITIONS_READY = Gauge(
    "rampwatch_partitions_ready",
    "Partitions that are rebuilt and have been read to the ends their inputs had at takeover.",
    registry=REGISTRY,
)
LAG = Gauge(
    "rampwatch_lag_records",
    "Records in this worker's partitions of a joined topic that are not joined yet. Updated about once a second.",
    ["topic"],
    registry=REGISTRY,
)
WATERMARK = Gauge(
    "rampwatch_watermark_timestamp_seconds",
    "Watermark of the worker's partition that is furthest behind; results before it are final. "
    "NaN until it is known. It does not advance without input.",
    registry=REGISTRY,
)
WATERMARK.set(math.nan)
REBUILT = Counter(
    "rampwatch_rebuilt_records",
    "Records read to rebuild the state of partitions taken over.",
    ["topic"],
    registry=REGISTRY,
)
UNREADABLE = Counter(
    "rampwatch_unreadable_outputs",
    "Records of rampwatch's own output topics that this version cannot read, and skipped.",
    ["topic"],
    registry=REGISTRY,
)

_PERIODS = ["kind", "zone", "period"]
_COUNT = Gauge("rampwatch_spike_count", "Events in a period.", _PERIODS, registry=REGISTRY)
_COMPARISON_COUNT = Gauge(
    "rampwatch_spike_comparison_count",
    "Events in the comparison period. Absent if the two cannot be compared.",
    _PERIODS,
    registry=REGISTRY,
)
_RATE_RATIO = Gauge(
    "rampwatch_spike_rate_ratio",
    "Rate in a period divided by the rate in the comparison period (empty bound), "
    "and its 95 % confidence limits (low, high). Absent if undefined.",
    [*_PERIODS, "bound"],
    registry=REGISTRY,
)
_RECENT = Gauge(
    "rampwatch_spike_recent",
    "Events in the last hour, 24 hours and 7 days.",
    ["kind", "zone", "window"],
    registry=REGISTRY,
)
_ALARM = Gauge("rampwatch_spike_alarm", "1 while an alarm is up, else 0.", ["kind", "zone"], registry=REGISTRY)
_SPIKE_GAUGES = (_COUNT, _COMPARISON_COUNT, _RATE_RATIO, _RECENT, _ALARM)


def set_counters(counters: Iterable[SpikeCounter]) -> None:
    """Set the gauges of the spike counters, on the counter leader."""
    for counter in counters:
        kind, zone = counter.kind, counter.zone_id
        for window in ("h1", "h24", "d7"):
            _RECENT.labels(kind, zone, window).set(getattr(counter.recent, window))
        _ALARM.labels(kind, zone).set(counter.alarm is not None)
        for name in counter.periods.__struct_fields__:
            period: Period = getattr(counter.periods, name)
            _COUNT.labels(kind, zone, name).set(period.count)
            _set_or_remove(_COMPARISON_COUNT, (kind, zone, name), period.comparison_count)
            bounds = {"": period.rate_ratio, "low": period.rate_ratio_low, "high": period.rate_ratio_high}
            for bound, value in bounds.items():
                _set_or_remove(_RATE_RATIO, (kind, zone, name, bound), value)


def _set_or_remove(gauge: Gauge, labels: tuple[str, ...], value: float | None) -> None:
    """Set a gauge, or remove the series if the value is undefined: 0 would be wrong."""
    if value is not None:
        gauge.labels(*labels).set(value)
    else:
        with suppress(KeyError):
            gauge.remove(*labels)


def count_outcomes(effects: Effects) -> None:
    """Count the outcomes of records, once their effects are delivered."""
    for (topic, outcome), count in effects.outcomes.items():
        RECORDS.labels(topic, outcome).inc(count)
    for dead in effects.dead_letters:
        DEAD_LETTERS.labels(dead.record.topic, dead.error.reason).inc()


def clear_counters() -> None:
    """Remove the gauges of the spike counters, because another worker is the counter leader now."""
    for gauge in _SPIKE_GAUGES:
        gauge.clear()
