"""A space-time permutation scan (Kulldorff et al. 2005): clusters of shots across zone borders.

The scan tries cylinders: every circle around a place where a shot was fired, up to a largest
radius, over the last 1, 2, … days. Of more than 400 places it takes every second, third, … in the
order of time. With C shots in all, c in the circle on any day and d anywhere
on those days, µ = c·d / C are expected in the cylinder. If n > µ are found, the likelihood ratio is
(n/µ)ⁿ · ((C − n)/(C − µ))^(C − n). To measure how rarely chance makes such a ratio, the days are
permuted among the shots while their places stay. The p-value counts the permutations whose greatest
ratio is at least as great. The scan needs shots only, no population.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from streams.analysis.sources import LocatedShot
from streams.console.screen import Report
from streams.core.counters.calendar import LocalDays
from streams.core.errors import RampwatchError
from streams.core.geo import distance_m
from streams.core.site import Site

_LARGEST_SHARE: Final = 0.5
"""Of all shots: a circle with more of them covers the city and is not a cluster."""
_CENTRES_MAX: Final = 400


class ScanPlan(Struct, frozen=True, kw_only=True):
    """What to scan: the last ``days``, for clusters of up to ``cluster_days`` and ``radius_m``."""

    days: int = 180
    cluster_days: int = 28
    radius_m: int = 2_000
    permutations: int = 999
    seed: int = 1
    clusters_max: int = 5


class Cluster(Struct, frozen=True):
    """A cylinder with more shots than expected; ``p_value``: how rarely chance makes such a one."""

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


def clusters(shots: Sequence[LocatedShot], site: Site, as_of_ms: int, plan: ScanPlan, report: Report) -> list[Cluster]:
    """Return the strongest clusters that share no shot, in that order. Raises `RampwatchError`."""
    local = LocalDays(site.time_zone)
    today = local.day_of(as_of_ms - 1)
    assert today is not None
    # In the order of their content: which places are centres and what is permuted must not depend
    # on the order in which the shots were read.
    ordered = sorted(shots, key=lambda shot: (shot.at_ms, shot.lat, shot.lon))
    known = [(today - day, shot) for shot in ordered if shot.at_ms < as_of_ms and (day := local.day_of(shot.at_ms))]
    scanned = [(age, shot) for age, shot in known if 0 <= age < plan.days]
    if len(scanned) < 2:
        raise RampwatchError(f"{len(scanned)} shots with a place in {plan.days} days: too few to scan; scan more days")
    ages = np.array([age for age, _ in scanned])
    circles = _Circles([shot for _, shot in scanned], plan.radius_m)
    strongest = circles.strongest(ages, plan.cluster_days)
    permuted = _permuted(circles, ages, plan, report)
    found: list[Cluster] = []
    taken = np.zeros(len(ages), dtype=bool)
    for ratio, centre, size, length in strongest:
        members = circles.members(centre, size)
        inside = members[ages[members] < length]
        if ratio <= 0 or len(found) == plan.clusters_max:
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
                p_value=(1 + int((permuted >= ratio).sum())) / (1 + len(permuted)),
                zone_ids=sorted(zones),
            )
        )
    return found


def _permuted(circles: _Circles, ages: NDArray[Any], plan: ScanPlan, report: Report) -> NDArray[Any]:
    """The log-likelihood ratio of the strongest cylinder of each permutation."""
    generator = np.random.default_rng(plan.seed)
    strongest = np.zeros(plan.permutations)
    for n in range(plan.permutations):
        strongest[n] = circles.greatest_ratios(generator.permutation(ages), plan.cluster_days).max()
        if n % 50 == 0:
            report(f"permuted {n:,} of {plan.permutations:,} times", n / plan.permutations)
    return strongest


class _Circles:
    """Circles around the shots: for each centre the shots by distance from it."""

    def __init__(self, shots: Sequence[LocatedShot], radius_m: int) -> None:
        positions = [(shot.lat, shot.lon) for shot in shots]
        distinct = {position: n for n, position in enumerate(positions)}
        self.centres = sorted(distinct.values())[:: max(1, -(-len(distinct) // _CENTRES_MAX))]
        self._total = len(shots)
        with np.errstate(divide="ignore"):
            self._log = np.where(np.arange(self._total + 1) > 0, np.log(np.arange(self._total + 1)), 0)
        self._expected: dict[tuple[int, int], tuple[NDArray[Any], ...]] = {}
        self._near: list[NDArray[Any]] = []
        self._distances_m: list[NDArray[Any]] = []
        self._ends: list[NDArray[Any]] = []
        for centre in self.centres:
            distances_m = np.array([distance_m(*positions[centre], *position) for position in positions])
            near = np.argsort(distances_m, kind="stable")
            near = near[distances_m[near] <= radius_m]
            # shots at the same distance are in a circle together
            ends = np.flatnonzero(np.append(np.diff(distances_m[near]) > 0, True))
            self._near.append(near)
            self._distances_m.append(distances_m[near])
            self._ends.append(ends[ends + 1 <= max(1, int(_LARGEST_SHARE * self._total))])

    def members(self, centre: int, size: int) -> NDArray[Any]:
        """Return the ``size`` shots nearest to a centre."""
        return self._near[centre][:size]

    def radius_m(self, centre: int, size: int) -> int:
        """Return the distance of the farthest of them."""
        return int(self._distances_m[centre][size - 1])

    def greatest_ratios(self, ages: NDArray[Any], longest: int) -> NDArray[Any]:
        """Return the greatest log-likelihood ratio around each centre."""
        in_days = ages[:, None] < np.arange(1, longest + 1)
        all_days = in_days.sum(axis=0)
        return np.array([self._ratios(n, in_days, all_days).max(initial=0.0) for n in range(len(self.centres))])

    def strongest(self, ages: NDArray[Any], longest: int) -> list[tuple[float, int, int, int]]:
        """Return the strongest cylinder of each centre, the strongest first.

        Each is a log-likelihood ratio, a centre, the number of shots in the circle, and days.
        """
        in_days = ages[:, None] < np.arange(1, longest + 1)
        all_days = in_days.sum(axis=0)
        cylinders = []
        for centre in range(len(self.centres)):
            ratios = self._ratios(centre, in_days, all_days)
            if ratios.size:
                circle, length = np.unravel_index(int(ratios.argmax()), ratios.shape)
                size = int(self._ends[centre][circle]) + 1
                cylinders.append((float(ratios[circle, length]), centre, size, int(length) + 1))
        return sorted(cylinders, key=lambda cylinder: (-cylinder[0], cylinder[1]))

    def _ratios(self, centre: int, in_days: NDArray[Any], all_days: NDArray[Any]) -> NDArray[Any]:
        """Log-likelihood ratios: circles of a centre × days back."""
        counts = in_days[self._near[centre]].cumsum(axis=0)[self._ends[centre]]
        expected, log_expected, log_rest = self._expectations(centre, all_days)
        rest = self._total - counts
        ratios = counts * (self._log[counts] - log_expected) + rest * (self._log[rest] - log_rest)
        return np.where(counts > expected, ratios, 0)

    def _expectations(self, centre: int, all_days: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """The expected counts of a centre's circles, and logarithms; permutations keep them."""
        key = (centre, len(all_days))
        if key not in self._expected:
            expected = (self._ends[centre] + 1)[:, None] * all_days / self._total
            with np.errstate(divide="ignore"):
                logs = np.log(expected), np.log(self._total - expected)
            self._expected[key] = (expected, *(np.where(np.isfinite(log), log, 0) for log in logs))
        return self._expected[key]
