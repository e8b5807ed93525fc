"""What a site file says about a place: where its ramps are, which zones it has, and by which clock it lives.

A site file is GeoJSON (a FeatureCollection; positions are [longitude, latitude], WGS 84) with the top-level
member ``time_zone``. Points are ramps, Polygons and MultiPolygons are zones; further members and properties
are ignored. A file with a mistake is refused as a whole, in a sentence that says where the mistake is: a
ramp left out silently would turn its reads into dead letters, a zone left out would move its shots
elsewhere.

Zones may overlap and share edges. The first one in file order that covers a place has it, its edge
included, so that every place has exactly one zone.
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

# shapely takes a quarter of a second to import: that happens where polygons are checked and looked up, so
# that whoever only wants the types need not wait.
if TYPE_CHECKING:
    from shapely import MultiPolygon, STRtree

CITY = "city"
"""The zone id of everything, and of what lies in no polygon; no polygon may use it."""

MAX_ID_CHARACTERS = 128

Position = tuple[float, float]
"""Longitude, latitude in degrees: GeoJSON's order."""
Polygon = tuple[tuple[Position, ...], ...]
"""Rings: the outline, then the holes; the last position of a ring is its first."""

_Placed = TypeVar("_Placed", "Ramp", "Zone")


class SiteError(RampwatchError):
    """A site file cannot be used; the message says which, where in it, why, and what to do."""


class Ramp(msgspec.Struct, frozen=True):
    """A highway on- or off-ramp; latitude and longitude in degrees."""

    ramp_id: str
    road: str
    exit: str
    direction: Literal["on", "off"]
    lat: float
    lon: float


class Zone(msgspec.Struct, frozen=True):
    """A part of the city with counters of its own; ``geometry`` is a tuple of its polygons, often just
    one."""

    zone_id: str
    name: str
    geometry: tuple[Polygon, ...]


@dataclass(frozen=True, eq=False)
class Site:
    """Ramps by id, zones in file order, and the IANA time zone whose midnights end the local days.

    ``title`` and ``note`` are for people; ``approximate``: at least one ramp's position is only roughly
    right.
    """

    name: str
    time_zone: str
    ramps: dict[str, Ramp]
    zones: tuple[Zone, ...] = ()
    title: str = ""
    note: str = ""
    approximate: bool = False

    def zone_at(self, lat: float, lon: float) -> str:
        """Return the id of the first zone that covers the place, edge included, or ``city`` if none does."""
        if not self.zones:
            return CITY
        from shapely import Point

        covering = self._tree.query(Point(lon, lat), predicate="covered_by")
        return self.zones[int(covering.min())].zone_id if covering.size else CITY

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hex, of what results depend on: time zone, ramps, zones in their order.

        White space, notes, titles, further properties and the order of ramps do not change it.
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
    """Read a site file; ``name`` is what messages call it. Raises SiteError for whatever does not fit."""
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
            feature.refuse(
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
        # Some editors begin a file with a byte order mark; JSON has no place for it.
        document = msgspec.json.decode(raw.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SiteError(f"The site file {name} is not JSON ({error}): save it as GeoJSON in UTF-8.") from error
    if not isinstance(document, dict) or document.get("type") != "FeatureCollection":
        found = _shown(document.get("type")) if isinstance(document, dict) else "no object"
        raise SiteError(
            f'The site file {name} is no GeoJSON FeatureCollection: its "type" is {found}; '
            'make it {"type": "FeatureCollection", "time_zone": …, "features": […]}.'
        )
    if not isinstance(document.get("features"), list):
        raise SiteError(f'The site file {name} has no list "features": add one with its ramps and zones.')
    return document


def _time_zone(document: dict[str, Any], name: str) -> str:
    key = document.get("time_zone")
    remedy = 'set the top-level member "time_zone" to an IANA name such as "America/New_York".'
    if key is None:
        raise SiteError(f"The site file {name} has no time zone: {remedy}")
    # "localtime" is whatever the machine is set to: two workers would count different days.
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
    """One member of ``features`` while it is read: knows how to say what is wrong with it."""

    def __init__(self, site: str, index: int, value: object) -> None:
        self.where = f"The site file {site}: feature {index}"
        if not isinstance(value, dict):
            self.refuse("is no object", 'make it {"type": "Feature", "geometry": …, "properties": …}')
        geometry, properties = value.get("geometry"), value.get("properties")
        self.properties: dict[str, Any] = properties if isinstance(properties, dict) else {}
        for key in ("ramp_id", "zone_id"):
            if key in self.properties:
                self.where += f" ({key} {_shown(self.properties[key])})"
        self.kind: object = geometry.get("type") if isinstance(geometry, dict) else None
        self.coordinates: object = geometry.get("coordinates") if isinstance(geometry, dict) else None

    def refuse(self, what: str, remedy: str) -> NoReturn:
        raise SiteError(f"{self.where} {what}: {remedy}.")

    def text(self, key: str, max_characters: int | None = None) -> str:
        """Return a property that has to be there and say something."""
        value = self.properties.get(key)
        if value is None:
            self.refuse(f"has no {key}", f'add the property "{key}", a string that is not empty')
        if not isinstance(value, str) or not value.strip():
            self.refuse(f"has the {key} {_shown(value)}", "make it a string that is not empty")
        if max_characters is not None and len(value) > max_characters:
            self.refuse(f"has a {key} of {len(value)} characters", f"shorten it to {max_characters} at the most")
        return value


def _add(feature: _Feature, known: dict[str, _Placed], key: str, placed: _Placed) -> None:
    if key in known:
        feature.refuse("has an id that an earlier feature has already", "give each ramp and zone its own")
    known[key] = placed


def _ramp(feature: _Feature) -> Ramp:
    ramp_id = feature.text("ramp_id", MAX_ID_CHARACTERS)
    road, exit_ = feature.text("road", 500), feature.text("exit", 500)
    direction = feature.text("direction")
    if direction not in ("on", "off"):
        feature.refuse(
            f"has the direction {_shown(direction)}",
            'write "on" where cars enter the highway, "off" where they leave it',
        )
    lon, lat = _position(feature, feature.coordinates)
    on_or_off: Literal["on", "off"] = "on" if direction == "on" else "off"
    return Ramp(ramp_id=ramp_id, road=road, exit=exit_, direction=on_or_off, lat=lat, lon=lon)


def _zone(feature: _Feature) -> Zone:
    zone_id, name = feature.text("zone_id", MAX_ID_CHARACTERS), feature.text("name")
    if zone_id == CITY:
        feature.refuse(
            f'has the zone_id "{CITY}", which is reserved for everything and for places in no polygon',
            "call the zone something else",
        )
    if feature.kind == "Polygon":
        geometry: tuple[Polygon, ...] = (_polygon(feature, feature.coordinates),)
    else:
        geometry = _each(feature, feature.coordinates, "MultiPolygon", "polygon", _polygon)
    from shapely import is_valid_reason

    reason = is_valid_reason(_shape(geometry))
    if reason != "Valid Geometry":
        feature.refuse(
            f"is no valid polygon ({reason})",
            "repair it, for instance with shapely's make_valid, and save it anew",
        )
    return Zone(zone_id=zone_id, name=name, geometry=geometry)


def _polygon(feature: _Feature, value: object) -> Polygon:
    return _each(feature, value, "polygon", "ring", _ring)


def _ring(feature: _Feature, value: object) -> tuple[Position, ...]:
    ring = _each(feature, value, "ring", "position", _position)
    if len(ring) < 4 or ring[0] != ring[-1]:
        feature.refuse(
            f"has a ring of {len(ring)} positions from {ring[0]} to {ring[-1]}",
            "give a ring at least four positions, the last one equal to the first",
        )
    return ring


_Part = TypeVar("_Part")


def _each(
    feature: _Feature, value: object, whole: str, part: str, read: Callable[[_Feature, object], _Part]
) -> tuple[_Part, ...]:
    if not isinstance(value, list) or not value:
        feature.refuse(f"has a {whole} without any {part}", "give coordinates as GeoJSON nests them")
    return tuple(read(feature, item) for item in value)


def _position(feature: _Feature, value: object) -> Position:
    if not isinstance(value, list) or not 2 <= len(value) <= 3 or not all(map(_is_number, value)):
        feature.refuse(f"has the position {_shown(value)}", "write it as [longitude, latitude] in degrees")
    lon, lat = value[0], value[1]
    # Compared before they become floats: an integer may be too large for one.
    if not (-180 <= lon <= 180 and -90 <= lat <= 90):
        feature.refuse(
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
    """Return a value as JSON, short enough for a sentence."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:79] + "…"
