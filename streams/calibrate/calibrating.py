"""``rampwatch calibrate``: from a site and seeds to the calibration file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from msgspec import structs

from streams.calibrate.fit import fit
from streams.calibrate.measure import Ranked, quality
from streams.calibrate.worlds import Example, examine, world
from streams.calibration import Fitted
from streams.core.rules import JoinRules
from streams.core.scoring import DEFAULT, Calibration, score
from streams.core.site import Site

Progress = Callable[[str], None]

SEEDS: Final = 100
FIRST_SEED: Final = 1
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
    rules = JoinRules()
    examples: list[Example] = []
    to_find = 0
    for seed in seeds:
        progress(f"week {seed - seeds.start + 1} of {len(seeds)}")
        examined = examine(site, world(site, seed), rules, DEFAULT)
        examples += examined.examples
        to_find += examined.to_find
    progress(f"fitting to {len(examples)} incidents")
    fitted = fit(examples, rules)
    ranking = [(scored(example, rules, fitted), example.linked) for example in examples]
    fitted = structs.replace(
        fitted,
        high_from=threshold(ranking, HIGH_PRECISION),
        medium_from=threshold(ranking, MEDIUM_PRECISION),
    )
    of = {
        name: quality([linked for told, linked in ranking if told >= from_score], to_find)
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
        calibration=fitted,
    )


def scored(example: Example, rules: JoinRules, calibration: Calibration) -> float:
    """Return an incident's score under another calibration than it was said with."""
    incident = example.incident
    return score(incident.vehicle, True, incident.sightings, rules, calibration).score


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
