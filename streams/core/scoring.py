"""How strongly the reads of a stolen car link it to a shot: a likelihood ratio whose every term is told.

For each read the question is how much better "this car left that shot, or came to it" explains what was seen than "a
stolen car passed by chance" does. The natural logarithms of the ratios add up, in the order of the sightings; the prior
odds turn the sum into a probability. Only facts in the incident count, never the time of day or of now, so the same
facts score the same in a replay.

* ``delay``: linked, a car covers the distance at a typical speed after a typical pause, so its delay is spread around
  pause + distance / speed (an exponential on either side); by chance it is uniform over the window.
* ``distance``: linked cars are read near the shot more often than chance would have it (an exponential in distance).
* ``direction``: linked cars get on the highway after the shot, and leave it before.
* ``corroboration``: further reads count for half each, since one drive explains them all.
* a lookalike, an unknown state, a low confidence, an old list, a make or colour that differs: each takes away.

The numbers in `Calibration` are a first, careful choice, not yet fitted to simulated history.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal

from msgspec import Struct

from streams.core.events import Reason, Sighting, VehicleHit, WarningCode
from streams.core.plates import differences, normalise, region
from streams.core.rules import JoinRules

Strength = Literal["low", "medium", "high"]


class Calibration(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The score's constants; weights are natural logarithms."""

    prior_log_odds: float = -1.5
    """That a stolen car with one read in the window has to do with the shot."""
    typical_speed_mps: float = 11.0
    typical_pause_s: float = 60.0
    delay_spread_s: float = 300.0
    distance_scale_m: float = 2_500.0
    direction_fits: float = 0.5
    direction_against: float = -0.5
    further_read_share: float = 0.5
    lookalike: float = -1.5
    region_unknown: float = -0.4
    list_age_per_day: float = -0.1
    list_age_least: float = -1.0
    make_differs: float = -1.2
    colour_differs: float = -0.6
    medium_from: float = 0.35
    high_from: float = 0.7


DEFAULT: Final = Calibration()
_LOW_CONFIDENCE: Final = 0.8
_OLD_LIST_H: Final = 12.0
_LEAST_LOG_ODDS: Final = -700.0
"""Below, an exponential has no float."""
_SHORT_PLATE: Final = 4


class Score(Struct, frozen=True):
    """A score from 0 to 1, what it is called, and why."""

    score: float
    strength: Strength
    reasons: list[Reason]
    warnings: list[WarningCode]


def score(
    hit: VehicleHit,
    reviewed: bool,
    sightings: Sequence[Sighting],
    rules: JoinRules,
    calibration: Calibration = DEFAULT,
) -> Score:
    """Return how strongly ``sightings``, in their order, link the hit's car to the shot they were measured from.

    ``reviewed``: whether somebody confirmed the shot. Without sightings the score is 0.
    """
    if not sightings:
        return Score(score=0.0, strength="low", reasons=[], warnings=[])
    reasons = [*_drive(sightings, rules, calibration), *_doubts(hit, sightings, calibration)]
    log_odds = calibration.prior_log_odds + sum(reason.weight for reason in reasons)
    value = round(1.0 / (1.0 + math.exp(-max(log_odds, _LEAST_LOG_ODDS))), 3)
    warnings: list[WarningCode] = [reason.code for reason in reasons if reason.code not in _EVIDENCE]  # type: ignore[misc]
    if not reviewed:
        warnings.append("unreviewed")
    if len(normalise(hit.plate)) <= _SHORT_PLATE:
        warnings.append("plate_short")
    return Score(score=value, strength=_strength(value, calibration), reasons=reasons, warnings=warnings)


_EVIDENCE: Final = frozenset({"delay", "distance", "direction", "corroboration"})


def _strength(value: float, calibration: Calibration) -> Strength:
    if value >= calibration.high_from:
        return "high"
    return "medium" if value >= calibration.medium_from else "low"


def _drive(sightings: Sequence[Sighting], rules: JoinRules, c: Calibration) -> Iterator[Reason]:
    """What the best read says of delay, distance and direction; what the others add."""
    weights = [_terms(sighting, rules, c) for sighting in sightings]
    best = max(range(len(weights)), key=lambda n: sum(weights[n]))
    nearest = sightings[best]
    delay, distance, direction = weights[best]
    yield Reason("delay", round(nearest.seconds_from_shot, 3), "s", round(delay, 3))
    yield Reason("distance", float(nearest.distance_m), "m", round(distance, 3))
    yield Reason("direction", 1.0 if direction > 0 else 0.0, "agrees", round(direction, 3))
    others = [max(0.0, sum(terms)) for n, terms in enumerate(weights) if n != best]
    if others:
        yield Reason(
            "corroboration",
            float(len(others)),
            "reads",
            round(min(2.0, c.further_read_share * sum(others)), 3),
        )


def _terms(sighting: Sighting, rules: JoinRules, c: Calibration) -> tuple[float, float, float]:
    """Log ratios of one read's delay, distance and direction."""
    delay_s = abs(sighting.seconds_from_shot)
    expected_s = c.typical_pause_s + sighting.distance_m / c.typical_speed_mps
    window_s = max(1.0, (rules.before_ms + rules.after_ms) / 1000)
    # a Laplace density around the expected delay, against a uniform one over the window
    delay = math.log(window_s / (2 * c.delay_spread_s)) - abs(delay_s - expected_s) / c.delay_spread_s
    # an exponential in distance, against what a disc of the greatest distance has on average
    distance = 1.0 - sighting.distance_m / c.distance_scale_m
    after = sighting.seconds_from_shot >= 0
    fits = (sighting.direction == "on") == after
    return round(delay, 3), round(distance, 3), c.direction_fits if fits else c.direction_against


def _doubts(hit: VehicleHit, sightings: Sequence[Sighting], c: Calibration) -> Iterator[Reason]:
    """What takes away, each judged by the read that speaks best for the link."""
    unlike = min(differences(normalise(hit.plate), normalise(s.plate_as_read)) for s in sightings)
    if unlike:
        yield Reason("lookalike", float(unlike), "differences", round(c.lookalike * unlike, 3))
    if region(hit.region) is None or all(region(s.region) is None for s in sightings):
        yield Reason("region_unknown", 0.0, "agrees", c.region_unknown)
    confidence = max(s.confidence for s in sightings)
    if confidence < _LOW_CONFIDENCE:
        yield Reason("low_confidence", confidence, "share", round(math.log(max(confidence, 0.01) / _LOW_CONFIDENCE), 3))
    if hit.list_updated_at_ms is not None:
        age_h = min(s.captured_at_ms - hit.list_updated_at_ms for s in sightings) / 3_600_000
        if age_h > _OLD_LIST_H:
            weight = max(c.list_age_least, c.list_age_per_day * age_h / 24)
            yield Reason("list_age", round(age_h, 3), "h", round(weight, 3))
    if _differs(hit.make, sightings, lambda s: s.make):
        yield Reason("make_differs", 0.0, "agrees", c.make_differs)
    if _differs(hit.colour, sightings, lambda s: s.colour):
        yield Reason("colour_differs", 0.0, "agrees", c.colour_differs)


def _differs(listed: str | None, sightings: Sequence[Sighting], seen_as: Callable[[Sighting], str | None]) -> bool:
    """Whether the reads that say anything all say something else than the listing."""
    if listed is None:
        return False
    seen = {text.strip().casefold() for s in sightings if (text := seen_as(s)) is not None}
    return bool(seen) and listed.strip().casefold() not in seen
