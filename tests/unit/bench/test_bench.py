from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console

from streams.bench.engine import bytes_per_read, engine_rounds
from streams.bench.latency import p99
from streams.bench.run import Figures
from streams.bench.table import table
from streams.bench.traffic import certain_matches, day, shot_at
from streams.core.events import Record
from streams.core.rules import JoinRules
from streams.core.topics import READS
from streams.replay.run import new_pipeline
from streams.resources.sites import load_site
from streams.simulate.scenarios import days, local_midnight

SITE = load_site("hartford")


def test_a_retained_read_of_an_unlisted_plate_takes_less_than_a_hundred_bytes():
    assert 10 < bytes_per_read(SITE, JoinRules(), 300_000) < 100


def test_the_engine_is_measured_and_the_worst_case_produces_incidents():
    figures = next(engine_rounds(days(SITE, 7, 1, local_midnight(SITE, "2026-06-05"))))
    assert figures.engine_per_s > figures.engine_worst_per_s > 0
    assert figures.engine_worst_incidents_per_s > 0


def test_the_99th_percentile_is_the_smallest_time_that_99_of_100_do_not_exceed():
    assert p99([float(n) for n in range(1, 101)]) == 99
    assert p99([float(n) for n in range(200, 0, -1)]) == 198
    assert p99([7.0]) == 7


def test_a_day_of_traffic_has_about_the_requested_reads_and_none_is_late_or_in_the_future():
    now_ms = 1_780_000_000_000
    rows = [msgspec.json.decode(value) for topic, _, value in day(SITE, 20_000, now_ms) if topic == READS]
    assert len(rows) == pytest.approx(20_000, rel=0.05)
    assert all(0 <= now_ms - row["captured_at_ms"] < JoinRules().read_retention_ms for row in rows)


def test_a_shot_at_the_ramp_of_a_certain_match_produces_one_incident():
    at_ms = 1_780_000_000_000
    rows, ramps = certain_matches(SITE, at_ms)
    assert len(ramps) >= 5
    shots = [shot_at(ramp, f"shot-{number}", at_ms) for number, ramp in enumerate(ramps)]
    pipeline, incidents = new_pipeline(SITE, JoinRules()), []
    for offset, (topic, _, value) in enumerate([*rows, *shots]):
        incidents += pipeline.apply(Record(topic, 0, offset, at_ms + 600_000, value)).incidents
    assert [incident.shot.alert_id for incident in incidents] == [f"shot-{number}" for number in range(len(ramps))]
    assert len({incident.vehicle.plate for incident in incidents}) == len(ramps)


def test_the_table_names_the_baselines_and_marks_missing_figures():
    values = dict.fromkeys(
        ("bytes_per_read", "engine_per_s", "engine_worst_per_s", "engine_worst_incidents_per_s"), 1.0
    )
    values |= {"bare_per_s": 200.0, "worker_per_s": 100.0}
    figures = Figures(
        **values, spread={"worker_per_s": (90.0, 2_000.0)}, ratios={"worker_of_stock_faust": 0.5}, notes=[]
    )
    screen = Console(width=200, record=True, file=io.StringIO())
    screen.print(table(figures))
    lines = screen.export_text().splitlines()
    (worker,) = [line for line in lines if "the full join" in line]
    assert [cell.strip() for cell in worker.split("│")][2:7] == [
        "reads/s",
        "100.0",
        "90.0",
        "2,000",
        "0.50 x stock faust",
    ]
    (rebuild,) = [line for line in lines if "rebuild" in line]
    assert [cell.strip() for cell in rebuild.split("│")][3:7] == ["-", "-", "-", ""]
