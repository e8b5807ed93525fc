"""Every metric of rampwatch, declared once.

Every label has a small, closed set of values, so no series is ever named after a plate, a person
or an id. Every counter exists at 0 from the first scrape: a series that begins with its first event
has no increase that an alert could see.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import product
from typing import Final, NamedTuple, get_args, get_type_hints

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics

from streams.core.counters.events import Kind, Period, Periods, Recent, SpikeCounter
from streams.core.effects import Effects
from streams.core.events import DeadReason, LinkedIncident, Outcome
from streams.core.site import CITY
from streams.core.topics import INPUTS, JOINED

# When a counter was created says nothing here: each is, when the worker starts.
disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry()

IN_NO_ZONE: Final = ""
"""The label ``zone`` of events in no polygon. No zone has an empty id."""
_INCIDENT: Final = get_type_hints(LinkedIncident)

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
    "Revisions of linked incidents published, by status and strength.",
    ["status", "strength"],
    registry=REGISTRY,
)
READS_KEPT = Gauge(
    "rampwatch_reads_kept", "Plate reads in memory, over all partitions of this worker.", registry=REGISTRY
)
PARTITIONS_EXPECTED = Gauge(
    "rampwatch_partitions_expected",
    "Partitions that each joined topic has: over all workers, so many must be assigned and ready.",
    registry=REGISTRY,
)
PARTITIONS = Gauge(
    "rampwatch_partitions",
    "Partitions of the joined topics that the group has assigned to this worker.",
    registry=REGISTRY,
)
PARTITIONS_READY = Gauge(
    "rampwatch_partitions_ready",
    "Partitions that are rebuilt and have been read to the ends their inputs had at takeover.",
    registry=REGISTRY,
)
LAG = Gauge(
    "rampwatch_lag_records",
    "Records in this worker's partitions of a joined topic that are not joined yet, those of partitions being "
    "rebuilt included. Updated about once a second. NaN while it is unknown.",
    ["topic"],
    registry=REGISTRY,
)
WATERMARK = Gauge(
    "rampwatch_watermark_timestamp_seconds",
    "Watermark of the worker's partition that is furthest behind; results before it are final. "
    "NaN while it is unknown. It does not advance without input.",
    registry=REGISTRY,
)
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


def _start_at(value: float, metric: Counter | Gauge, *labels: Iterable[str]) -> None:
    """Create the series of all combinations of labels, with this value."""
    for values in product(*labels):
        series = metric.labels(*values) if values else metric
        if isinstance(series, Gauge):
            series.set(value)


_start_at(0, RECORDS, INPUTS, get_args(Outcome))
_start_at(0, DEAD_LETTERS, INPUTS, get_args(DeadReason))
_start_at(0, INCIDENTS, get_args(_INCIDENT["status"]), get_args(_INCIDENT["strength"]))
_start_at(0, REBUILT, JOINED)
_start_at(math.nan, LAG, JOINED)
_start_at(math.nan, WATERMARK)

# ---------------------------------------------------------------------- records and incidents


def count_outcomes(effects: Effects) -> None:
    """Count the outcomes of records, once their effects are delivered."""
    for (topic, outcome), count in effects.outcomes.items():
        RECORDS.labels(topic, outcome).inc(count)
    for dead in effects.dead_letters:
        DEAD_LETTERS.labels(dead.record.topic, dead.error.reason).inc()


# ---------------------------------------------------------------------- spike counters


class _SpikeGauges:
    """The gauges of one scope: of the zones, or of the city.

    The city has metrics of its own, so that a sum over zones is the city's total, not twice that.
    """

    def __init__(self, name: str, where: str, labels: Sequence[str]) -> None:
        """``name``: how the metrics begin. ``where``: ends the sentences of their help."""

        def gauge(suffix: str, documentation: str, *more: str) -> Gauge:
            return Gauge(f"{name}_{suffix}", documentation.format(where), [*labels, *more], registry=REGISTRY)

        self._events = gauge("events", "Events in a period {}.", "period")
        self._comparison = gauge(
            "comparison_events",
            "Events in the comparison period {}. Absent if the two cannot be compared.",
            "period",
        )
        self._rate_ratio = gauge(
            "rate_ratio",
            "Rate in a period divided by the rate in the comparison period (empty bound), "
            "and its 95 % confidence limits (low, high), {}. Absent if undefined.",
            "period",
            "bound",
        )
        self._recent = gauge("recent_events", "Events in the last hour, 24 hours and 7 days {}.", "window")
        self._alarm = gauge("alarm", "1 while an alarm is up, else 0, {}.")

    def set(self, counter: SpikeCounter, *labels: str) -> None:
        """Set everything that a counter says."""
        self.set_counts(_counts(counter), *labels)
        self._alarm.labels(*labels).set(counter.alarm is not None)
        for name in Periods.__struct_fields__:
            period: Period = getattr(counter.periods, name)
            bounds = {"": period.rate_ratio, "low": period.rate_ratio_low, "high": period.rate_ratio_high}
            for bound, value in bounds.items():
                _set_or_remove(self._rate_ratio, (*labels, name, bound), value)

    def set_counts(self, counts: _Counts, *labels: str) -> None:
        """Set the counts alone."""
        for window, count in counts.recent.items():
            self._recent.labels(*labels, window).set(count)
        for name, count in counts.events.items():
            self._events.labels(*labels, name).set(count)
        for name, comparison in counts.comparison.items():
            _set_or_remove(self._comparison, (*labels, name), comparison)

    def clear(self) -> None:
        """Remove all series."""
        for gauge in (self._events, self._comparison, self._rate_ratio, self._recent, self._alarm):
            gauge.clear()


class _Counts(NamedTuple):
    """The counts of a counter: by window, by period, and by period of the comparison."""

    recent: Mapping[str, int]
    events: Mapping[str, int]
    comparison: Mapping[str, int | None]


def _counts(counter: SpikeCounter) -> _Counts:
    periods: dict[str, Period] = {name: getattr(counter.periods, name) for name in Periods.__struct_fields__}
    return _Counts(
        {window: getattr(counter.recent, window) for window in Recent.__struct_fields__},
        {name: period.count for name, period in periods.items()},
        {name: period.comparison_count for name, period in periods.items()},
    )


def _set_or_remove(gauge: Gauge, labels: tuple[str, ...], value: float | None) -> None:
    """Set a gauge, or remove the series if the value is undefined: 0 would be wrong."""
    if value is not None:
        gauge.labels(*labels).set(value)
    else:
        with suppress(KeyError):
            gauge.remove(*labels)


_ZONES: Final = _SpikeGauges(
    "rampwatch_spike", "by zone; the zone is empty for events in no zone, so that a sum is the city's", ["kind", "zone"]
)
_CITY: Final = _SpikeGauges("rampwatch_spike_city", "in the whole city, events in no zone included", ["kind"])
_current: Final[dict[Kind, dict[str, SpikeCounter]]] = {}
"""The latest counters, by kind and zone id."""


def set_counters(counters: Iterable[SpikeCounter]) -> None:
    """Set the gauges of the spike counters that changed, on the counter leader."""
    changed: set[Kind] = set()
    for counter in counters:
        changed.add(counter.kind)
        _current.setdefault(counter.kind, {})[counter.zone_id] = counter
        if counter.zone_id == CITY:
            _CITY.set(counter, counter.kind)
        else:
            _ZONES.set(counter, counter.kind, counter.zone_id)
    for kind in changed:
        _set_in_no_zone(kind)


def _set_in_no_zone(kind: Kind) -> None:
    """Set the counts of events in no zone: those of the city less those of its zones."""
    zones = {zone_id: _counts(counter) for zone_id, counter in _current[kind].items()}
    city = zones.pop(CITY, None)
    if city is None:
        return  # the city's counter comes with all others, at most a minute later
    recent = {
        window: count - sum(zone.recent[window] for zone in zones.values()) for window, count in city.recent.items()
    }
    events = {name: count - sum(zone.events[name] for zone in zones.values()) for name, count in city.events.items()}
    comparison = {
        name: _less(count, [zone.comparison[name] for zone in zones.values()])
        for name, count in city.comparison.items()
    }
    _ZONES.set_counts(_Counts(recent, events, comparison), kind, IN_NO_ZONE)


def _less(whole: int | None, parts: Sequence[int | None]) -> int | None:
    known = [part for part in parts if part is not None]
    return None if whole is None or len(known) < len(parts) else whole - sum(known)


def clear_counters() -> None:
    """Remove the gauges of the spike counters, because this worker does not count any more."""
    _current.clear()
    for gauges in (_ZONES, _CITY):
        gauges.clear()
