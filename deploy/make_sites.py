"""Makes the site files that are part of rampwatch: ramps and zones from open data.

    python -m deploy.make_sites DATA_FOLDER OUT_FOLDER

``DATA_FOLDER`` contains the folders ``hartford`` and ``kansas-city``, each with
``neighborhoods.geojson`` and ``interchanges.csv``. The same input gives the same bytes.
Neighbourhoods become zones, in the order of their file. The data have only one point on the
centreline per interchange. So its four ramps, off and on in each direction of travel, are placed by
rule: 150 m before the point (off) or 150 m after it (on), and 25 m to the right of the centreline.
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
"""A GeoJSON feature or geometry."""


class SiteSpec(NamedTuple):
    """Names, provenance, and column names of the source files of one site."""

    name: str
    title: str
    time_zone: str
    road_column: str
    name_property: str
    headings: dict[str, str]
    """Signposted direction of travel of each road, in the order of its rows in the file."""
    source: str
    remark: str = ""


INTERCHANGES = "interchanges: centreline points, facts from the TravelMapping project."
SITES = (
    SiteSpec(
        name="hartford",
        title="Hartford, Connecticut",
        time_zone="America/New_York",
        road_column="route",
        name_property="name",
        headings={"I-84": "E", "I-91": "N", "I-291": "E"},
        source=f"Neighbourhoods: open data of Hartford and West Hartford; {INTERCHANGES}",
        remark=" Exit numbers are those in use before Connecticut renumbered its exits by mile.",
    ),
    SiteSpec(
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
    """A point on the centreline, and the road's bearing there in radians clockwise from north."""

    road: str
    exit: str
    lat: float
    lon: float
    bearing: float


def interchanges(path: Path, spec: SiteSpec) -> Iterator[Interchange]:
    """Yield the interchanges of a file whose rows are in order along each road."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for road in dict.fromkeys(row[spec.road_column] for row in rows):
        exits = [row["exit"] for row in rows if row[spec.road_column] == road]
        points = [(float(row["lat"]), float(row["lon"])) for row in rows if row[spec.road_column] == road]
        for index, (lat, lon) in enumerate(points):
            before, after = points[max(0, index - 1)], points[min(len(points) - 1, index + 1)]
            north, east = after[0] - before[0], (after[1] - before[1]) * cos(radians(lat))
            yield Interchange(road, exits[index], lat, lon, atan2(east, north))


def ramps(interchange: Interchange, heading: str) -> Iterator[Feature]:
    """Yield the off-ramp and the on-ramp of each direction of travel."""
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
    """Return the point this far along a bearing and to its right, on a flat Earth."""
    north_m = along_m * cos(bearing) - right_m * sin(bearing)
    east_m = along_m * sin(bearing) + right_m * cos(bearing)
    lat = start.lat + degrees(north_m / EARTH_RADIUS_M)
    lon = start.lon + degrees(east_m / (EARTH_RADIUS_M * cos(radians(start.lat))))
    return round(lat, DECIMALS), round(lon, DECIMALS)


def zones(path: Path, spec: SiteSpec) -> Iterator[Feature]:
    """Yield a zone for each neighbourhood; those without a name are named by their number."""
    used: set[str] = set()
    for neighbourhood in json.loads(path.read_text(encoding="utf-8"))["features"]:
        properties = neighbourhood["properties"]
        name = (properties[spec.name_property] or "").strip()
        name = name or f"Unnamed {int(float(properties['objectid']))}"
        geometry, repaired = polygons(neighbourhood["geometry"])
        described = {"zone_id": unused_slug(name, used), "name": name}
        if "town" in properties:
            described["town"] = properties["town"]
        yield feature(described | ({"repaired": True} if repaired else {}), geometry)


def unused_slug(name: str, used: set[str]) -> str:
    """Return the name in lower case with hyphens, and add it to ``used``.

    If that slug is used already, a number from 2 on is appended.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    number, unused = 1, slug
    while unused in used:
        number += 1
        unused = f"{slug}-{number}"
    used.add(unused)
    return unused


def polygons(geometry: Feature) -> tuple[Feature, bool]:
    """Return the geometry without heights, rounded and valid, and whether it had to be repaired."""
    flat = rounded(geometry["coordinates"])
    outline, repaired = shape({"type": geometry["type"], "coordinates": flat}), False
    # A repair adds corners where lines crossed. Rounding these can, rarely, make the geometry
    # invalid again. If it is still invalid after three rounds, reading the file back fails.
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
    """Yield the simple geometries of a collection, however nested."""
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


def site_file(folder: Path, spec: SiteSpec) -> bytes:
    """Return a site file with one feature per line."""
    head = {
        "type": "FeatureCollection",
        "name": spec.name,
        "title": spec.title,
        "time_zone": spec.time_zone,
        "source": spec.source,
        "licence": LICENCE,
        "note": NOTE + spec.remark,
    }
    points = list(interchanges(folder / "interchanges.csv", spec))
    features = [ramp for interchange in points for ramp in ramps(interchange, spec.headings[interchange.road])]
    features += zones(folder / "neighborhoods.geojson", spec)
    lines = [json.dumps(item, ensure_ascii=False, separators=(",", ":")) for item in features]
    top = json.dumps(head, ensure_ascii=False, indent=1)
    return (top.removesuffix("\n}") + ',\n "features": [\n' + ",\n".join(lines) + "\n]}\n").encode()


def main(arguments: list[str]) -> int:
    """Write the file of each site, after checking that it can be read as a site file."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m deploy.make_sites DATA_FOLDER OUT_FOLDER\n")
        return 2
    data, out = map(Path, arguments)
    for spec in SITES:
        raw = site_file(data / spec.name, spec)
        site = read_site(raw, spec.name)
        (out / f"{spec.name}.geojson").write_bytes(raw)
        sys.stdout.write(f"{spec.name}: {len(site.ramps)} ramps, {len(site.zones)} zones, {len(raw)} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
