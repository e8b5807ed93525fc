"""A short chaos run: a worker killed, one ended, one added, one paused, the broker killed; the long one is by hand.

``PYTHONPATH=tests .venv/bin/python -m chaos --help`` tells how.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.chaos.run import run
from tests.chaos.telling import Plan, lines

FAULTS = 5


@pytest.mark.slow
@pytest.mark.usefixtures("kafka_here")
def test_over_five_faults_nothing_is_lost_or_wrong_or_goes_backwards(tmp_path: Path) -> None:
    plan = Plan(FAULTS, seed=1, minute_ms=500)
    assert {fault.kind for fault in plan.schedule} == {"kill", "term", "join", "pause", "broker killed"}
    said = [str(fault) for fault in plan.schedule]
    report = asyncio.run(run(plan, tmp_path, said.append))
    assert report.clean, "\n".join([*said, *(text for text, _ in lines(report))])
    assert len(report.done) == FAULTS
    assert report.counts["incidents"] > 50
    assert report.counts["dead letters"] > 50
