"""Whether events fit a site: places near it, ramps and zones that it has.

A shot that lies in no zone and farther than the join's ``max_distance_m`` from every ramp can be
counted in no zone and linked to no car. One such shot is a mistake of its sender; where most shots
are like that, they belong to another site.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final, TypeVar

from streams.core.geo import distance_m
from streams.core.site import CITY, Site

_SAMPLE: Final = 1_000
"""Events looked at: evenly spaced ones of a longer list, so that the check takes no time."""
_SHOTS_MIN: Final = 3
"""Of shots elsewhere. One or two may be typing errors, and one evening may have only a few."""
_READS_MIN: Final = 10
"""Of reads with unknown ramps. A new ramp, not yet in the site file, soon has a few."""
_RAMP_FAR_M: Final = 100_000
"""From the box around all zones. Regional sites have ramps 20 km away; a typing error in a degree
is 80 km or more."""

_Item = TypeVar("_Item")
Place = tuple[float, float]
"""Latitude and longitude in degrees."""


def sample(items: Sequence[_Item]) -> Sequence[_Item]:
    """Return at most about a thousand evenly spaced items."""
    return items[:: max(1, -(-len(items) // _SAMPLE))]


def is_near(site: Site, place: Place, max_distance_m: int) -> bool:
    """Return whether a place lies in a zone of the site or near one of its ramps.

    A site without zones is what lies between its ramps.
    """
    if not site.zones:
        return _from_box_m(_box([(ramp.lat, ramp.lon) for ramp in site.ramps.values()]), place) <= max_distance_m
    if site.zone_at(*place) != CITY:
        return True
    return any(distance_m(*place, ramp.lat, ramp.lon) <= max_distance_m for ramp in site.ramps.values())


def shots_elsewhere(site: Site, places: Collection[Place], max_distance_m: int) -> int:
    """Return how many shots lie elsewhere; 0 if it is not most of them, or fewer than three."""
    return _most(sum(not is_near(site, place, max_distance_m) for place in places), len(places), _SHOTS_MIN)


def unknown_ramps(site: Site, ramp_ids: Collection[str]) -> int:
    """Return how many reads have a ramp that the site lacks; 0 if not most, or fewer than ten."""
    return _most(sum(ramp_id not in site.ramps for ramp_id in ramp_ids), len(ramp_ids), _READS_MIN)


def unknown_zones(site: Site, zone_ids: Iterable[str]) -> int:
    """Return how many of the zones the site lacks, or 0 if it is not most of them."""
    named = set(zone_ids) - {CITY}
    return _most(len(named - {zone.zone_id for zone in site.zones}), len(named), 1)


def _most(found: int, total: int, least: int) -> int:
    return found if found >= least and 2 * found > total else 0


def far_ramps(site: Site) -> list[str]:
    """Return the ids of ramps more than 100 km from the box around all zones; none without zones.

    A ramp in the wrong place is not an error of the file's form, so a site with one is accepted.
    """
    corners = [(lat, lon) for zone in site.zones for polygon in zone.geometry for ring in polygon for lon, lat in ring]
    if not corners:
        return []
    box = _box(corners)
    return [ramp.ramp_id for ramp in site.ramps.values() if _from_box_m(box, (ramp.lat, ramp.lon)) > _RAMP_FAR_M]


def _box(places: Collection[Place]) -> tuple[Place, Place]:
    """Return the south-western and the north-eastern corner of the box around some places."""
    lats, lons = zip(*places, strict=True)
    return (min(lats), min(lons)), (max(lats), max(lons))


def _from_box_m(box: tuple[Place, Place], place: Place) -> int:
    """Return the distance of a place from a box; 0 inside it."""
    (south, west), (north, east) = box
    lat, lon = place
    return distance_m(lat, lon, min(max(lat, south), north), min(max(lon, west), east))
