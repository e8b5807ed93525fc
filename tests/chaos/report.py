"""What a run consists of, its result, and the result as lines of text and as one JSON object."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.judge import Judgement
from tests.chaos.schedule import Fault, schedule

SENTENCES_SHOWN = 10


@dataclass(frozen=True)
class Plan:
    """What a run consists of; ``minute_ms`` is how long a minute of the small worlds takes."""

    faults: int
    seed: int
    workers: int = 3
    partitions: int = 4
    rate_per_s: float = 40.0
    minute_ms: int = 1_000

    @property
    def schedule(self) -> list[Fault]:
        """The faults in the order of their times."""
        return schedule(self.seed, self.faults)


@dataclass
class Report:
    """The result of a run. ``unsettled``: why it did not come to rest, else empty."""

    plan: Plan
    done: list[str]
    judgement: Judgement
    unsettled: str = ""
    broker_lost: int = 0
    unexpected_exits: list[str] = field(default_factory=list)
    slow_exits: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    took_s: float = 0.0

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong and nothing is lost."""
        return self.judgement.clean and not self.unsettled and not self.broker_lost


def as_object(report: Report) -> dict[str, Any]:
    """The report for programs."""
    judgement = report.judgement
    return {
        "clean": report.clean,
        "faults": report.plan.faults,
        "seed": report.plan.seed,
        "took_s": report.took_s,
        **{name: len(sentences) for name, sentences in judgement.faults.items()},
        "broker_lost": report.broker_lost,
        "unsettled": report.unsettled,
        "counts": report.counts,
        "schedule": [str(fault) for fault in report.plan.schedule],
        "done": report.done,
        "unexpected_exits": report.unexpected_exits,
        "slow_exits": report.slow_exits,
        "sentences": judgement.faults,
    }


def lines(report: Report) -> Iterator[tuple[str, str | None]]:
    """The report for people: lines and their colours."""
    for name, sentences in report.judgement.faults.items():
        yield f"{len(sentences):>10,}  {name.replace('_', ' ')}", "red" if sentences else "green"
        for sentence in sentences[:SENTENCES_SHOWN]:
            yield f"            {sentence}", None
        if len(sentences) > SENTENCES_SHOWN:
            yield f"            and {len(sentences) - SENTENCES_SHOWN:,} more", None
    for name, number in sorted(report.counts.items()):
        yield f"{number:>10,}  {name}", None
    for sentence in (*report.unexpected_exits, *report.slow_exits):
        yield f"      note  {sentence}", None
    if report.broker_lost:
        yield f"the broker lost {report.broker_lost} records that it had acknowledged", "red"
    if report.unsettled:
        yield f"it did not come to rest: {report.unsettled}", "red"
    verdict, colour = ("nothing lost, nothing wrong", "bold green") if report.clean else ("NOT CLEAN", "bold red")
    yield f"{verdict} after {len(report.done)} faults, {report.took_s:.0f} s (seed {report.plan.seed})", colour
