"""Fitting the score: from incidents with known truth to a `Calibration`.

First the shape of the delay, by maximum likelihood on the reads of true incidents; then what every term weighs, by a
logistic regression on true and false ones together, so that terms that say the same thing do not count twice. Terms
keep the sign that common sense gives them. Which read speaks best depends on the weights, so that is done a few times.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from msgspec import structs

from streams.calibrate.examples import Example
from streams.calibrate.logistic import regress
from streams.core.events import LinkedIncident, Reason
from streams.core.rules import JoinRules
from streams.core.scoring import DEFAULT, Calibration, score

_ROUNDS: Final = 4
_SWEEPS: Final = 6
_STEPS: Final = (1.5, 1.15, 1.04)
_DIGITS: Final = 4
_LIST_DAYS: Final = 10.0
"""An older list than this counts no more."""
_LEAST_SHARE: Final = 0.05
_DELAY_LEAST: Final = -6.0

# What the simulated city cannot tell, since its cameras and lists err in few ways: people have been stopped at gunpoint
# over a misread plate, so these doubts count at least so much, whatever the regression says.
_LEAST_LOOKALIKE: Final = 0.7
_LEAST_REGION: Final = 0.2
_LEAST_CONFIDENCE: Final = 0.5
_LEAST_MAKE: Final = 0.5
_LEAST_COLOUR: Final = 0.2
_LEAST_LIST_AGE: Final = 0.02

DelayRead = tuple[float, float]
"""Seconds between the shot and the read, whichever came first, and metres between them."""


def fit(examples: Sequence[Example], rules: JoinRules) -> Calibration:
    """Return the calibration under which the examples' truth is likeliest; thresholds of strength are not touched."""
    now = _shaped(structs.replace(DEFAULT, delay_least=_DELAY_LEAST), examples, rules)
    for _ in range(_ROUNDS):
        rows = [_row(example.incident, rules, now) for example in examples]
        now = _weighed(now, regress(rows, [example.linked for example in examples]))
    return now


# --- the delay's shape ---


def _shaped(start: Calibration, examples: Sequence[Example], rules: JoinRules) -> Calibration:
    """Return the calibration with pauses, speed and spreads fitted to the reads of true incidents."""
    true = [example.incident for example in examples if example.linked]
    after = [read for incident in true for read in _nearest(incident, 1)]
    before = [read for incident in true for read in _nearest(incident, -1)]
    speed_mps, pause_s, early_s, late_s, per_m = _likeliest(
        lambda p: _likelihood(after, p), [start.typical_speed_mps, start.typical_pause_s, 60.0, 120.0, 0.01]
    )
    pause_before_s, early_before_s, late_before_s = _likeliest(
        lambda p: _likelihood(before, [speed_mps, *p, per_m]), [120.0, 60.0, 120.0]
    )
    # as Calibration demands: no farther read may score higher for its distance alone
    per_m = min(per_m, early_s / pause_s / speed_mps, early_before_s / pause_before_s / speed_mps)
    return structs.replace(
        start,
        typical_speed_mps=_short(speed_mps),
        typical_pause_s=_short(pause_s),
        typical_pause_before_s=_short(pause_before_s),
        early_spread_s=_short(early_s),
        early_spread_before_s=_short(early_before_s),
        early_spread_s_per_m=_short(0.99 * per_m),
        late_spread_s=_short(late_s),
        late_spread_before_s=_short(late_before_s),
        distance_scale_m=_short(speed_mps * min(late_s, late_before_s) * 0.9),
        delay_weight=0.5,
    )


def _nearest(incident: LinkedIncident, side: int) -> Iterator[DelayRead]:
    """The read nearest to the shot among those after it (``side`` 1) or before it (-1)."""
    own = [s for s in incident.sightings if (s.seconds_from_shot >= 0) == (side > 0)]
    if own:
        nearest = min(own, key=lambda s: s.distance_m)
        yield abs(nearest.seconds_from_shot), float(nearest.distance_m)


def _likelihood(reads: Sequence[DelayRead], p: Sequence[float]) -> float:
    """The logarithm of how likely the delays are, given the distances."""
    speed_mps, pause_s, early_s, late_s, per_m = p
    total = 0.0
    for delay_s, distance_m in reads:
        early_here_s = early_s + per_m * distance_m
        late_by_s = delay_s - pause_s - distance_m / speed_mps
        total -= math.log(early_here_s + late_s) + (late_by_s / late_s if late_by_s > 0 else -late_by_s / early_here_s)
    return total


def _likeliest(likelihood: Callable[[list[float]], float], start: list[float]) -> list[float]:
    """Climb, one number at a time, in factors that get finer."""
    best, now = likelihood(start), start
    for factor in _STEPS:
        for _ in range(_SWEEPS):
            for n in range(len(now)):
                for by in (factor, 1 / factor):
                    tried = [*now[:n], now[n] * by, *now[n + 1 :]]
                    if (told := likelihood(tried)) > best:
                        best, now = told, tried
    return now


# --- what each term weighs ---


def _row(incident: LinkedIncident, rules: JoinRules, now: Calibration) -> list[float]:
    """What an incident says in each term, before it is weighed: a row of the regression."""
    told = {reason.code: reason for reason in score(incident.vehicle, True, incident.sightings, rules, now).reasons}
    km = told["distance"].value / 1000
    # what the delay says, less the least that distance must take away with it
    delay = told["delay"].weight / now.delay_weight - km / _km_per_delay(now)
    return [
        1.0,
        delay,
        -km,
        1.0 if told["direction"].value else -1.0,
        _weight(told.get("corroboration")) / now.further_read_share,
        -_value(told.get("lookalike")),
        -float("region_unknown" in told),
        _confidence(told.get("low_confidence")),
        -min(_LIST_DAYS, _value(told.get("list_age")) / 24),
        -float("make_differs" in told),
        -float("colour_differs" in told),
    ]


def _weighed(now: Calibration, weights: Sequence[float]) -> Calibration:
    """Return the calibration with the regression's coefficients in place."""
    prior, delay, per_km, direction, share, lookalike, region, confidence, list_age, make, colour = weights
    per_km = max(1e-3, per_km + delay / _km_per_delay(now))
    delay = max(1e-3, delay)
    return structs.replace(
        now,
        # the score counts distance as 1 at no distance
        prior_log_odds=_short(prior - 1.0),
        delay_weight=_short(delay),
        # rounded down: a larger scale could let a farther read score higher
        distance_scale_m=float(math.floor(1000 / per_km)),
        direction_fits=_short(direction),
        direction_against=_short(-direction),
        further_read_share=max(_LEAST_SHARE, _short(share)),
        lookalike=-_short(max(_LEAST_LOOKALIKE, lookalike)),
        region_unknown=-_short(max(_LEAST_REGION, region)),
        confidence_weight=_short(max(_LEAST_CONFIDENCE, confidence)),
        list_age_per_day=-_short(max(_LEAST_LIST_AGE, list_age)),
        list_age_least=-_short(max(_LEAST_LIST_AGE, list_age) * _LIST_DAYS),
        make_differs=-_short(max(_LEAST_MAKE, make)),
        colour_differs=-_short(max(_LEAST_COLOUR, colour)),
    )


def _km_per_delay(now: Calibration) -> float:
    return now.typical_speed_mps * min(now.late_spread_s, now.late_spread_before_s) / 1000


def _weight(reason: Reason | None) -> float:
    return reason.weight if reason else 0.0


def _value(reason: Reason | None) -> float:
    return reason.value if reason else 0.0


def _confidence(reason: Reason | None) -> float:
    """How far below what does not count, as a logarithm."""
    return math.log(reason.value / 0.8) if reason else 0.0


def _short(number: float) -> float:
    """The number in few digits: a file that people read, and the same on any machine."""
    return round(number, _DIGITS)
