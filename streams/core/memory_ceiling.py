"""The most memory that the join keeps, whatever arrives: the figure that operators plan with."""

from __future__ import annotations

from typing import Final

from streams.core.rules import JoinRules

_SLACK_BYTES: Final = 8 * 2**20
"""What is not compressed yet, and a batch that was let in just before the limit was reached."""


def memory_ceiling_bytes(rules: JoinRules) -> int:
    """Return how many bytes the reads of one partition take at most (JOIN.md, Limits)."""
    return rules.max_read_bytes_kept + _SLACK_BYTES
