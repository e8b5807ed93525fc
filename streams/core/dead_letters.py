"""What a dead letter says: the record's own bytes as its value, where it lay as its key, why as its headers."""

from __future__ import annotations

from streams.core.events import InvalidRecord, Record


def dead_letter_key(record: Record) -> str:
    """Return the key of a record's dead letter: topic, partition and offset."""
    return f"{record.topic}-{record.partition}-{record.offset}"


def dead_letter_headers(record: Record, refused: InvalidRecord) -> dict[str, str]:
    """Return what a dead letter tells about its record, beside the record's own bytes."""
    return {
        "rampwatch-topic": record.topic,
        "rampwatch-partition": str(record.partition),
        "rampwatch-offset": str(record.offset),
        "rampwatch-stamp-ms": str(record.stamp_ms),
        "rampwatch-reason": refused.reason,
        "rampwatch-field": refused.field,
        "rampwatch-detail": refused.detail,
    }
