"""What the log says about takeovers of partitions: why, how far, how fast, and how they ended."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from streams.worker import metrics
from streams.worker.health import ProgressMonitor

LOG_EVERY_S: Final = 5.0
"""How often the progress is logged."""

log = logging.getLogger("rampwatch.rebuild")


def names(numbers: Iterable[int]) -> str:
    """Return partitions as the log names them, in order: ``partitions 0, 2, 5``."""
    ordered = sorted(numbers)
    return f"partition{'s' * (len(ordered) != 1)} {', '.join(map(str, ordered))}"


class Reasons:
    """Why partitions are taken over: what happened to this worker since the last takeover."""

    def __init__(self) -> None:
        self._is_first = True
        self._fenced: set[int] = set()
        self._failures = 0
        self._error = ""

    def note_fenced(self, numbers: Collection[int]) -> None:
        """Note that partitions were dropped because their writers are fenced."""
        self._fenced |= set(numbers)

    def note_failure(self, error: Exception) -> None:
        """Note that a takeover failed and is retried."""
        self._failures += 1
        self._error = str(error)
        log.warning("takeover failed (%s); retrying", error)

    def note_end(self) -> None:
        """Note that a takeover ended without an error: it is done, or a rebalance stopped it."""
        self._failures = 0

    def log_begin(self, numbers: Collection[int], percent_fed: Mapping[int, int]) -> None:
        """Log why a takeover of these partitions begins.

        ``percent_fed``: of those that go on, how far they were fed.
        """
        by_reason: dict[str, list[int]] = defaultdict(list)
        for number in numbers:
            by_reason[self._reason(number)].append(number)
        for reason, of_reason in by_reason.items():
            resumed = [f"{number} at {percent_fed[number]} %" for number in sorted(of_reason) if number in percent_fed]
            log.info(
                "taking over %s: %s%s",
                names(of_reason),
                reason,
                f"; going on with {', '.join(resumed)}" * bool(resumed),
            )
        self._fenced -= set(numbers)
        self._is_first = False

    def _reason(self, number: int) -> str:
        if self._failures:
            return f"retry {self._failures} after {self._error}"
        if number in self._fenced:
            return "its writer was fenced"
        return "first start" if self._is_first else "assigned in a rebalance"


class TakeoverProgress:
    """The progress of one takeover; it also marks the worker's progress."""

    def __init__(self, numbers: Iterable[int], monitor: ProgressMonitor, log_every_s: float = LOG_EVERY_S) -> None:
        self._numbers = set(numbers)
        self._monitor = monitor
        self._log_every_s = log_every_s
        self._total = self._left = self._left_at_first = self._records = 0
        self._began_s = self._feeding_since_s = self._logged_s = asyncio.get_running_loop().time()

    def begin_feeding(self, total: int, left: int) -> None:
        """Note how many offsets there are to feed in all, and how many are left to do now."""
        self._total, self._left, self._left_at_first = total, left, left
        self._feeding_since_s = asyncio.get_running_loop().time()

    def count(self, topic: str, records: int, left: int) -> None:
        """Count records of a topic that were fed; ``left``: how many offsets are left now."""
        self._records += records
        self._left = left
        self.mark()
        metrics.REBUILT.labels(topic).inc(records)
        now_s = asyncio.get_running_loop().time()
        if now_s - self._logged_s >= self._log_every_s:
            self._logged_s = now_s
            log.info("rebuilding %s: %s", names(self._numbers), self._how_far(now_s))

    def mark(self) -> None:
        """Note that the worker made progress."""
        self._monitor.mark()

    def _how_far(self, now_s: float) -> str:
        rate = (self._left_at_first - self._left) / max(now_s - self._feeding_since_s, 0.001)
        ahead = f", {self._left / rate:.0f} s left" if rate else ""
        return f"{percent(self._total, self._left)} % of {self._total} records, {rate:.0f} records/s{ahead}"

    def log_done(self) -> None:
        """Log that all partitions are rebuilt."""
        took_s = asyncio.get_running_loop().time() - self._began_s
        log.info("%s rebuilt: %d records read in %.1f s", names(self._numbers), self._records, took_s)

    def log_cancelled(self) -> None:
        """Log that a rebalance or the end of the worker stopped the takeover."""
        log.info(
            "takeover of %s stopped at %d %% by a rebalance or the end of this worker; it goes on from there with the "
            "partitions that stay here",
            names(self._numbers),
            percent(self._total, self._left),
        )


def percent(total: int, left: int) -> int:
    """Return how much of ``total`` is done, in percent, rounded down; nothing to do is all done."""
    return 100 * (total - left) // total if total else 100
