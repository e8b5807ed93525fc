"""The figures of a run, as a table for people."""

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
    ("engine_worst_per_s", "engine alone, every plate listed, a shot a second", "events/s"),
    ("engine_worst_incidents_per_s", "  revisions of incidents that came of it", "1/s"),
    ("bytes_per_read", "memory of a kept read", "bytes"),
)


def table(figures: Figures) -> Table:
    """Return the medians with their spread, and the median of what each is of its yardstick in the same round."""
    made = Table("figure", "unit", "median", "least", "most", "beside")
    for column in made.columns[2:5]:
        column.justify = "right"
    for name, what, unit in _ROWS:
        median = getattr(figures, name)
        least, most = figures.spread.get(name, (None, None))
        made.add_row(what, unit, _told(median), _told(least), _told(most), _beside(figures, name))
    return made


def _told(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1_000 else f"{value:,.1f}"


def _beside(figures: Figures, figure: str) -> str:
    """How many times its yardsticks a figure is."""
    said = [
        f"{figures.ratios[name]:.2f} x {name.partition('_of_')[2].replace('_', ' ')}"
        for name, (of, _) in BASELINES.items()
        if of == figure and name in figures.ratios
    ]
    return ", ".join(said)
