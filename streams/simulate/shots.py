"""Gunshots: where and when they are fired, how one shooting is heard as several, and what review makes of them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from math import cos, pi, radians, sin
from typing import Any, Final

from streams.core.geo import distance_m
from streams.core.site import Site, Zone
from streams.simulate.observed import FOLLOWING_M, FOLLOWING_S, drawn
from streams.simulate.plan import CityPlan
from streams.simulate.rhythm import SHOOTING, moments

Alerts = dict[str, list[Mapping[str, Any]]]
"""The revisions of each alert, in order, by its id; the alerts by time of the first revision."""

_DAY_MS: Final = 86_400_000
_HOT_ZONES: Final = 3
_HOT_ZONE_SHARE: Final = 0.6
_KINDS: Final = ("single_gunshot", "multiple_gunshots", "probable_gunfire")
_KIND_WEIGHTS: Final = (35, 50, 15)
_TRIES: Final = 1_000
_DEGREE_M: Final = 111_195.0
_ONE_SHOOTING_MS: Final = 600_000
_ONE_SHOOTING_M: Final = 1_000


class Places:
    """Random places in the site's zones, or, where it has none, in the rectangle that its ramps span."""

    def __init__(self, site: Site, rng: random.Random) -> None:
        self._site, self._rng = site, rng
        self._hot = rng.sample(site.zones, min(_HOT_ZONES, len(site.zones)))

    def anywhere(self) -> tuple[float, float]:
        """Return a latitude and longitude."""
        zones = self._site.zones
        return self._inside(self._rng.choice(zones)) if zones else self._among_ramps()

    def hot(self) -> tuple[float, float]:
        """Return a latitude and longitude, mostly in one of the few zones where most shots are fired."""
        if self._hot and self._rng.random() < _HOT_ZONE_SHARE:
            return self._inside(self._rng.choice(self._hot))
        return self.anywhere()

    def _inside(self, zone: Zone) -> tuple[float, float]:
        outlines = [position for polygon in zone.geometry for position in polygon[0]]
        west, east = min(lon for lon, _ in outlines), max(lon for lon, _ in outlines)
        south, north = min(lat for _, lat in outlines), max(lat for _, lat in outlines)
        for _ in range(_TRIES):
            lat, lon = round(self._rng.uniform(south, north), 5), round(self._rng.uniform(west, east), 5)
            if self._site.zone_at(lat, lon) == zone.zone_id:
                return lat, lon
        # A sliver, or a zone that earlier ones cover: its corner will do.
        return outlines[0][1], outlines[0][0]

    def _among_ramps(self) -> tuple[float, float]:
        lats = [ramp.lat for ramp in self._site.ramps.values()]
        lons = [ramp.lon for ramp in self._site.ramps.values()]
        lat, lon = self._rng.uniform(min(lats), max(lats)), self._rng.uniform(min(lons), max(lons))
        return round(lat, 5), round(lon, 5)


def given_shots(plan: CityPlan, shots: Sequence[Mapping[str, Any]]) -> Alerts:
    """Return the alerts given, those that first occurred within the plan's time."""
    alerts: Alerts = {}
    for shot in sorted(shots, key=lambda shot: shot.get("revision", 0)):
        alerts.setdefault(shot["alert_id"], []).append(shot)
    heard_ms = {alert_id: revisions[0]["occurred_at_ms"] for alert_id, revisions in alerts.items()}
    within = [alert_id for alert_id, at_ms in heard_ms.items() if plan.begin_ms <= at_ms < plan.end_ms]
    return {alert_id: alerts[alert_id] for alert_id in sorted(within, key=lambda one: (heard_ms[one], one))}


def simulated_shots(site: Site, plan: CityPlan) -> Alerts:
    """Return as many alerts as the plan has, some of them following another closely, as in life."""
    rng = random.Random(f"{plan.seed}/shots")
    alerts: Alerts = {}
    for number, (occurred_at_ms, place) in enumerate(_where_and_when(site, plan, rng), start=1):
        alert_id = f"SIM-S{number:06d}"
        alerts[alert_id] = _shot(alert_id, occurred_at_ms, place, plan, rng)
    return alerts


def _where_and_when(site: Site, plan: CityPlan, rng: random.Random) -> list[tuple[int, tuple[float, float]]]:
    places = Places(site, random.Random(f"{plan.seed}/shot places"))
    bursts = random.Random(f"{plan.seed}/bursts")
    count = round(plan.shots_per_day * plan.duration_ms / _DAY_MS)
    following = sum(bursts.random() < plan.following_share for _ in range(count - 1))
    heard = [(at_ms, places.hot()) for at_ms in moments(site, plan, count - following, SHOOTING, rng)]
    for _ in range(following):
        at_ms, (lat, lon) = bursts.choice(heard)
        heard.append((at_ms + round(1000 * drawn(FOLLOWING_S, bursts)), _aside(lat, lon, bursts)))
    return sorted((at_ms, place) for at_ms, place in heard if at_ms < plan.end_ms)


def _aside(lat: float, lon: float, rng: random.Random) -> tuple[float, float]:
    away_m, bearing = drawn(FOLLOWING_M, rng), rng.uniform(0, 2 * pi)
    north, east = away_m * cos(bearing) / _DEGREE_M, away_m * sin(bearing) / _DEGREE_M
    return round(lat + north, 5), round(lon + east / cos(radians(lat)), 5)


def _shot(
    alert_id: str, occurred_at_ms: int, place: tuple[float, float], plan: CityPlan, rng: random.Random
) -> list[Mapping[str, Any]]:
    """Return a shot as first heard, and as reviewed."""
    kind = rng.choices(_KINDS, _KIND_WEIGHTS)[0]
    shots = rng.randrange(2, 16)
    heard = {
        "alert_id": alert_id,
        "revision": 0,
        "status": "unreviewed",
        "kind": kind,
        "occurred_at_ms": occurred_at_ms,
        "lat": place[0],
        "lon": place[1],
        "uncertainty_m": 25,
        "source": "simulated",
    }
    dismissed, reclassified = rng.random() < plan.dismissed_share, rng.random() < plan.reclassified_share
    other = rng.choice([one for one in _KINDS if one != kind])
    reviewed = heard | {"revision": 1, "status": "dismissed" if dismissed else "confirmed"}
    reviewed["kind"] = other if reclassified and not dismissed else kind
    return [_with_rounds(heard, shots), _with_rounds(reviewed, shots)]


def _with_rounds(shot: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Say how many rounds were fired, where the kind of the alert says that they were counted."""
    match shot["kind"]:
        case "single_gunshot":
            return shot | {"rounds": 1}
        case "multiple_gunshots":
            return shot | {"rounds": rounds}
        case _:
            return shot


def shot_stamps(plan: CityPlan, alerts: Alerts) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Yield stamp in ms, alert id and value of each revision of each alert."""
    rng = random.Random(f"{plan.seed}/shot stamps")
    for alert_id, revisions in alerts.items():
        stamp_ms = 0
        for shot in revisions:
            heard_ms = int(shot["occurred_at_ms"]) + rng.randrange(5_000, 30_000)
            stamp_ms = max(heard_ms, stamp_ms + rng.randrange(15_000, 60_000))
            yield stamp_ms, alert_id, dict(shot)


def shootings(alerts: Alerts) -> list[list[str]]:
    """Return the ids of the alerts, in order of time, those together that are one shooting heard as several."""
    groups: list[list[str]] = []
    for alert_id, revisions in alerts.items():
        own = next(
            (group for group in reversed(groups[-4:]) if _same_shooting(alerts[group[0]][0], revisions[0])), None
        )
        if own is None:
            groups.append([alert_id])
        else:
            own.append(alert_id)
    return groups


def _same_shooting(first: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    near = distance_m(first["lat"], first["lon"], other["lat"], other["lon"]) <= _ONE_SHOOTING_M
    return near and 0 <= other["occurred_at_ms"] - first["occurred_at_ms"] <= _ONE_SHOOTING_MS
