"""Site files: where a place's ramps are, which zones it has, and its time zone.

A site file is GeoJSON: a FeatureCollection with the top-level member ``time_zone``. Positions are
[longitude, latitude], WGS 84. Points are ramps; Polygons and MultiPolygons are zones. Other members
and properties are ignored.

A file with a mistake is rejected as a whole, with a message that says where the mistake is. A ramp
left out silently would make its reads dead letters, and a zone left out would move its shots
elsewhere.

Zones may overlap and share edges. A place belongs to the first zone in file order that covers it,
edge included, so every place has exactly one zone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from streams.core.errors import RampwatchError

# Importing shapely takes a quarter of a second, so it is imported only where polygons are checked
# or looked up.
if TYPE_CHECKING:
    from shapely import MultiPolygon, STRtree

CITY = "city"
"""The zone id of the whole site and of places in no polygon; no polygon may use it."""

MAX_ID_CHARACTERS = 128

Position = tuple[float, float]
"""Longitude and latitude in degrees, in GeoJSON's order."""
Polygon = tuple[tuple[Position, ...], ...]
"""Rings: the outline, then the holes; a ring ends with its first position."""

_RampOrZone = TypeVar("_RampOrZone", "Ramp", "Zone")


class SiteError(RampwatchError):
    """A site file that cannot be used; the message gives the place, the fault and the remedy."""


class Ramp(msgspec.Struct, frozen=True):
    """A highway on- or off-ramp; latitude and longitude in degrees."""

    ramp_id: str
    road: str
    exit: str
    direction: Literal["on", "off"]
    lat: float
    lon: float


class Zone(msgspec.Struct, frozen=True):
    """A part of the city with its own counters; ``geometry`` has its polygons, often just one."""

    zone_id: str
    name: str
    geometry: tuple[Polygon, ...]


@dataclass(frozen=True, eq=False)
class Site:
    """Ramps by id, zones in file order, and the IANA time zone of the local days.

    ``title`` and ``note`` are shown to people. ``approximate``: at least one ramp's position is
    approximate.
    """

    name: str
    time_zone: str
    ramps: dict[str, Ramp]
    zones: tuple[Zone, ...] = ()
    title: str = ""
    note: str = ""
    approximate: bool = False

    def zone_at(self, lat: float, lon: float) -> str:
        """Return the id of the first zone that covers the place, edge included, or ``city``."""
        if not self.zones:
            return CITY
        from shapely import Point

        covering = self._tree.query(Point(lon, lat), predicate="covered_by")
        return self.zones[int(covering.min())].zone_id if covering.size else CITY

    @cached_property
    def digest(self) -> str:
        """SHA-256 in hexadecimal of what results depend on: time zone, ramps, zones in file order.

        White space, notes, titles, other properties and the order of ramps do not change it.
        """
        content = {
            "ramps": [msgspec.to_builtins(self.ramps[ramp_id]) for ramp_id in sorted(self.ramps)],
            "time_zone": self.time_zone,
            "zones": [msgspec.to_builtins(zone) for zone in self.zones],
        }
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @cached_property
    def _tree(self) -> STRtree:
        from shapely import STRtree

        return STRtree([_shape(zone.geometry) for zone in self.zones])


def read_site(raw: bytes, name: str) -> Site:
    """Return the site in a file, called ``name`` in messages; raises `SiteError`."""
    document = _document(raw, name)
    time_zone = _time_zone(document, name)
    ramps: dict[str, Ramp] = {}
    zones: dict[str, Zone] = {}
    approximate = False
    for index, value in enumerate(document["features"]):
        feature = _Feature(name, index, value)
        if feature.kind == "Point":
            ramp = _ramp(feature)
            _add(feature, ramps, ramp.ramp_id, ramp)
            approximate = approximate or feature.properties.get("approximate") is True
        elif feature.kind in ("Polygon", "MultiPolygon"):
            zone = _zone(feature)
            _add(feature, zones, zone.zone_id, zone)
        else:
            feature.reject(
                f"has the geometry {_shown(feature.kind)}",
                "use a Point for a ramp, a Polygon or MultiPolygon for a zone",
            )
    if not ramps:
        raise SiteError(
            f"The site file {name} has no ramp: add at least one Point with ramp_id, road, exit, direction."
        )
    return Site(
        name=name,
        time_zone=time_zone,
        ramps=ramps,
        zones=tuple(zones.values()),
        title=_text_or_empty(document.get("title")),
        note=_text_or_empty(document.get("note")),
        approximate=approximate,
    )


def _document(raw: bytes, name: str) -> dict[str, Any]:
    try:
        # Some editors write a byte order mark, which JSON does not allow.
        document = msgspec.json.decode(raw.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SiteError(f"The site file {name} is not JSON ({error}): save it as GeoJSON in UTF-8.") from error
    if not isinstance(document, dict) or document.get("type") != "FeatureCollection":
        kind = _shown(document.get("type")) if isinstance(document, dict) else "missing"
        raise SiteError(
            f'The site file {name} is not a GeoJSON FeatureCollection: its "type" is {kind}; '
            'make it {"type": "FeatureCollection", "time_zone": …, "features": […]}.'
        )
    if not isinstance(document.get("features"), list):
        raise SiteError(f'The site file {name} has no list "features": add one with the ramps and zones.')
    return document


def _time_zone(document: dict[str, Any], name: str) -> str:
    key = document.get("time_zone")
    remedy = 'set the top-level member "time_zone" to an IANA name such as "America/New_York".'
    if key is None:
        raise SiteError(f"The site file {name} has no time zone: {remedy}")
    # "localtime" depends on the machine, so two workers might count different days.
    if not isinstance(key, str) or key == "localtime" or not _is_time_zone(key):
        raise SiteError(f"The site file {name} has the unknown time zone {_shown(key)}: {remedy}")
    return key


def _is_time_zone(key: str) -> bool:
    try:
        ZoneInfo(key)
    except (LookupError, ValueError, OSError):
        return False
    return True


class _Feature:
    """One member of ``features`` while it is read, and how to report what is wrong with it."""

    def __init__(self, site: str, index: int, value: object) -> None:
        self.where = f"The site file {site}: feature {index}"
        if not isinstance(value, dict):
            self.reject("is not an object", 'make it {"type": "Feature", "geometry": …, "properties": …}')
        geometry, properties = value.get("geometry"), value.get("properties")
        self.properties: dict[str, Any] = properties if isinstance(properties, dict) else {}
        for key in ("ramp_id", "zone_id"):
            if key in self.properties:
                self.where += f" ({key} {_shown(self.properties[key])})"
        self.kind: object = geometry.get("type") if isinstance(geometry, dict) else None
        self.coordinates: object = geometry.get("coordinates") if isinstance(geometry, dict) else None

    def reject(self, fault: str, remedy: str) -> NoReturn:
        raise SiteError(f"{self.where} {fault}: {remedy}.")

    def text(self, key: str, max_characters: int | None = None) -> str:
        """Return a required property: a string that is not empty or blank."""
        value = self.properties.get(key)
        if value is None:
            self.reject(f"has no {key}", f'add the property "{key}", a string that is not empty')
        if not isinstance(value, str) or not value.strip():
            self.reject(f"has the {key} {_shown(value)}", "make it a string that is not empty")
        if max_characters is not None and len(value) > max_characters:
            self.reject(f"has a {key} of {len(value)} characters", f"shorten it to at most {max_characters}")
        return value


def _add(feature: _Feature, known: dict[str, _RampOrZone], key: str, value: _RampOrZone) -> None:
    if key in known:
        feature.reject("repeats the id of an earlier feature", "give each ramp and each zone its own id")
    known[key] = value


def _ramp(feature: _Feature) -> Ramp:
    ramp_id = feature.text("ramp_id", MAX_ID_CHARACTERS)
    road, exit_ = feature.text("road", 500), feature.text("exit", 500)
    direction = feature.text("direction")
    if direction not in ("on", "off"):
        feature.reject(
            f"has the direction {_shown(direction)}",
            'write "on" where cars enter the highway, "off" where they leave it',
        )
    lon, lat = _position(feature, feature.coordinates)
    on_or_off: Literal["on", "off"] = "on" if direction == "on" else "off"
    return Ramp(ramp_id=ramp_id, road=road, exit=exit_, direction=on_or_off, lat=lat, lon=lon)


def _zone(feature: _Feature) -> Zone:
    zone_id, name = feature.text("zone_id", MAX_ID_CHARACTERS), feature.text("name")
    if zone_id == CITY:
        feature.reject(
            f'has the zone_id "{CITY}", which is reserved for the whole site',
            "give the zone another id",
        )
    if feature.kind == "Polygon":
        geometry: tuple[Polygon, ...] = (_polygon(feature, feature.coordinates),)
    else:
        geometry = _each(feature, feature.coordinates, "MultiPolygon", "polygon", _polygon)
    from shapely import is_valid_reason

    reason = is_valid_reason(_shape(geometry))
    if reason != "Valid Geometry":
        feature.reject(
            f"is not a valid polygon ({reason})",
            "repair it, for example with shapely's make_valid",
        )
    return Zone(zone_id=zone_id, name=name, geometry=geometry)


def _polygon(feature: _Feature, value: object) -> Polygon:
    return _each(feature, value, "polygon", "ring", _ring)


def _ring(feature: _Feature, value: object) -> tuple[Position, ...]:
    ring = _each(feature, value, "ring", "position", _position)
    if len(ring) < 4 or ring[0] != ring[-1]:
        feature.reject(
            f"has a ring of {len(ring)} positions from {ring[0]} to {ring[-1]}",
            "give a ring at least four positions, the last equal to the first",
        )
    return ring


_Part = TypeVar("_Part")


def _each(
    feature: _Feature, value: object, whole: str, part: str, read: Callable[[_Feature, object], _Part]
) -> tuple[_Part, ...]:
    if not isinstance(value, list) or not value:
        feature.reject(f"has a {whole} without any {part}", "nest the coordinates as GeoJSON does")
    return tuple(read(feature, item) for item in value)


def _position(feature: _Feature, value: object) -> Position:
    if not isinstance(value, list) or not 2 <= len(value) <= 3 or not all(map(_is_number, value)):
        feature.reject(f"has the position {_shown(value)}", "write it as [longitude, latitude] in degrees")
    lon, lat = value[0], value[1]
    # Compared before conversion: an integer may be too large for a float.
    if not (-180 <= lon <= 180 and -90 <= lat <= 90):
        feature.reject(
            f"has the position {_shown([lon, lat])}, which is not on Earth",
            "write it as [longitude, latitude] in degrees, within ±180 and ±90",
        )
    return float(lon), float(lat)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shape(geometry: tuple[Polygon, ...]) -> MultiPolygon:
    from shapely import MultiPolygon

    return MultiPolygon([(rings[0], rings[1:]) for rings in geometry])


def _text_or_empty(value: object) -> str:
    return value if isinstance(value, str) else ""


def _shown(value: object) -> str:
    """Return a value as JSON, shortened to fit a message."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:79] + "…"
