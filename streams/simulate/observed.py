"""What was seen in real records, reduced to quantiles: how long thefts go unnoticed, and how gunshots follow another.

Regenerate with ``python -m deploy.make_observed DATA_FOLDER``.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

THEFT_WINDOW_MIN: Final = (
    0, 2, 5, 5, 7, 10, 12, 15, 24, 30, 50, 75, 120, 180, 240, 330, 390, 455, 510, 540, 600, 630, 670, 720, 750, 810,
    870, 930, 1020, 1185, 1380, 1590, 2190, 2730, 3600, 4800, 7460, 14280, 33041,
)  # fmt: skip
"""Minutes between when an owner last saw a car and when it was found gone, at 0 %, 2.5 %, … 95 %.

Of 32 894 thefts of cars in New York, 2014 to 2017, that have both times. The longest twentieth, up to years, is taken
as the last value. Source: the open crime data that the package crimedata (Matthew Ashby) collects, MIT licence.
"""

FOLLOWING_SHARE: Final = 0.2
"""Share of the alerts that follow the one before within ten minutes and a kilometre: one shooting, heard as several.

Here and below: 9 649 activations in Kansas City, 2016 to 2021; see ``deploy/samples/README.md`` for source and licence.
"""
FOLLOWING_S: Final = (0, 1, 2, 4, 5, 7, 8, 9, 11, 13, 15, 19, 24, 31, 41, 55, 84, 124, 194, 309, 597)
"""Seconds by which they follow, at 0 %, 5 %, … 100 %."""
FOLLOWING_M: Final = (0, 0, 0, 0, 0, 0, 0, 86, 86, 86, 111, 111, 141, 205, 239, 341, 445, 556, 683, 845, 989)
"""Metres between the two places, at 0 %, 5 %, … 100 %; places are rounded to a thousandth of a degree there."""


def drawn(quantiles: Sequence[float], rng: random.Random, step: float = 0.0) -> float:
    """Return a number drawn as the quantiles have it, evenly between two of them.

    ``step``: the share from one quantile to the next, where the last is not the greatest; beyond it, the last counts.
    """
    place = rng.random() / (step or 1 / (len(quantiles) - 1))
    below = int(place)
    if below >= len(quantiles) - 1:
        return quantiles[-1]
    return quantiles[below] + (place - below) * (quantiles[below + 1] - quantiles[below])
