"""The score: how strongly the reads of a stolen car link it to a shot, as a likelihood ratio.

For each read the question is how much better "this car left that shot, or came to it" explains the
read than "a stolen car passed by chance" does. The natural logarithms of the ratios are added to
the prior log-odds, and the sum is turned into a probability. Only facts in the incident count,
never the time of day or the current time, so the same facts score the same in a replay. Every term
is reported, with the number it is based on.

* ``delay``: a linked car pauses, then drives distance / speed, so its delay has a typical value.
  The likelihood falls exponentially on both sides: for early reads because fast drivers are rarer
  (less steeply with distance, because speeds differ), for late reads because of detours and stops.
  The constants differ before and after the shot. By chance the delay is uniform over the window.
* ``distance``: linked cars are read nearer to the shot than chance would have it (exponential).
* ``direction``: linked cars enter the highway after the shot, and leave it before.
* ``corroboration``: each further read adds a share of its own terms, since one drive explains all.
* A lookalike, an unknown state, low confidence, an old list, and a make or colour that differs
  lower the score.

The score is monotone for every valid `Calibration`. Other things equal, it does not rise with
distance, with a less typical delay, with a lookalike, with lower confidence or with an older list,
and it does not fall with one more read. The constants rampwatch uses are fitted to simulated
history (``deploy/calibration``). The defaults here are a cautious first choice, used in tests of
the core.
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
    """The constants of the score; weights are natural logarithms.

    Raises ValueError if a score could be non-monotone with them.
    """

    prior_log_odds: float = -1.5
    """Log-odds that a stolen car with one read in the window is linked to the shot."""
    typical_speed_mps: float = 11.0
    typical_pause_s: float = 60.0
    """How long a car stays after the shot before it leaves."""
    typical_pause_before_s: float = 60.0
    """How long a car is there before the shot."""
    early_spread_s: float = 300.0
    early_spread_before_s: float = 300.0
    early_spread_s_per_m: float = 0.0
    """How much the spread of early delays grows with distance, because some cars are faster."""
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
                raise ValueError(f"{name} is {getattr(self, name)}: must be above 0")
        for name in ("delay_weight", "direction_fits", "further_read_share", "further_reads_most", "confidence_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(
                    f"{name} is {getattr(self, name)}: must not be negative, or evidence would lower scores"
                )
        for name in ("delay_least", "direction_against", *_PENALTIES):
            if not getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}: must not be positive, or doubt would raise scores")
        self._check_distance()

    def _check_distance(self) -> None:
        """Check that the score never rises with distance.

        At a given delay a more distant ramp can have the more typical delay, but that must never
        outweigh the term for its distance.
        """
        pause_s = self.typical_pause_s, self.typical_pause_before_s
        early_s = self.early_spread_s, self.early_spread_before_s
        late_s = self.late_spread_s, self.late_spread_before_s
        pace = 1 / self.typical_speed_mps
        if self.delay_weight * pace / min(late_s) > 1 / self.distance_scale_m + 1e-9:
            raise ValueError(
                f"distance_scale_m is {self.distance_scale_m}: too large, a more distant read could score higher"
            )
        if any(self.early_spread_s_per_m * p > pace * e + 1e-9 for p, e in zip(pause_s, early_s, strict=True)):
            raise ValueError(
                f"early_spread_s_per_m is {self.early_spread_s_per_m}: too large, a more distant read could score "
                "higher"
            )


_PENALTIES: Final = (
    "lookalike", "region_unknown", "list_age_per_day", "list_age_least", "make_differs", "colour_differs"
)  # fmt: skip
DEFAULT: Final = Calibration()
_LOW_CONFIDENCE: Final = 0.8
_OLD_LIST_H: Final = 12.0
_LEAST_LOG_ODDS: Final = -700.0
"""Below this the exponential would overflow a float."""
_SHORT_PLATE: Final = 4


class Score(Struct, frozen=True):
    """A score from 0 to 1, its strength, and the reasons."""

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
    """Return how strongly ``sightings``, in their order, link the hit's car to their shot.

    ``reviewed``: whether a person confirmed the shot. Without sightings the score is 0.
    """
    if not sightings:
        return Score(score=0.0, strength="low", reasons=[], warnings=[])
    reasons = [*_evidence(sightings, rules, calibration), *_penalties(hit, sightings, calibration)]
    log_odds = calibration.prior_log_odds + math.fsum(reason.weight for reason in reasons)
    value = round(1.0 / (1.0 + math.exp(-max(log_odds, _LEAST_LOG_ODDS))), 3)
    warnings: list[WarningCode] = [reason.code for reason in reasons if reason.code not in _EVIDENCE_CODES]  # type: ignore[misc]
    if not reviewed:
        warnings.append("unreviewed")
    if len(normalise(hit.plate)) <= _SHORT_PLATE:
        warnings.append("plate_short")
    return Score(score=value, strength=_strength(value, calibration), reasons=reasons, warnings=warnings)


_EVIDENCE_CODES: Final = frozenset({"delay", "distance", "direction", "corroboration"})


def _strength(value: float, calibration: Calibration) -> Strength:
    if value >= calibration.high_from:
        return "high"
    return "medium" if value >= calibration.medium_from else "low"


def _evidence(sightings: Sequence[Sighting], rules: JoinRules, c: Calibration) -> Iterator[Reason]:
    """Yield the terms of the best read, and what the other reads add."""
    weights = [_terms(s, rules, c) for s in sightings]
    best = max(range(len(weights)), key=lambda n: math.fsum(weights[n]))
    sighting = sightings[best]
    delay, distance, direction = weights[best]
    yield Reason("delay", round(sighting.seconds_from_shot, 3), "s", round(delay, 3))
    yield Reason("distance", float(sighting.distance_m), "m", round(distance, 3))
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
    """Return the log-ratios of one read: delay, distance, direction."""
    # Exponential in distance, relative to the mean over a disc of the greatest distance.
    distance = 1.0 - sighting.distance_m / c.distance_scale_m
    after = sighting.seconds_from_shot >= 0
    fits = (sighting.direction == "on") == after
    return _delay(sighting, rules, c), round(distance, 3), c.direction_fits if fits else c.direction_against


def _delay(sighting: Sighting, rules: JoinRules, c: Calibration) -> float:
    """Return the log-ratio of the delay's density for a linked car to the uniform density."""
    if sighting.seconds_from_shot >= 0:
        pause_s, early_s, late_s = c.typical_pause_s, c.early_spread_s, c.late_spread_s
    else:
        pause_s, early_s, late_s = c.typical_pause_before_s, c.early_spread_before_s, c.late_spread_before_s
    early_s += c.early_spread_s_per_m * sighting.distance_m
    window_s = max(1.0, (rules.before_ms + rules.after_ms) / 1000)
    late_by_s = abs(sighting.seconds_from_shot) - pause_s - sighting.distance_m / c.typical_speed_mps
    fit = -late_by_s / late_s if late_by_s > 0 else late_by_s / early_s
    return round(max(c.delay_least, c.delay_weight * (math.log(window_s / (early_s + late_s)) + fit)), 3)


def _penalties(hit: VehicleHit, sightings: Sequence[Sighting], c: Calibration) -> Iterator[Reason]:
    """Yield the terms that lower the score, each by the most favourable read."""
    different = min(differences(normalise(hit.plate), normalise(s.plate_as_read)) for s in sightings)
    if different:
        yield Reason("lookalike", float(different), "differences", round(c.lookalike * different, 3))
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


def _differs(listed: str | None, sightings: Sequence[Sighting], seen_by: Callable[[Sighting], str | None]) -> bool:
    """Return whether reads have this property, and all of them differ from the listing."""
    if listed is None:
        return False
    seen = {text.strip().casefold() for s in sightings if (text := seen_by(s)) is not None}
    return bool(seen) and listed.strip().casefold() not in seen
