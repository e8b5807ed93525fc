"""Every metric of rampwatch, declared once. No label ever holds a plate, a name or an id."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

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
REBUILT = Counter(
    "rampwatch_rebuilt_records",
    "Records read again to rebuild what was known of partitions taken over.",
    ["topic"],
    registry=REGISTRY,
)
