"""Mutated records of all topics among honest pairs, through a worker.

``.venv/bin/python -m tests.fuzz.through_worker --help`` lists the options for more records.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.drivers.brokers import Broker
from tests.fuzz.worker_run import fuzz_worker
from tests.lanes import LANE


@pytest.mark.slow
@pytest.mark.timeout(300 + LANE.hostile_records // 50)
def test_every_hostile_record_has_one_outcome_and_honest_pairs_are_joined(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    report = fuzz_worker(broker.address, prefix, tmp_path, LANE.hostile_records, seed=1)
    assert report.faults == []
    assert report.records == LANE.hostile_records
    assert report.honest == LANE.hostile_records // 100
    assert report.dead_letters > report.records / 4
    assert report.outcomes["used"] > report.honest
