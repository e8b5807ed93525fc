"""Tells how many rows of a source cannot be used, so that none goes missing unnoticed."""

from __future__ import annotations

from collections.abc import Mapping

from streams.cli.options import screen


def report_rejected(source: str, rows: int, rejected: Mapping[str, int], remedy: str) -> None:
    """Print one line with the counts by reason to standard error, or nothing if all were used."""
    from streams.analysis.sources import counts_text

    total = sum(rejected.values())
    if total:
        screen.print(
            f"{source}: {total:,} of {rows:,} rows rejected: {counts_text(rejected)}; {remedy}",
            style="yellow",
        )
