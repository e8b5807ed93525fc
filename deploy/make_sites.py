"""Makes the site files that travel with rampwatch: ramps and zones from open data.

    python -m deploy.make_sites DATA_FOLDER OUT_FOLDER

``DATA_FOLDER`` holds ``hartford`` and ``kansas-city``, each with ``neighborhoods.geojson`` and
``interchanges.csv``. The same input gives the same bytes. Neighbourhoods become zones in their order. An
interchange is known by one point on the centreline only, so its four ramps, off and on in each direction of
travel, are placed by rule: along the road's bearing 150 m before the point (off) and 150 m behind it (on),
25 m to the right of travel.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterator
from math import atan2, cos, degrees, radians, sin
from pathlib import Path
from typing import Any, NamedTuple

from shapely import MultiPolygon, make_valid
from shapely.geometry import mapping, shape

from streams.core.geo import EARTH_RADIUS_M
from streams.core.site import read_site

ALONG_M = 150
TO_THE_RIGHT_M = 25
DECIMALS = 6  # 0.1 m
OPPOSITE = {"N": "S", "S": "N", "E": "W", "W": "E"}

Feature = dict[str, Any]


class Place(NamedTuple):
    """What differs between the cities: names, provenance, and how the columns of their files are called."""

    name: str
    title: str
    time_zone: str
    road_column: str
    name_property: str
    headings: dict[str, str]
    """Each road's sign-posted direction of travel in the order of the file."""
    source: str
    remark: str = ""


INTERCHANGES = "interchanges: centreline points, facts from the TravelMapping project."
PLACES = (
    Place(
        name="hartford",
        title="Hartford, Connecticut",
        time_zone="America/New_York",
        road_column="route",
        name_property="name",
        headings={"I-84": "E", "I-91": "N", "I-291": "E"},
        source=f"Neighbourhoods: open data of Hartford and West Hartford; {INTERCHANGES}",
        remark=" Exit numbers are those in use before Connecticut renumbered its exits by mile.",
    ),
    Place(
        name="kansas-city",
        title="Kansas City, Missouri",
        time_zone="America/Chicago",
        road_column="road",
        name_property="nbhname",
        headings={"I-70": "E", "US-71": "N", "I-435": "S", "I-35": "N"},
        source=f"Neighbourhoods: open data of Kansas City; {INTERCHANGES}",
    ),
)
LICENCE = (
    "Neighbourhoods: city open data, no licence text came with them; interchanges: facts only; placement of "
    "ramps: MIT, as rampwatch."
)
NOTE = (
    "Ramp positions are approximate: placed by rule around one centreline point per interchange, without a "
    "survey, whether or not a ramp is there. For demonstrations and tests, not for operations."
)


class Interchange(NamedTuple):
    """A point on the centreline, degrees; the road's bearing there, radians clockwise from north."""

    road: str
    exit: str
    lat: float
    lon: float
    bearing: float


def interchanges(path: Path, place: Place) -> Iterator[Interchange]:
    """Yield the interchanges of a file, whose rows follow each road."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for road in dict.fromkeys(row[place.road_column] for row in rows):
        exits = [row["exit"] for row in rows if row[place.road_column] == road]
        points = [(float(row["lat"]), float(row["lon"])) for row in rows if row[place.road_column] == road]
        for index, (lat, lon) in enumerate(points):
            before, after = points[max(0, index - 1)], points[min(len(points) - 1, index + 1)]
            north, east = after[0] - before[0], (after[1] - before[1]) * cos(radians(lat))
            yield Interchange(road, exits[index], lat, lon, atan2(east, north))


def ramps(interchange: Interchange, heading: str) -> Iterator[Feature]:
    """Yield the off- and the on-ramp of both directions of travel."""
    bearings = {heading: interchange.bearing, OPPOSITE[heading]: interchange.bearing + radians(180)}
    for travel, bearing in bearings.items():
        for direction, along_m in (("off", -ALONG_M), ("on", ALONG_M)):
            lat, lon = moved(interchange, bearing, along_m, TO_THE_RIGHT_M)
            exit_slug = re.sub(r"[^A-Za-z0-9]+", "-", interchange.exit).strip("-")
            yield feature(
                {
                    "ramp_id": f"{interchange.road}-{travel}-{exit_slug}-{direction}",
                    "road": interchange.road,
                    "exit": interchange.exit,
                    "direction": direction,
                    "travel": travel,
                    "approximate": True,
                },
                {"type": "Point", "coordinates": [lon, lat]},
            )


def moved(start: Interchange, bearing: float, along_m: float, right_m: float) -> tuple[float, float]:
    """Return latitude and longitude so far along a bearing and to the right of it, on a flat Earth."""
    north_m = along_m * cos(bearing) - right_m * sin(bearing)
    east_m = along_m * sin(bearing) + right_m * cos(bearing)
    lat = start.lat + degrees(north_m / EARTH_RADIUS_M)
    lon = start.lon + degrees(east_m / (EARTH_RADIUS_M * cos(radians(start.lat))))
    return round(lat, DECIMALS), round(lon, DECIMALS)


def zones(path: Path, place: Place) -> Iterator[Feature]:
    """Yield a zone for each neighbourhood; the nameless are called by their number."""
    taken: set[str] = set()
    for source in json.loads(path.read_text(encoding="utf-8"))["features"]:
        properties = source["properties"]
        name = (properties[place.name_property] or "").strip()
        name = name or f"Unnamed {int(float(properties['objectid']))}"
        geometry, repaired = polygons(source["geometry"])
        described = {"zone_id": free_slug(name, taken), "name": name}
        if "town" in properties:
            described["town"] = properties["town"]
        yield feature(described | ({"repaired": True} if repaired else {}), geometry)


def free_slug(name: str, taken: set[str]) -> str:
    """Return the name in small letters and hyphens, numbered from 2 where that is taken, and take it."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    number, free = 1, slug
    while free in taken:
        number += 1
        free = f"{slug}-{number}"
    taken.add(free)
    return free


def polygons(geometry: Feature) -> tuple[Feature, bool]:
    """Return the geometry without height, rounded, and valid; and whether it had to be repaired for that."""
    flat = rounded(geometry["coordinates"])
    outline, repaired = shape({"type": geometry["type"], "coordinates": flat}), False
    # What is repaired has new corners, where lines crossed; rounding those can, rarely, break it again. What
    # three rounds do not mend is refused when the file is read back.
    for _ in range(3):
        if outline.is_valid:
            break
        parts = [part for part in parts_of(make_valid(outline)) if part.geom_type == "Polygon"]
        corners = mapping(MultiPolygon(parts))["coordinates"]
        outline, repaired = shape({"type": "MultiPolygon", "coordinates": rounded(corners)}), True
    if outline.geom_type == "MultiPolygon" and len(outline.geoms) == 1:
        outline = outline.geoms[0]
    return mapping(outline), repaired


def parts_of(geometry: Any) -> Iterator[Any]:  # noqa: ANN401 - shapely's geometries are not typed
    """Yield the simple geometries that a collection consists of."""
    for part in getattr(geometry, "geoms", [geometry]):
        yield from parts_of(part) if hasattr(part, "geoms") else [part]


def rounded(coordinates: Any) -> Any:  # noqa: ANN401 - GeoJSON nests them as deep as the geometry needs
    """Return coordinates of any depth, longitude and latitude only, rounded."""
    if isinstance(coordinates[0], int | float):
        return [round(float(number), DECIMALS) for number in coordinates[:2]]
    return [rounded(part) for part in coordinates]


def feature(properties: Feature, geometry: Feature) -> Feature:
    """Return a GeoJSON Feature."""
    return {"type": "Feature", "properties": properties, "geometry": geometry}


def site_file(folder: Path, place: Place) -> bytes:
    """Return a site file, one feature a line."""
    head = {
        "type": "FeatureCollection",
        "name": place.name,
        "title": place.title,
        "time_zone": place.time_zone,
        "source": place.source,
        "licence": LICENCE,
        "note": NOTE + place.remark,
    }
    known = list(interchanges(folder / "interchanges.csv", place))
    features = [ramp for interchange in known for ramp in ramps(interchange, place.headings[interchange.road])]
    features += zones(folder / "neighborhoods.geojson", place)
    lines = [json.dumps(one, ensure_ascii=False, separators=(",", ":")) for one in features]
    top = json.dumps(head, ensure_ascii=False, indent=1)
    return (top.removesuffix("\n}") + ',\n "features": [\n' + ",\n".join(lines) + "\n]}\n").encode()


def main(arguments: list[str]) -> int:
    """Write a file for each place, after reading it as the worker will."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m deploy.make_sites DATA_FOLDER OUT_FOLDER\n")
        return 2
    data, out = map(Path, arguments)
    for place in PLACES:
        raw = site_file(data / place.name, place)
        site = read_site(raw, place.name)
        (out / f"{place.name}.geojson").write_bytes(raw)
        sys.stdout.write(f"{place.name}: {len(site.ramps)} ramps, {len(site.zones)} zones, {len(raw)} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
