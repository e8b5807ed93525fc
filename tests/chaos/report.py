"""What a run consists of, its result, and the result as lines of text and as one JSON object."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tests.chaos.judge import Judgement
from tests.chaos.sampler import Usage, as_objects, table
from tests.chaos.schedule import Fault, Gap, load_duration_s, schedule
from tests.chaos.trials import CYCLE_S, Trials

SENTENCES_SHOWN = 10
# So that workers recover from the last fault under load.
END_WITHOUT_FAULTS_S = 15.0


@dataclass(frozen=True)
class Plan:
    """What a run consists of; ``minute_ms`` is how long a minute of the small worlds takes.

    With ``minutes`` the load lasts so long, else until after the last of ``faults``. With
    ``everything`` it has hostile records, bulk imports, hot plates, overloads and idle gaps
    (`tests.chaos.trials`), and the broker is away for long.
    """

    faults: int
    seed: int
    workers: int = 3
    partitions: int = 4
    rate_per_s: float = 40.0
    minute_ms: int = 1_000
    minutes: float | None = None
    everything: bool = False

    @cached_property
    def schedule(self) -> list[Fault]:
        """The faults in the order of their times."""
        if self.minutes is None:
            return schedule(self.seed, self.faults, long=self.everything)
        until_s = 60 * self.minutes - END_WITHOUT_FAULTS_S
        return schedule(self.seed, self.faults, until_s, self.everything, self.gaps)

    @property
    def load_s(self) -> float:
        """How long the load lasts, in seconds."""
        return load_duration_s(self.schedule) if self.minutes is None else 60 * self.minutes

    @property
    def gaps(self) -> list[Gap]:
        """The idle gaps; a run measured in faults is too short for any."""
        return self.trials.gaps if self.everything and self.minutes is not None else []

    @property
    def trials(self) -> Trials:
        """What there is beside the steady load."""
        for_s = self.load_s
        # a short run has two of everything
        return Trials(self.seed, for_s, self.rate_per_s, self.minute_ms, min(CYCLE_S, for_s / 2))


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
    usages: list[Usage] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong, nothing is lost and nothing grows."""
        return self.judgement.clean and not self.unsettled and not self.broker_lost and not self.grown

    @property
    def grown(self) -> list[str]:
        """A sentence for everything that grew in a worker."""
        return [sentence for usage in self.usages for sentence in usage.grown()]


def as_object(report: Report) -> dict[str, Any]:
    """The report for programs."""
    judgement = report.judgement
    return {
        "clean": report.clean,
        "faults": len(report.plan.schedule),
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
        "grown": report.grown,
        "usage": as_objects(report.usages),
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
    for line in table(report.usages):
        yield line, None
    for sentence in report.grown:
        yield sentence, "red"
    for sentence in (*report.unexpected_exits, *report.slow_exits):
        yield f"      note  {sentence}", None
    if report.broker_lost:
        yield f"the broker lost {report.broker_lost} records that it had acknowledged", "red"
    if report.unsettled:
        yield f"it did not come to rest: {report.unsettled}", "red"
    verdict, colour = ("nothing lost, nothing wrong", "bold green") if report.clean else ("NOT CLEAN", "bold red")
    yield f"{verdict} after {len(report.done)} faults, {report.took_s:.0f} s (seed {report.plan.seed})", colour
