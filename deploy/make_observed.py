"""Computes the quantiles in ``streams/simulate/observed.py`` from real records, and prints them.

    python -m deploy.make_observed DATA_FOLDER

``DATA_FOLDER`` contains ``vehicle-thefts/nyc-2014-2017.csv.gz`` and
``kansas-city/activations.csv``.
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
    """Return the minutes from last sight to discovery of every theft with both times, sorted."""
    with gzip.open(data / "vehicle-thefts" / "nyc-2014-2017.csv.gz", "rt", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["date_end"]]
    spans = (datetime.fromisoformat(row["date_end"]) - datetime.fromisoformat(row["date_start"]) for row in rows)
    return sorted(span.total_seconds() / 60 for span in spans)


def followers(data: Path) -> tuple[float, list[float], list[float]]:
    """Return the share of alerts close to the previous one, and their time and distance to it.

    Times are in seconds, distances in metres; each list is sorted.
    """
    alerts = load_activations(data / "kansas-city" / "activations.csv").alerts
    close = [gap for gap in _gaps(alerts) if gap[0] <= FOLLOWS_WITHIN_S and gap[1] <= FOLLOWS_WITHIN_M]
    return len(close) / len(alerts), sorted(seconds for seconds, _ in close), sorted(metres for _, metres in close)


def _gaps(alerts: Sequence[dict[str, Any]]) -> Iterator[tuple[float, float]]:
    for first, second in pairwise(alerts):
        seconds = (second["occurred_at_ms"] - first["occurred_at_ms"]) / 1000
        yield seconds, distance_m(first["lat"], first["lon"], second["lat"], second["lon"])


def quantiles(values: Sequence[float], steps: int, last: int) -> tuple[int, ...]:
    """Return the quantiles 0, 1/steps, … last/steps of sorted values, rounded to whole numbers."""
    return tuple(round(values[min(len(values) - 1, n * len(values) // steps)]) for n in range(last + 1))


def main(data: Path) -> None:
    """Print the tables."""
    share, seconds, metres = followers(data)
    sys.stdout.write(f"THEFT_WINDOW_MIN = {quantiles(theft_windows_min(data), 40, 38)}\n")
    sys.stdout.write(f"FOLLOWING_SHARE = {share:.2f}\n")
    sys.stdout.write(f"FOLLOWING_S = {quantiles(seconds, 20, 20)}\nFOLLOWING_M = {quantiles(metres, 20, 20)}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
