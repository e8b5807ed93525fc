"""A space-time permutation scan (Kulldorff et al. 2005) for clusters of shots that cross the borders of zones.

Cylinders are tried: every circle around a place where a shot fell, up to a radius, over the last 1, 2, … days. With C
shots in all, c in the circle at any time and d anywhere in those days, µ = c·d / C are expected in the cylinder; n
found there weigh (n/µ)ⁿ · ((C − n)/(C − µ))^(C − n), where n > µ. How seldom chance makes so heavy a cylinder is
measured by dealing the days out anew among the shots, places staying as they are: the p-value counts the dealt years
whose heaviest cylinder is at least as heavy. Only shots are needed, no population.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from streams.analysis.sources import Place
from streams.core.counters.calendar import LocalDays
from streams.core.errors import RampwatchError
from streams.core.geo import distance_m
from streams.core.site import Site

_LARGEST_SHARE: Final = 0.5
"""Of all shots: a circle with more of them is the city, and no cluster."""
_CENTRES_MAX: Final = 400


class ScanPlan(Struct, frozen=True, kw_only=True):
    """What is scanned: so many days up to now, clusters of at most so many days and metres, so many dealt again."""

    days: int = 180
    cluster_days: int = 28
    radius_m: int = 2_000
    permutations: int = 999
    seed: int = 1
    at_most: int = 5


class Cluster(Struct, frozen=True):
    """A cylinder that is heavier than chance makes one: where, since when, how many there and how many expected."""

    lat: float
    lon: float
    radius_m: int
    from_ms: int
    to_ms: int
    days: int
    count: int
    expected: float
    log_likelihood_ratio: float
    p_value: float
    zone_ids: list[str]


def clusters(
    places: Sequence[Place], site: Site, as_of_ms: int, plan: ScanPlan, progress: Callable[[str], None]
) -> list[Cluster]:
    """Return the heaviest clusters that share no shot, the heaviest first. Raises `RampwatchError`."""
    local = LocalDays(site.time_zone)
    today = local.day_of(as_of_ms - 1)
    assert today is not None
    known = [(today - day, place) for place in places if place.at_ms < as_of_ms and (day := local.day_of(place.at_ms))]
    scanned = [(age, place) for age, place in known if 0 <= age < plan.days]
    if len(scanned) < 2:
        raise RampwatchError(f"{len(scanned)} shots with a place in {plan.days} days: too few to scan; name more days")
    ages = np.array([age for age, _ in scanned])
    circles = _Circles([place for _, place in scanned], plan.radius_m)
    heaviest = circles.heaviest(ages, plan.cluster_days)
    dealt = _dealt(circles, ages, plan, progress)
    found: list[Cluster] = []
    taken = np.zeros(len(ages), dtype=bool)
    for ratio, centre, size, length in heaviest:
        members = circles.members(centre, size)
        inside = members[ages[members] < length]
        if ratio <= 0 or len(found) == plan.at_most:
            break
        if taken[members].any():
            continue
        taken[members] = True
        expected = len(members) * int((ages < length).sum()) / len(ages)
        zones = {site.zone_at(scanned[i][1].lat, scanned[i][1].lon) for i in inside}
        found.append(
            Cluster(
                lat=scanned[circles.centres[centre]][1].lat,
                lon=scanned[circles.centres[centre]][1].lon,
                radius_m=circles.radius_m(centre, size),
                from_ms=local.begin_ms(today + 1 - length),
                to_ms=local.begin_ms(today + 1),
                days=length,
                count=len(inside),
                expected=round(expected, 3),
                log_likelihood_ratio=round(ratio, 3),
                p_value=(1 + int((dealt >= ratio).sum())) / (1 + len(dealt)),
                zone_ids=sorted(zones),
            )
        )
    return found


def _dealt(circles: _Circles, ages: NDArray[Any], plan: ScanPlan, progress: Callable[[str], None]) -> NDArray[Any]:
    """The weight of the heaviest cylinder in each of the years dealt."""
    generator = np.random.default_rng(plan.seed)
    dealt = np.zeros(plan.permutations)
    for n in range(plan.permutations):
        dealt[n] = circles.weights(generator.permutation(ages), plan.cluster_days).max()
        if n % 50 == 0:
            progress(f"dealt {n:,} of {plan.permutations:,} times")
    return dealt


class _Circles:
    """Circles around the places: for each centre the shots by their distance from it."""

    def __init__(self, places: Sequence[Place], radius_m: int) -> None:
        positions = [(place.lat, place.lon) for place in places]
        distinct = {position: n for n, position in enumerate(positions)}
        self.centres = sorted(distinct.values())[:: max(1, -(-len(distinct) // _CENTRES_MAX))]
        self._total = len(places)
        with np.errstate(divide="ignore"):
            self._log = np.where(np.arange(self._total + 1) > 0, np.log(np.arange(self._total + 1)), 0)
        self._expected: dict[tuple[int, int], tuple[NDArray[Any], ...]] = {}
        self._near: list[NDArray[Any]] = []
        self._far: list[NDArray[Any]] = []
        self._ends: list[NDArray[Any]] = []
        for centre in self.centres:
            away = np.array([distance_m(*positions[centre], *position) for position in positions])
            near = np.argsort(away, kind="stable")
            near = near[away[near] <= radius_m]
            # shots at the same distance are in a circle together
            ends = np.flatnonzero(np.append(np.diff(away[near]) > 0, True))
            self._near.append(near)
            self._far.append(away[near])
            self._ends.append(ends[ends + 1 <= max(1, int(_LARGEST_SHARE * self._total))])

    def members(self, centre: int, size: int) -> NDArray[Any]:
        """Return the shots in a circle."""
        return self._near[centre][:size]

    def radius_m(self, centre: int, size: int) -> int:
        """Return how far its farthest shot lies."""
        return int(self._far[centre][size - 1])

    def weights(self, ages: NDArray[Any], longest: int) -> NDArray[Any]:
        """Return the greatest weight around each centre."""
        in_days = ages[:, None] < np.arange(1, longest + 1)
        all_days = in_days.sum(axis=0)
        return np.array([self._ratios(n, in_days, all_days).max(initial=0.0) for n in range(len(self.centres))])

    def heaviest(self, ages: NDArray[Any], longest: int) -> list[tuple[float, int, int, int]]:
        """Return every centre's heaviest cylinder, the heaviest first: weight, centre, shots in the circle, days."""
        in_days = ages[:, None] < np.arange(1, longest + 1)
        all_days = in_days.sum(axis=0)
        found = []
        for centre in range(len(self.centres)):
            ratios = self._ratios(centre, in_days, all_days)
            if ratios.size:
                circle, length = np.unravel_index(int(ratios.argmax()), ratios.shape)
                size = int(self._ends[centre][circle]) + 1
                found.append((float(ratios[circle, length]), centre, size, int(length) + 1))
        return sorted(found, key=lambda cylinder: (-cylinder[0], cylinder[1]))

    def _ratios(self, centre: int, in_days: NDArray[Any], all_days: NDArray[Any]) -> NDArray[Any]:
        """Logarithms of the likelihood ratios: circles of a centre × days back."""
        found = in_days[self._near[centre]].cumsum(axis=0)[self._ends[centre]]
        expected, log_expected, log_rest = self._expectations(centre, all_days)
        rest = self._total - found
        ratios = found * (self._log[found] - log_expected) + rest * (self._log[rest] - log_rest)
        return np.where(found > expected, ratios, 0)

    def _expectations(self, centre: int, all_days: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """What is expected in a centre's circles, and the logarithms; the same however the days are dealt."""
        key = (centre, len(all_days))
        if key not in self._expected:
            expected = (self._ends[centre] + 1)[:, None] * all_days / self._total
            with np.errstate(divide="ignore"):
                logs = np.log(expected), np.log(self._total - expected)
            self._expected[key] = (expected, *(np.where(np.isfinite(log), log, 0) for log in logs))
        return self._expected[key]
