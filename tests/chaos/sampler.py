"""How much memory, how many file descriptors and threads the workers have over time.

Workers are compared with themselves at equal moments: in idle gaps, once the last records are
handled. Nothing may grow there. Growth is the rise of the least-squares line through the samples of
the second half of a worker's life.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from statistics import linear_regression, mean
from typing import Any, Protocol

import psutil  # type: ignore[import-untyped]

from tests.chaos.schedule import Gap

EVERY_S = 5.0
SETTLED_S = 15.0
"""After a gap begins, so that what came before it is handled."""
FIRST_S = 600.0
"""A worker's first ten minutes are not judged: what it keeps is still filling up."""
SAMPLES_MIN = 10
GROWTH_SHARE_MAX = 0.1
GROWTH_MAX = {"rss_mb": 10.0, "fds": 4.0, "threads": 2.0}
"""Growth up to a tenth of the mean or this, whichever is more, is no growth."""


@dataclass(frozen=True)
class Sample:
    """A worker at a moment, in seconds after the load began."""

    at_s: float
    rss_mb: float
    fds: int
    threads: int


@dataclass
class Usage:
    """What a worker used over time, and where that is judged."""

    name: str
    samples: list[Sample] = field(default_factory=list)
    gaps: Sequence[Gap] = ()

    @property
    def judged(self) -> list[Sample]:
        """The samples in idle gaps of the second half of its life."""
        if not self.samples:
            return []
        first_s, last_s = self.samples[0].at_s, self.samples[-1].at_s
        since_s = max((first_s + last_s) / 2, first_s + FIRST_S)
        return [s for s in self.samples if s.at_s >= since_s and is_quiet(s.at_s, self.gaps)]

    def growth(self, name: str) -> float | None:
        """How much a quantity grew over the judged samples; None if they are too few."""
        judged = self.judged
        if len(judged) < SAMPLES_MIN:
            return None
        times = [sample.at_s for sample in judged]
        line = linear_regression(times, [float(getattr(sample, name)) for sample in judged])
        return line.slope * (times[-1] - times[0])

    def grown(self) -> Iterator[str]:
        """A sentence for each quantity that grew."""
        for name, allowed in GROWTH_MAX.items():
            growth = self.growth(name)
            usual = mean(getattr(sample, name) for sample in self.judged) if growth is not None else 0.0
            if growth is not None and growth > max(allowed, GROWTH_SHARE_MAX * usual):
                yield f"{self.name}: {name} grew by {growth:.1f} to {usual + growth / 2:.1f} in the second half."


def is_quiet(at_s: float, gaps: Sequence[Gap]) -> bool:
    """Whether a moment is in a gap and what came before it is handled."""
    return any(from_s + SETTLED_S <= at_s < to_s for from_s, to_s in gaps)


class Sampled(Protocol):
    """A worker process."""

    name: str

    @property
    def pid(self) -> int:
        """Its process id."""


class Workers(Protocol):
    """Which workers there are."""

    def awake(self) -> Sequence[Sampled]:
        """The workers that are up and not paused."""


class Sampler:
    """Takes samples of all workers until it is cancelled."""

    def __init__(self, workers: Workers, gaps: Sequence[Gap]) -> None:
        self.usages: dict[str, Usage] = {}
        self._workers = workers
        self._gaps = gaps

    async def run(self, begin_s: float) -> None:
        """Sample every few seconds; ``begin_s``: when the load began, by the loop's clock."""
        loop = asyncio.get_running_loop()
        while True:
            for worker in self._workers.awake():
                usage = self.usages.setdefault(worker.name, Usage(worker.name, gaps=self._gaps))
                try:
                    usage.samples.append(sample_of(worker.pid, loop.time() - begin_s))
                except psutil.Error:
                    continue  # it has just ended
            await asyncio.sleep(EVERY_S)


def sample_of(pid: int, at_s: float) -> Sample:
    """A sample of a process; raises psutil.Error if there is none."""
    process = psutil.Process(pid)
    with process.oneshot():
        rss_mb = round(process.memory_info().rss / 1e6, 1)
        return Sample(round(at_s, 1), rss_mb, process.num_fds(), process.num_threads())


# ---------------------------------------------------------------------- the table

ROWS = 12


def table(usages: Sequence[Usage]) -> Iterator[str]:
    """The samples of the longest-lived worker and the extremes of the others, as lines."""
    usages = sorted((usage for usage in usages if usage.samples), key=lambda usage: -len(usage.samples))
    if not usages:
        return
    longest = usages[0]
    yield f"{longest.name}, in idle gaps if there are any:"
    yield f"{'minute':>10}  {'RSS MB':>7}  {'fds':>4}  {'threads':>7}"
    rows = [sample for sample in longest.samples if is_quiet(sample.at_s, longest.gaps)] or longest.samples
    for sample in rows[:: -(-len(rows) // ROWS)]:
        yield f"{sample.at_s / 60:10.1f}  {sample.rss_mb:7.0f}  {sample.fds:4}  {sample.threads:7}"
    growths = {name: longest.growth(name) for name in GROWTH_MAX}
    shown = ", ".join(f"{name} {growth:+.1f}" for name, growth in growths.items() if growth is not None)
    yield f"growth in the second half: {shown or 'too few samples in idle gaps to judge'}"
    yield f"greatest of {len(usages)} workers: " + ", ".join(
        f"{name} {max(getattr(sample, name) for usage in usages for sample in usage.samples):.0f}"
        for name in GROWTH_MAX
    )


def as_objects(usages: Sequence[Usage]) -> list[dict[str, Any]]:
    """The samples and the growth for programs."""
    return [
        {
            "name": usage.name,
            "growth": {name: usage.growth(name) for name in GROWTH_MAX},
            "samples": [asdict(sample) for sample in usage.samples],
        }
        for usage in usages
    ]
