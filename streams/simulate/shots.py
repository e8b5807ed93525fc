"""Simulated gunshot alerts: times, locations, clusters from one shooting, and reviews."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from math import cos, pi, radians, sin
from typing import Any, Final

from streams.core.geo import distance_m
from streams.core.site import Site, Zone
from streams.simulate.hourly import SHOOTING, random_times
from streams.simulate.observed import FOLLOWING_M, FOLLOWING_S, sample_quantiles
from streams.simulate.plan import CityPlan

Alerts = dict[str, list[Mapping[str, Any]]]
"""Alert id to the revisions of that alert, in order; alerts by time of the first revision."""

_DAY_MS: Final = 86_400_000
_HOTSPOT_ZONES: Final = 3
_HOTSPOT_SHARE: Final = 0.6
_KINDS: Final = ("single_gunshot", "multiple_gunshots", "probable_gunfire")
_KIND_WEIGHTS: Final = (35, 50, 15)
_MAX_TRIES: Final = 1_000
_METRES_PER_DEGREE: Final = 111_195.0
_SAME_SHOOTING_MS: Final = 600_000
_SAME_SHOOTING_M: Final = 1_000


class RandomLocations:
    """Random locations in the site's zones; without zones, in the bounding box of its ramps."""

    def __init__(self, site: Site, rng: random.Random) -> None:
        self._site, self._rng = site, rng
        self._hotspots = rng.sample(site.zones, min(_HOTSPOT_ZONES, len(site.zones)))

    def anywhere(self) -> tuple[float, float]:
        """Return a latitude and longitude; each zone is equally likely."""
        zones = self._site.zones
        return self._inside(self._rng.choice(zones)) if zones else self._among_ramps()

    def near_hotspots(self) -> tuple[float, float]:
        """Return a latitude and longitude, usually in one of the zones with most shootings."""
        if self._hotspots and self._rng.random() < _HOTSPOT_SHARE:
            return self._inside(self._rng.choice(self._hotspots))
        return self.anywhere()

    def _inside(self, zone: Zone) -> tuple[float, float]:
        outlines = [position for polygon in zone.geometry for position in polygon[0]]
        west, east = min(lon for lon, _ in outlines), max(lon for lon, _ in outlines)
        south, north = min(lat for _, lat in outlines), max(lat for _, lat in outlines)
        for _ in range(_MAX_TRIES):
            lat, lon = round(self._rng.uniform(south, north), 5), round(self._rng.uniform(west, east), 5)
            if self._site.zone_at(lat, lon) == zone.zone_id:
                return lat, lon
        # The zone is a sliver, or is covered by earlier zones: use one of its corners.
        return outlines[0][1], outlines[0][0]

    def _among_ramps(self) -> tuple[float, float]:
        lats = [ramp.lat for ramp in self._site.ramps.values()]
        lons = [ramp.lon for ramp in self._site.ramps.values()]
        lat, lon = self._rng.uniform(min(lats), max(lats)), self._rng.uniform(min(lons), max(lons))
        return round(lat, 5), round(lon, 5)


def given_shots(plan: CityPlan, shots: Sequence[Mapping[str, Any]]) -> Alerts:
    """Return the given alerts, without those whose first revision occurred outside the plan."""
    alerts: Alerts = {}
    for shot in sorted(shots, key=lambda shot: shot.get("revision", 0)):
        alerts.setdefault(shot["alert_id"], []).append(shot)
    occurred_ms = {alert_id: revisions[0]["occurred_at_ms"] for alert_id, revisions in alerts.items()}
    within = [alert_id for alert_id, at_ms in occurred_ms.items() if plan.begin_ms <= at_ms < plan.end_ms]
    ordered = sorted(within, key=lambda alert_id: (occurred_ms[alert_id], alert_id))
    return {alert_id: alerts[alert_id] for alert_id in ordered}


def simulated_shots(site: Site, plan: CityPlan) -> Alerts:
    """Return as many alerts as the plan has; some follow another closely, as in real records."""
    rng = random.Random(f"{plan.seed}/shots")
    alerts: Alerts = {}
    for number, (occurred_at_ms, location) in enumerate(_times_and_locations(site, plan, rng), start=1):
        alert_id = f"SIM-S{number:06d}"
        alerts[alert_id] = _revisions(alert_id, occurred_at_ms, location, plan, rng)
    return alerts


def _times_and_locations(site: Site, plan: CityPlan, rng: random.Random) -> list[tuple[int, tuple[float, float]]]:
    locations = RandomLocations(site, random.Random(f"{plan.seed}/shot places"))
    bursts = random.Random(f"{plan.seed}/bursts")
    count = round(plan.shots_per_day * plan.duration_ms / _DAY_MS)
    following = sum(bursts.random() < plan.following_share for _ in range(count - 1))
    alerts = [
        (at_ms, locations.near_hotspots()) for at_ms in random_times(site, plan, count - following, SHOOTING, rng)
    ]
    for _ in range(following):
        at_ms, (lat, lon) = bursts.choice(alerts)
        alerts.append((at_ms + round(1000 * sample_quantiles(FOLLOWING_S, bursts)), _nearby(lat, lon, bursts)))
    return sorted((at_ms, location) for at_ms, location in alerts if at_ms < plan.end_ms)


def _nearby(lat: float, lon: float, rng: random.Random) -> tuple[float, float]:
    away_m, bearing = sample_quantiles(FOLLOWING_M, rng), rng.uniform(0, 2 * pi)
    north, east = away_m * cos(bearing) / _METRES_PER_DEGREE, away_m * sin(bearing) / _METRES_PER_DEGREE
    return round(lat + north, 5), round(lon + east / cos(radians(lat)), 5)


def _revisions(
    alert_id: str, occurred_at_ms: int, location: tuple[float, float], plan: CityPlan, rng: random.Random
) -> list[Mapping[str, Any]]:
    """Return the first revision of an alert and the one after review."""
    kind = rng.choices(_KINDS, _KIND_WEIGHTS)[0]
    rounds = rng.randrange(2, 16)
    unreviewed = {
        "alert_id": alert_id,
        "revision": 0,
        "status": "unreviewed",
        "kind": kind,
        "occurred_at_ms": occurred_at_ms,
        "lat": location[0],
        "lon": location[1],
        "uncertainty_m": 25,
        "source": "simulated",
    }
    dismissed, reclassified = rng.random() < plan.dismissed_share, rng.random() < plan.reclassified_share
    other_kind = rng.choice([other for other in _KINDS if other != kind])
    reviewed = unreviewed | {"revision": 1, "status": "dismissed" if dismissed else "confirmed"}
    reviewed["kind"] = other_kind if reclassified and not dismissed else kind
    return [_with_rounds(unreviewed, rounds), _with_rounds(reviewed, rounds)]


def _with_rounds(shot: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Add the number of rounds, if alerts of this kind have one."""
    match shot["kind"]:
        case "single_gunshot":
            return shot | {"rounds": 1}
        case "multiple_gunshots":
            return shot | {"rounds": rounds}
        case _:
            return shot


def shot_records(plan: CityPlan, alerts: Alerts) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Yield the stamp in ms, alert id and value of each revision of each alert."""
    rng = random.Random(f"{plan.seed}/shot stamps")
    for alert_id, revisions in alerts.items():
        stamp_ms = 0
        for shot in revisions:
            reported_ms = int(shot["occurred_at_ms"]) + rng.randrange(5_000, 30_000)
            stamp_ms = max(reported_ms, stamp_ms + rng.randrange(15_000, 60_000))
            yield stamp_ms, alert_id, dict(shot)


def shootings(alerts: Alerts) -> list[list[str]]:
    """Return the alert ids grouped by shooting, in order of time."""
    groups: list[list[str]] = []
    for alert_id, revisions in alerts.items():
        recent = reversed(groups[-4:])
        same = next((group for group in recent if _same_shooting(alerts[group[0]][0], revisions[0])), None)
        if same is None:
            groups.append([alert_id])
        else:
            same.append(alert_id)
    return groups


def _same_shooting(first: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    near = distance_m(first["lat"], first["lon"], other["lat"], other["lon"]) <= _SAME_SHOOTING_M
    return near and 0 <= other["occurred_at_ms"] - first["occurred_at_ms"] <= _SAME_SHOOTING_MS
