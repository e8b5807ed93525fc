"""The most memory that the join keeps, whatever arrives: the figure that operators plan with."""

from __future__ import annotations

from streams.core.rules import JoinRules


def memory_ceiling_bytes(rules: JoinRules) -> int:
    """Return the bytes that one partition keeps at most of reads of plates not listed as stolen."""
    return rules.max_read_bytes_kept
