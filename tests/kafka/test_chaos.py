"""A chaos run: workers are killed, stopped, added and paused, and the broker is killed.

``.venv/bin/python -m tests.chaos --help`` lists the options for longer runs.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.chaos.report import Plan, lines
from tests.chaos.run import run
from tests.chaos.schedule import LONG_DECK
from tests.lanes import LANE


@pytest.mark.slow
@pytest.mark.timeout(300 + 30 * LANE.chaos_faults)
@pytest.mark.usefixtures("kafka_here")
def test_after_all_faults_nothing_is_lost_or_wrong_and_no_revision_goes_backwards(tmp_path: Path) -> None:
    plan = Plan(LANE.chaos_faults, seed=1, minute_ms=500)
    assert {fault.kind for fault in plan.schedule} >= {"kill", "term", "join", "pause", "broker killed"}
    progress = [str(fault) for fault in plan.schedule]
    report = asyncio.run(run(plan, tmp_path, progress.append))
    assert report.clean, "\n".join([*progress, *(text for text, _ in lines(report))])
    assert len(report.done) == LANE.chaos_faults
    assert report.counts["incidents"] > 50
    assert report.counts["dead letters"] > 50


@pytest.mark.slow
@pytest.mark.timeout(900 + 90 * LANE.chaos_minutes)
@pytest.mark.usefixtures("kafka_here")
@pytest.mark.skipif(LANE.chaos_minutes == 0, reason="takes an hour: see make soak")
def test_for_an_hour_of_everything_nothing_is_lost_or_wrong_and_nothing_grows(tmp_path: Path) -> None:
    plan = Plan(100_000, seed=7, minutes=LANE.chaos_minutes, everything=True)
    assert {fault.kind for fault in plan.schedule} >= {*LONG_DECK, "join", "leave", "broker killed"}
    progress: list[str] = []
    report = asyncio.run(run(plan, tmp_path, progress.append))
    text = "\n".join([*progress, *(text for text, _ in lines(report))])
    assert report.clean, text
    assert report.unexpected_exits == [], text
    assert report.counts["incidents"] > 100 * LANE.chaos_minutes
    assert report.counts["dead letters"] > 100 * LANE.chaos_minutes
