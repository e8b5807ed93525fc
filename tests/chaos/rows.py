"""A record in a topic, and who wrote it."""

from __future__ import annotations

from dataclasses import dataclass, field

WORKER_HEADER = "rampwatch-worker"


@dataclass(frozen=True)
class Row:
    """A record in a topic (named without prefix).

    ``producer``: the producer id and epoch that Kafka stores with it, if any.
    """

    topic: str
    partition: int
    offset: int
    stamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes] = field(default_factory=dict)
    producer: tuple[int, int] | None = None

    @property
    def position(self) -> str:
        """Topic, partition and offset."""
        return f"{self.topic}-{self.partition}-{self.offset}"

    @property
    def writer(self) -> tuple[object, ...] | None:
        """Who wrote it; None if neither Kafka nor a header says."""
        worker = self.headers.get(WORKER_HEADER)
        return None if worker is None and self.producer is None else (worker, self.producer)
