"""Fits a `Calibration` of the score to labelled incidents.

The shape of the delay is fitted first, by maximum likelihood on the reads of true incidents. The
weights of all terms follow, by logistic regression on true and false incidents together, so that
correlated terms do not count twice. The sign of each weight is fixed in advance. The regression is
repeated a few times, because the choice of the best read depends on the weights.
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
_STEP_FACTORS: Final = (1.5, 1.15, 1.04)
_DIGITS: Final = 4
_MAX_LIST_DAYS: Final = 10.0
"""Beyond this age of the list the penalty no longer grows."""
_LEAST_SHARE: Final = 0.05
_DELAY_LEAST: Final = -6.0

# Least penalties, whatever the regression gives. Simulated cameras and lists err in few ways, while
# real drivers have been stopped at gunpoint over a misread plate.
_LEAST_LOOKALIKE: Final = 0.7
_LEAST_REGION: Final = 0.2
_LEAST_CONFIDENCE: Final = 0.5
_LEAST_MAKE: Final = 0.5
_LEAST_COLOUR: Final = 0.2
_LEAST_LIST_AGE: Final = 0.02

DelayRead = tuple[float, float]
"""Absolute time in seconds and distance in metres between the shot and the read."""


def fit(examples: Sequence[Example], rules: JoinRules) -> Calibration:
    """Return the calibration that fits the labels best; the strength thresholds do not change."""
    calibration = _with_delay_shape(structs.replace(DEFAULT, delay_least=_DELAY_LEAST), examples)
    labels = [example.linked for example in examples]
    for _ in range(_ROUNDS):
        rows = [_row(example.incident, rules, calibration) for example in examples]
        calibration = _with_weights(calibration, regress(rows, labels))
    return calibration


# --- shape of the delay ---


def _with_delay_shape(start: Calibration, examples: Sequence[Example]) -> Calibration:
    """Return the calibration with pauses, speed and spreads fitted to true incidents' reads."""
    true = [example.incident for example in examples if example.linked]
    after = [read for incident in true for read in _nearest(incident, 1)]
    before = [read for incident in true for read in _nearest(incident, -1)]
    speed_mps, pause_s, early_s, late_s, per_m = _maximise(
        lambda p: _log_likelihood(after, p), [start.typical_speed_mps, start.typical_pause_s, 60.0, 120.0, 0.01]
    )
    pause_before_s, early_before_s, late_before_s = _maximise(
        lambda p: _log_likelihood(before, [speed_mps, *p, per_m]), [120.0, 60.0, 120.0]
    )
    # Calibration requires that a greater distance alone never raises a score.
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
    """Yield the nearest read after the shot (``side`` 1) or before it (-1), if there is one."""
    on_side = [s for s in incident.sightings if (s.seconds_from_shot >= 0) == (side > 0)]
    if on_side:
        nearest = min(on_side, key=lambda s: s.distance_m)
        yield abs(nearest.seconds_from_shot), float(nearest.distance_m)


def _log_likelihood(reads: Sequence[DelayRead], p: Sequence[float]) -> float:
    """Return the log-likelihood of the delays, given the distances."""
    speed_mps, pause_s, early_s, late_s, per_m = p
    total = 0.0
    for delay_s, distance_m in reads:
        early_here_s = early_s + per_m * distance_m
        late_by_s = delay_s - pause_s - distance_m / speed_mps
        total -= math.log(early_here_s + late_s) + (late_by_s / late_s if late_by_s > 0 else -late_by_s / early_here_s)
    return total


def _maximise(likelihood: Callable[[list[float]], float], start: list[float]) -> list[float]:
    """Return the parameters found by coordinate ascent, in multiplicative steps that get finer."""
    best, parameters = likelihood(start), start
    for factor in _STEP_FACTORS:
        for _ in range(_SWEEPS):
            for n in range(len(parameters)):
                for by in (factor, 1 / factor):
                    candidate = [*parameters[:n], parameters[n] * by, *parameters[n + 1 :]]
                    if (value := likelihood(candidate)) > best:
                        best, parameters = value, candidate
    return parameters


# --- weights of the terms ---


def _row(incident: LinkedIncident, rules: JoinRules, calibration: Calibration) -> list[float]:
    """Return an incident's row of the regression: the value of each term before weighting."""
    result = score(incident.vehicle, True, incident.sightings, rules, calibration)
    reasons = {reason.code: reason for reason in result.reasons}
    km = reasons["distance"].value / 1000
    # Distance must cost at least what it gains in the delay's term, so that a farther read never
    # scores higher. That amount is taken out here and added back in _with_weights. So a constraint
    # on the sign of the distance coefficient is enough.
    delay = reasons["delay"].weight / calibration.delay_weight - km / _km_per_delay(calibration)
    return [
        1.0,
        delay,
        -km,
        1.0 if reasons["direction"].value else -1.0,
        _weight(reasons.get("corroboration")) / calibration.further_read_share,
        -_value(reasons.get("lookalike")),
        -float("region_unknown" in reasons),
        _log_confidence(reasons.get("low_confidence")),
        -min(_MAX_LIST_DAYS, _value(reasons.get("list_age")) / 24),
        -float("make_differs" in reasons),
        -float("colour_differs" in reasons),
    ]


def _with_weights(calibration: Calibration, weights: Sequence[float]) -> Calibration:
    """Return the calibration with the regression's coefficients in place."""
    prior, delay, per_km, direction, share, lookalike, region, confidence, list_age, make, colour = weights
    per_km = max(1e-3, per_km + delay / _km_per_delay(calibration))
    delay = max(1e-3, delay)
    return structs.replace(
        calibration,
        # The score's distance term is 1 at distance 0, so 1 moves out of the intercept.
        prior_log_odds=_short(prior - 1.0),
        delay_weight=_short(delay),
        # Rounded down: a larger scale could let a farther read score higher.
        distance_scale_m=float(math.floor(1000 / per_km)),
        direction_fits=_short(direction),
        direction_against=_short(-direction),
        further_read_share=max(_LEAST_SHARE, _short(share)),
        lookalike=-_short(max(_LEAST_LOOKALIKE, lookalike)),
        region_unknown=-_short(max(_LEAST_REGION, region)),
        confidence_weight=_short(max(_LEAST_CONFIDENCE, confidence)),
        list_age_per_day=-_short(max(_LEAST_LIST_AGE, list_age)),
        list_age_least=-_short(max(_LEAST_LIST_AGE, list_age) * _MAX_LIST_DAYS),
        make_differs=-_short(max(_LEAST_MAKE, make)),
        colour_differs=-_short(max(_LEAST_COLOUR, colour)),
    )


def _km_per_delay(calibration: Calibration) -> float:
    """Return the km that a car covers at typical speed in the shorter of the late spreads."""
    return calibration.typical_speed_mps * min(calibration.late_spread_s, calibration.late_spread_before_s) / 1000


def _weight(reason: Reason | None) -> float:
    return reason.weight if reason else 0.0


def _value(reason: Reason | None) -> float:
    return reason.value if reason else 0.0


def _log_confidence(reason: Reason | None) -> float:
    """Return the logarithm of the confidence relative to 0.8, the level that has no penalty."""
    return math.log(reason.value / 0.8) if reason else 0.0


def _short(number: float) -> float:
    """Return the number in few digits, so that the file is readable and the same on any machine."""
    return round(number, _DIGITS)
