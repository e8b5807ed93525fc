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
