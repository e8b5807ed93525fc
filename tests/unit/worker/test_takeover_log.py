"""What the log says about takeovers."""

from __future__ import annotations

import asyncio
import logging

import pytest

from streams.worker.health import ProgressMonitor
from streams.worker.takeover_log import Reasons, TakeoverProgress, names, percent


@pytest.fixture(autouse=True)
def _info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rampwatch.rebuild")


def test_partitions_are_named_in_order():
    assert (names([3]), names({10, 2, 0})) == ("partition 3", "partitions 0, 2, 10")


@pytest.mark.parametrize(("total", "left", "done"), [(0, 0, 100), (3, 3, 0), (3, 1, 66), (3, 0, 100)])
def test_percent_is_rounded_down(total, left, done):
    assert percent(total, left) == done


def test_every_takeover_names_its_reason(caplog: pytest.LogCaptureFixture):
    reasons = Reasons()
    reasons.log_begin({0, 1}, {})
    reasons.note_end()
    reasons.note_fenced({1})
    reasons.log_begin({1, 2, 3}, {2: 40})
    reasons.note_failure(TimeoutError("no answer"))
    reasons.log_begin({1}, {1: 5})
    reasons.note_end()
    reasons.log_begin({1}, {})
    assert [record.getMessage() for record in caplog.records] == [
        "taking over partitions 0, 1: first start",
        "taking over partition 1: its writer was fenced",
        "taking over partitions 2, 3: assigned in a rebalance; going on with 2 at 40 %",
        "takeover failed (no answer); retrying",
        "taking over partition 1: retry 1 after no answer; going on with 1 at 5 %",
        "taking over partition 1: assigned in a rebalance",
    ]


async def test_progress_is_logged_with_percent_rate_and_time_left(caplog: pytest.LogCaptureFixture):
    progress = TakeoverProgress([4, 5], ProgressMonitor(60_000), log_every_s=0)
    progress.begin_feeding(total=1_000, left=800)
    await asyncio.sleep(0.01)
    progress.count("ramp-plate-reads", 300, left=500)
    progress.log_cancelled()
    begun, stopped = (record.getMessage() for record in caplog.records)
    assert begun.startswith("rebuilding partitions 4, 5: 50 % of 1000 records, ")
    assert begun.endswith(" s left")
    assert stopped.startswith("takeover of partitions 4, 5 stopped at 50 % by a rebalance")
