"""How strongly the reads of a stolen car link it to a shot: a likelihood ratio whose every term is told.

For each read the question is how much better "this car left that shot, or came to it" explains what was seen than "a
stolen car passed by chance" does. The natural logarithms of the ratios add up, in the order of the sightings; the prior
odds turn the sum into a probability. Only facts in the incident count, never the time of day or of now, so the same
facts score the same in a replay.

* ``delay``: linked, a car needs a pause and then distance / speed, so its delay lies around what is typical: too early
  falls off as fast drivers get rarer (the wider, the farther: speeds differ), too late as dawdling does, each
  exponentially, and differently before the shot and after it. By chance it is uniform over the window.
* ``distance``: linked cars are read near the shot more often than chance would have it (an exponential in distance).
* ``direction``: linked cars get on the highway after the shot, and leave it before.
* ``corroboration``: further reads count for a share each, since one drive explains them all.
* a lookalike, an unknown state, a low confidence, an old list, a make or colour that differs: each takes away.

What common sense says holds for any `Calibration` that can be made: other things equal, no score rises with distance,
with a delay that fits worse, with a lookalike, with less confidence or with an older list, and none falls with one read
more. The numbers that rampwatch uses are fitted to simulated history (``deploy/calibration``); the defaults here are a
first, careful choice, for tests of the core.
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
    """The score's constants; weights are natural logarithms. ValueError where a score could defy common sense."""

    prior_log_odds: float = -1.5
    """That a stolen car with one read in the window has to do with the shot."""
    typical_speed_mps: float = 11.0
    typical_pause_s: float = 60.0
    """How long a car stays after the shot before it drives off."""
    typical_pause_before_s: float = 60.0
    """How long it is there before the shot."""
    early_spread_s: float = 300.0
    early_spread_before_s: float = 300.0
    early_spread_s_per_m: float = 0.0
    """By how much more the delay spreads with distance, where cars are faster than is typical."""
    late_spread_s: float = 300.0
    late_spread_before_s: float = 300.0
    delay_weight: float = 1.0
    delay_least: float = -700.0
    distance_scale_m: float = 2_500.0
    direction_fits: float = 0.5
    direction_against: float = -0.5
    further_read_share: float = 0.5
    further_reads_most: float = 2.0
    lookalike: float = -1.5
    """For each character that differs."""
    region_unknown: float = -0.4
    confidence_weight: float = 1.0
    list_age_per_day: float = -0.1
    list_age_least: float = -1.0
    make_differs: float = -1.2
    colour_differs: float = -0.6
    medium_from: float = 0.35
    high_from: float = 0.7

    def __post_init__(self) -> None:
        above_0 = ("typical_speed_mps", "early_spread_s", "early_spread_before_s", "late_spread_s")
        for name in (*above_0, "late_spread_before_s", "distance_scale_m"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
        for name in ("delay_weight", "direction_fits", "further_read_share", "further_reads_most", "confidence_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; what speaks for a link must not count against it")
        for name in ("delay_least", "direction_against", *_DOUBTS):
            if not getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; what speaks against a link must not count for it")
        self._check_distance()

    def _check_distance(self) -> None:
        """At one and the same delay a farther ramp may fit better, but never by more than its distance takes away."""
        pause_s = self.typical_pause_s, self.typical_pause_before_s
        early_s = self.early_spread_s, self.early_spread_before_s
        late_s = self.late_spread_s, self.late_spread_before_s
        pace = 1 / self.typical_speed_mps
        if self.delay_weight * pace / min(late_s) > 1 / self.distance_scale_m + 1e-9:
            raise ValueError(
                f"distance_scale_m is {self.distance_scale_m}; so large, a farther read could score higher"
            )
        if any(self.early_spread_s_per_m * p > pace * e + 1e-9 for p, e in zip(pause_s, early_s, strict=True)):
            raise ValueError(
                f"early_spread_s_per_m is {self.early_spread_s_per_m}; so large, a farther read could score higher"
            )


_DOUBTS: Final = (
    "lookalike", "region_unknown", "list_age_per_day", "list_age_least", "make_differs", "colour_differs"
)  # fmt: skip
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
    log_odds = calibration.prior_log_odds + math.fsum(reason.weight for reason in reasons)
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
    best = max(range(len(weights)), key=lambda n: math.fsum(weights[n]))
    nearest = sightings[best]
    delay, distance, direction = weights[best]
    yield Reason("delay", round(nearest.seconds_from_shot, 3), "s", round(delay, 3))
    yield Reason("distance", float(nearest.distance_m), "m", round(distance, 3))
    yield Reason("direction", 1.0 if direction > 0 else 0.0, "agrees", round(direction, 3))
    others = [max(0.0, math.fsum(terms)) for n, terms in enumerate(weights) if n != best]
    if others:
        yield Reason(
            "corroboration",
            float(len(others)),
            "reads",
            round(min(c.further_reads_most, c.further_read_share * math.fsum(others)), 3),
        )


def _terms(sighting: Sighting, rules: JoinRules, c: Calibration) -> tuple[float, float, float]:
    """Log ratios of one read's delay, distance and direction."""
    # an exponential in distance, against what a disc of the greatest distance has on average
    distance = 1.0 - sighting.distance_m / c.distance_scale_m
    after = sighting.seconds_from_shot >= 0
    fits = (sighting.direction == "on") == after
    return _delay(sighting, rules, c), round(distance, 3), c.direction_fits if fits else c.direction_against


def _delay(sighting: Sighting, rules: JoinRules, c: Calibration) -> float:
    """Log ratio of the delay's density, highest where a car is expected, to one that is uniform over the window."""
    if sighting.seconds_from_shot >= 0:
        pause_s, early_s, late_s = c.typical_pause_s, c.early_spread_s, c.late_spread_s
    else:
        pause_s, early_s, late_s = c.typical_pause_before_s, c.early_spread_before_s, c.late_spread_before_s
    early_s += c.early_spread_s_per_m * sighting.distance_m
    window_s = max(1.0, (rules.before_ms + rules.after_ms) / 1000)
    late_by_s = abs(sighting.seconds_from_shot) - pause_s - sighting.distance_m / c.typical_speed_mps
    fit = -late_by_s / late_s if late_by_s > 0 else late_by_s / early_s
    return round(max(c.delay_least, c.delay_weight * (math.log(window_s / (early_s + late_s)) + fit)), 3)


def _doubts(hit: VehicleHit, sightings: Sequence[Sighting], c: Calibration) -> Iterator[Reason]:
    """What takes away, each judged by the read that speaks best for the link."""
    unlike = min(differences(normalise(hit.plate), normalise(s.plate_as_read)) for s in sightings)
    if unlike:
        yield Reason("lookalike", float(unlike), "differences", round(c.lookalike * unlike, 3))
    if region(hit.region) is None or all(region(s.region) is None for s in sightings):
        yield Reason("region_unknown", 0.0, "agrees", c.region_unknown)
    confidence = max(s.confidence for s in sightings)
    if confidence < _LOW_CONFIDENCE:
        yield Reason(
            "low_confidence",
            confidence,
            "share",
            round(c.confidence_weight * math.log(max(confidence, 0.01) / _LOW_CONFIDENCE), 3),
        )
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
