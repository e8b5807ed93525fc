"""The figures of a benchmark run as a table."""

from __future__ import annotations

from typing import Final

from rich.table import Table

from streams.bench.run import BASELINES, Figures

_ROWS: Final = (
    ("bare_per_s", "bare aiokafka loop: fetch, decode, validate", "reads/s"),
    ("stock_faust_per_s", "stock Faust agent with a Record, no state", "reads/s"),
    ("worker_per_s", "worker: the full join, metrics on", "reads/s"),
    ("rebuild_per_s", "worker: rebuild after a kill", "records/s"),
    ("round_trip_p99_ms", "bare round trip, p99 under 5,000 reads/s", "ms"),
    ("shot_to_incident_p99_ms", "shot to incident, p99 under 5,000 reads/s", "ms"),
    ("engine_per_s", "engine alone, a simulated day", "events/s"),
    ("engine_worst_per_s", "engine alone, every plate listed, one shot per second", "events/s"),
    ("engine_worst_incidents_per_s", "  incident revisions in that worst case", "1/s"),
    ("bytes_per_read", "memory per retained read", "bytes"),
)


def table(figures: Figures) -> Table:
    """Return the median, range and baseline ratios of each figure."""
    rows = Table("figure", "unit", "median", "min", "max", "vs baseline")
    for column in rows.columns[2:5]:
        column.justify = "right"
    for name, description, unit in _ROWS:
        median = getattr(figures, name)
        least, most = figures.spread.get(name, (None, None))
        rows.add_row(description, unit, _number(median), _number(least), _number(most), _ratios(figures, name))
    return rows


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1_000 else f"{value:,.1f}"


def _ratios(figures: Figures, figure: str) -> str:
    """Return the ratios of a figure to its baselines."""
    ratios = [
        f"{figures.ratios[name]:.2f} x {name.partition('_of_')[2].replace('_', ' ')}"
        for name, (measured, _) in BASELINES.items()
        if measured == figure and name in figures.ratios
    ]
    return ", ".join(ratios)
