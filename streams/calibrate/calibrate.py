"""``rampwatch calibrate``: fits the score to simulated weeks and makes the calibration file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import structs

from streams.calibrate.examples import Example, LabelledWeek, label_week, simulate_week
from streams.calibrate.fit import fit
from streams.calibrate.measure import Ranked, quality
from streams.console.screen import Report
from streams.core.rules import JoinRules
from streams.core.scoring import DEFAULT, Calibration, score
from streams.core.site import Site
from streams.resources.calibration import Fitted, digest

RULES: Final = JoinRules()
FIRST_SEED: Final = 1
CHECK_SEEDS: Final = 4
"""Number of the first seeds whose fit gives the check value in the file."""
FIRST_HELD_OUT: Final = 1_001
"""Seeds from here on are never used for fitting."""
HIGH_PRECISION: Final = 0.9
"""Least precision of the incidents called high, on the weeks used for fitting."""
MEDIUM_PRECISION: Final = 0.75
"""The same for incidents called medium or high."""

_ABOUT: Final = (
    "Fitted to simulated weeks, not to real history. Written by rampwatch calibrate; README.md says how to read it."
)


def calibrate(site: Site, seeds: range, report: Report) -> Fitted:
    """Fit the score to one simulated week per seed.

    The same site, seeds and code give the same numbers.
    """
    weeks: list[LabelledWeek] = []
    for seed in seeds:
        report(f"week {len(weeks) + 1} of {len(seeds)}", len(weeks) / (len(seeds) + 1))
        weeks.append(label_week(site, simulate_week(site, seed), RULES, DEFAULT))
    report("fitting", len(seeds) / (len(seeds) + 1))
    fitted = fit_weeks(weeks)
    examples = [example for week in weeks for example in week.examples]
    true_links = sum(week.true_links for week in weeks)
    qualities = {
        name: quality([example.linked for example in examples if rescore(example, fitted) >= from_score], true_links)
        for name, from_score in (("high", fitted.high_from), ("medium", fitted.medium_from))
    }
    return Fitted(
        about=_ABOUT,
        site=site.name,
        seeds=(seeds.start, seeds.stop - 1),
        incidents=len(examples),
        linked=sum(example.linked for example in examples),
        precision={name: round(one.precision, 3) for name, one in qualities.items()},
        recall={name: round(one.recall, 3) for name, one in qualities.items()},
        check=digest(fit_weeks(weeks[:CHECK_SEEDS])),
        calibration=fitted,
    )


def fit_weeks(weeks: Sequence[LabelledWeek]) -> Calibration:
    """Return the calibration fitted to these weeks, including the thresholds of strength."""
    examples = [example for week in weeks for example in week.examples]
    fitted = fit(examples, RULES)
    ranking = [(rescore(example, fitted), example.linked) for example in examples]
    return structs.replace(
        fitted, high_from=threshold(ranking, HIGH_PRECISION), medium_from=threshold(ranking, MEDIUM_PRECISION)
    )


def rescore(example: Example, calibration: Calibration) -> float:
    """Return the score of an incident under another calibration than it was joined with."""
    incident = example.incident
    return score(incident.vehicle, True, incident.sightings, RULES, calibration).score


def threshold(ranking: Sequence[Ranked], precision: float) -> float:
    """Return the lowest score, in hundredths, at or above which the precision is reached.

    Returns 1 if there is no such score.
    """
    for hundredths in range(100):
        from_score = hundredths / 100
        labels = [linked for ranked_score, linked in ranking if ranked_score >= from_score]
        if labels and sum(labels) >= precision * len(labels):
            return from_score
    return 1.0


def as_json(fitted: Fitted) -> bytes:
    """Return the bytes of a calibration file."""
    return msgspec.json.format(msgspec.json.encode(fitted), indent=2) + b"\n"
