"""Quantiles of real records: how long thefts go unnoticed, and how far apart alerts are.

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
"""Minutes from when an owner last saw a car to when it was found missing, at 0 %, 2.5 %, … 95 %.

From the 32 894 car thefts in New York, 2014 to 2017, that have both times. The top twentieth, which
reaches years, is cut off at the last value. Source: the open crime data collected by the R package
crimedata (Matthew Ashby), MIT licence.
"""

FOLLOWING_SHARE: Final = 0.2
"""Share of alerts within ten minutes and one kilometre of the previous one.

They are taken to be the same shooting. This and the following numbers are from 9 649 activations in
Kansas City, 2016 to 2021; ``deploy/samples/README.md`` gives source and licence.
"""
FOLLOWING_S: Final = (0, 1, 2, 4, 5, 7, 8, 9, 11, 13, 15, 19, 24, 31, 41, 55, 84, 124, 194, 309, 597)
"""Seconds between the two alerts, at 0 %, 5 %, … 100 %."""
FOLLOWING_M: Final = (0, 0, 0, 0, 0, 0, 0, 86, 86, 86, 111, 111, 141, 205, 239, 341, 445, 556, 683, 845, 989)
"""Metres between the two alerts, at 0 %, 5 %, … 100 %; the source rounds coordinates to 0.001°."""


def sample_quantiles(quantiles: Sequence[float], rng: random.Random, step: float = 0.0) -> float:
    """Return a random number with these quantiles, interpolated linearly between neighbouring ones.

    ``step`` is the probability between neighbouring quantiles. Give it if the last quantile is not
    the maximum: draws beyond the last quantile then return the last quantile. By default the
    quantiles span 0 % to 100 % evenly.
    """
    position = rng.random() / (step or 1 / (len(quantiles) - 1))
    below = int(position)
    if below >= len(quantiles) - 1:
        return quantiles[-1]
    return quantiles[below] + (position - below) * (quantiles[below + 1] - quantiles[below])
