"""``rampwatch calibrate``: from a site and seeds to the calibration file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from msgspec import structs

from streams.calibrate.examples import Examined, Example, examine, world
from streams.calibrate.fit import fit
from streams.calibrate.measure import Ranked, quality
from streams.core.rules import JoinRules
from streams.core.scoring import DEFAULT, Calibration, score
from streams.core.site import Site
from streams.resources.calibration import Fitted

Progress = Callable[[str], None]

RULES: Final = JoinRules()
FIRST_SEED: Final = 1
CHECKED: Final = 4
"""So many of the first seeds make the check in the file."""
FIRST_HELD_BACK: Final = 1_001
"""Seeds from here on are never fitted to."""
HIGH_PRECISION: Final = 0.9
"""Of the incidents called high, the share that is true, at least, on the worlds fitted to."""
MEDIUM_PRECISION: Final = 0.75
"""The same of those called medium or high."""

_ABOUT: Final = (
    "Fitted to simulated weeks, not to real history. Written by rampwatch calibrate; README.md says how to read it."
)


def calibrate(site: Site, seeds: range, progress: Progress) -> Fitted:
    """Fit the score to one simulated week a seed; the same site, seeds and code give the same numbers."""
    weeks: list[Examined] = []
    for seed in seeds:
        progress(f"week {len(weeks) + 1} of {len(seeds)}")
        weeks.append(examine(site, world(site, seed), RULES, DEFAULT))
    progress("fitting")
    fitted = fitted_to(weeks)
    examples = [example for week in weeks for example in week.examples]
    of = {
        name: quality(
            [example.linked for example in examples if scored(example, fitted) >= from_score],
            sum(week.to_find for week in weeks),
        )
        for name, from_score in (("high", fitted.high_from), ("medium", fitted.medium_from))
    }
    return Fitted(
        about=_ABOUT,
        site=site.name,
        seeds=(seeds.start, seeds.stop - 1),
        incidents=len(examples),
        linked=sum(example.linked for example in examples),
        precision={name: round(told.precision, 3) for name, told in of.items()},
        recall={name: round(told.recall, 3) for name, told in of.items()},
        check=digest(fitted_to(weeks[:CHECKED])),
        calibration=fitted,
    )


def fitted_to(weeks: Sequence[Examined]) -> Calibration:
    """Return the calibration fitted to these weeks, with the thresholds of strength that they give."""
    examples = [example for week in weeks for example in week.examples]
    fitted = fit(examples, RULES)
    ranking = [(scored(example, fitted), example.linked) for example in examples]
    return structs.replace(
        fitted, high_from=threshold(ranking, HIGH_PRECISION), medium_from=threshold(ranking, MEDIUM_PRECISION)
    )


def digest(fitted: Calibration) -> str:
    """Return 16 hexadecimal digits that differ where the numbers do."""
    return hashlib.sha256(msgspec.json.encode(fitted, order="sorted")).hexdigest()[:16]


def scored(example: Example, calibration: Calibration) -> float:
    """Return an incident's score under another calibration than it was said with."""
    incident = example.incident
    return score(incident.vehicle, True, incident.sightings, RULES, calibration).score


def threshold(ranking: Sequence[Ranked], precision: float) -> float:
    """Return the lowest score, in hundredths, from which on at least that share is true; 1 where there is none."""
    for hundredths in range(100):
        from_score = hundredths / 100
        named = [linked for told, linked in ranking if told >= from_score]
        if named and sum(named) >= precision * len(named):
            return from_score
    return 1.0


def as_json(fitted: Fitted) -> bytes:
    """Return the bytes of a calibration file."""
    return msgspec.json.format(msgspec.json.encode(fitted), indent=2) + b"\n"
