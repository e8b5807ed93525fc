"""Reduces real records to the quantiles in ``streams/simulate/observed.py``, and prints them.

    python -m deploy.make_observed DATA_FOLDER

``DATA_FOLDER`` holds ``vehicle-thefts/nyc-2014-2017.csv.gz`` and ``kansas-city/activations.csv``.
"""

from __future__ import annotations

import csv
import gzip
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from streams.core.geo import distance_m
from streams.importers.kansas_city import load_activations

FOLLOWS_WITHIN_S = 600
FOLLOWS_WITHIN_M = 1_000


def theft_windows_min(data: Path) -> list[float]:
    """Return the minutes between last seen and found gone, of every theft that has both, sorted."""
    with gzip.open(data / "vehicle-thefts" / "nyc-2014-2017.csv.gz", "rt", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["date_end"]]
    spans = (datetime.fromisoformat(row["date_end"]) - datetime.fromisoformat(row["date_start"]) for row in rows)
    return sorted(span.total_seconds() / 60 for span in spans)


def followers(data: Path) -> tuple[float, list[float], list[float]]:
    """Return the share of alerts that follow the one before closely, and by how many seconds and metres, sorted."""
    alerts = load_activations(data / "kansas-city" / "activations.csv").alerts
    close = [gap for gap in _gaps(alerts) if gap[0] <= FOLLOWS_WITHIN_S and gap[1] <= FOLLOWS_WITHIN_M]
    return len(close) / len(alerts), sorted(seconds for seconds, _ in close), sorted(metres for _, metres in close)


def _gaps(alerts: Sequence[dict[str, Any]]) -> Iterator[tuple[float, float]]:
    for one, other in pairwise(alerts):
        seconds = (other["occurred_at_ms"] - one["occurred_at_ms"]) / 1000
        yield seconds, distance_m(one["lat"], one["lon"], other["lat"], other["lon"])


def quantiles(values: Sequence[float], steps: int, upto: int) -> tuple[int, ...]:
    """Return the values at 0, 1/steps, … upto/steps of the way, rounded to whole numbers."""
    return tuple(round(values[min(len(values) - 1, n * len(values) // steps)]) for n in range(upto + 1))


def main(data: Path) -> None:
    """Print what the tables should hold."""
    share, seconds, metres = followers(data)
    sys.stdout.write(f"THEFT_WINDOW_MIN = {quantiles(theft_windows_min(data), 40, 38)}\n")
    sys.stdout.write(f"FOLLOWING_SHARE = {share:.2f}\n")
    sys.stdout.write(f"FOLLOWING_S = {quantiles(seconds, 20, 20)}\nFOLLOWING_M = {quantiles(metres, 20, 20)}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
