"""A record as it lies in a topic, and who wrote it."""

from __future__ import annotations

from dataclasses import dataclass, field

WORKER_HEADER = "rampwatch-worker"


@dataclass(frozen=True)
class Row:
    """A record as it lies in a topic (named without prefix).

    ``producer``: producer id and epoch that Kafka keeps with it; None where its producer had none.
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
    def place(self) -> str:
        return f"{self.topic}-{self.partition}-{self.offset}"

    @property
    def writer(self) -> tuple[object, ...] | None:
        """Who wrote it; None where neither Kafka nor a header tells."""
        named = self.headers.get(WORKER_HEADER)
        return None if named is None and self.producer is None else (named, self.producer)
