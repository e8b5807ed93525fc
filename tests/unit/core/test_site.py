"""Site files: parsing, the zone of a point, the digest, and error messages."""

from __future__ import annotations

import importlib.util
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.geo import distance_m
from streams.core.site import CITY, Ramp, Site, SiteError, read_site
from streams.resources.sites import load_site, site_names
from tests.paths import ROOT, SHARED

DATA = SHARED / "data"
RAMP = {"ramp_id": "off-48", "road": "I-84", "exit": "48", "direction": "off"}


def _make_sites() -> Any:
    """Load the script, which belongs to no package, as a module."""
    spec = importlib.util.spec_from_file_location("make_sites", ROOT / "deploy" / "make_sites.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKE_SITES = _make_sites()


def ramp(lon: Any = -72.68, lat: Any = 41.76, **properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "properties": {k: v for k, v in (RAMP | properties).items() if v is not ...},
        "geometry": {"type": "Point", "coordinates": [lon, lat]},
    }


def box(west: float, south: float, east: float, north: float) -> list[list[float]]:
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def zone(zone_id: Any = "frog-hollow", *rings: Any, **properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "properties": {
            k: v for k, v in ({"zone_id": zone_id, "name": "Frog Hollow"} | properties).items() if v is not ...
        },
        "geometry": {"type": "Polygon", "coordinates": list(rings) or [box(0, 0, 1, 1)]},
    }


def document(*features: Any, **members: Any) -> dict[str, Any]:
    return {
        "type": "FeatureCollection",
        "time_zone": "America/New_York",
        "features": list(features) or [ramp()],
        **members,
    }


def read(*features: Any, **members: Any) -> Site:
    return read_site(json.dumps(document(*features, **members)).encode(), "test-city")


def rejection(*features: Any, **members: Any) -> str:
    with pytest.raises(SiteError) as rejected:
        read(*features, **members)
    message = str(rejected.value)
    assert "test-city" in message
    assert message.endswith(".")
    return message


# ---- parsing


def test_points_become_ramps_and_polygons_become_zones_in_file_order() -> None:
    multi = zone("parks", name="Parks")
    multi["geometry"] = {"type": "MultiPolygon", "coordinates": [[box(5, 5, 6, 6)], [box(8, 8, 9, 9)]]}
    site = read(multi, ramp(), zone())
    assert site.name == "test-city"
    assert site.time_zone == "America/New_York"
    assert site.ramps == {"off-48": Ramp("off-48", "I-84", "48", "off", 41.76, -72.68)}
    assert [(z.zone_id, z.name, len(z.geometry)) for z in site.zones] == [
        ("parks", "Parks", 2),
        ("frog-hollow", "Frog Hollow", 1),
    ]
    assert [site.zone_at(5.5, 5.5), site.zone_at(8.5, 8.5), site.zone_at(7, 7)] == ["parks", "parks", CITY]


def test_altitudes_unknown_properties_and_a_byte_order_mark_are_ignored() -> None:
    high = ramp(colour="green", lanes=2)
    high["geometry"]["coordinates"].append(17.5)
    raw = b"\xef\xbb\xbf" + json.dumps(document(high)).encode()
    assert read_site(raw, "test-city").ramps["off-48"].lat == 41.76


def test_title_note_and_approximate_are_kept_for_display() -> None:
    site = read(ramp(approximate=True), title="Test City", note="Placed by rule.")
    assert (site.title, site.note, site.approximate) == ("Test City", "Placed by rule.", True)
    assert not read(ramp()).approximate


def test_an_id_may_have_128_characters() -> None:
    assert "x" * 128 in read(ramp(ramp_id="x" * 128)).ramps


# ---- zones


def test_a_point_outside_every_zone_belongs_to_the_city() -> None:
    assert read(ramp(), zone()).zone_at(1.0001, 0.5) == CITY
    assert read(ramp()).zone_at(0.5, 0.5) == CITY


def test_shared_edges_corners_and_overlaps_belong_to_the_first_zone_in_the_file() -> None:
    west, east = zone("west", box(0, 0, 1, 1)), zone("east", box(1, 0, 2, 1))
    over = zone("over", box(0, 0, 2, 1))
    assert read(ramp(), west, east).zone_at(0.5, 1.0) == "west"
    assert read(ramp(), east, west).zone_at(0.5, 1.0) == "east"
    assert read(ramp(), west, east).zone_at(0.0, 0.0) == "west"
    assert read(ramp(), east, over, west).zone_at(0.5, 0.5) == "over"
    assert read(ramp(), east, west, over).zone_at(0.5, 0.5) == "west"


def test_a_hole_is_outside_its_zone_but_the_edge_of_the_hole_is_inside() -> None:
    site = read(ramp(), zone("ring", box(0, 0, 3, 3), box(1, 1, 2, 2)))
    assert site.zone_at(1.5, 1.5) == CITY
    assert site.zone_at(1.5, 1.0) == "ring"


@given(st.data())
def test_a_point_belongs_to_the_first_box_that_contains_it(data: st.DataObject) -> None:
    side = st.integers(0, 6)
    boxes = data.draw(st.lists(st.tuples(side, side, side, side), min_size=1, max_size=12))
    boxes = [(w, s, w + 1 + e % 4, s + 1 + n % 4) for w, s, e, n in boxes]
    site = read(ramp(), *(zone(f"z{i}", box(*corners)) for i, corners in enumerate(boxes)))
    lon, lat = data.draw(st.integers(-1, 22)) / 2, data.draw(st.integers(-1, 22)) / 2
    expected = next((f"z{i}" for i, (w, s, e, n) in enumerate(boxes) if w <= lon <= e and s <= lat <= n), CITY)
    assert site.zone_at(lat, lon) == expected


# ---- the digest


def test_the_digest_ignores_whitespace_notes_titles_and_ramp_order() -> None:
    second = ramp(ramp_id="on-48", direction="on")
    digest = read(ramp(), second, zone()).digest
    assert len(digest) == 64
    assert int(digest, 16) >= 0
    assert read(second, ramp(lanes=2), zone(colour="red"), title="T", note="N").digest == digest
    spaced = json.dumps(document(ramp(), second, zone()), indent=4).encode()
    assert read_site(spaced, "another name").digest == digest


def test_the_digest_is_the_same_for_equivalent_geometry_types_and_number_formats() -> None:
    multi = zone()
    multi["geometry"] = {"type": "MultiPolygon", "coordinates": [[[[float(x), y] for x, y in box(0, 0, 1, 1)]]]}
    assert read(ramp(), multi).digest == read(ramp(), zone()).digest


@pytest.mark.parametrize(
    "features",
    [
        [ramp(lat=41.7601), zone()],
        [ramp(direction="on"), zone()],
        [ramp(exit="49"), zone()],
        [ramp(), zone("other")],
        [ramp(), zone("frog-hollow", box(0, 0, 1, 1.001))],
        [ramp(), zone(), zone("second")],
    ],
)
def test_the_digest_changes_with_ramps_and_zones(features: list[Any]) -> None:
    assert read(*features).digest != read(ramp(), zone()).digest


def test_the_digest_changes_with_the_time_zone_and_the_order_of_zones() -> None:
    one, two = zone("one"), zone("two")
    assert read(ramp(), time_zone="America/Chicago").digest != read(ramp()).digest
    assert read(ramp(), one, two).digest != read(ramp(), two, one).digest


def test_the_digest_of_the_example_site_is_stable() -> None:
    """Published outputs carry the digest: if it changes, workers do not trust earlier outputs."""
    assert read(ramp(), zone()).digest == "588781430b63323e362bd92ca35de97c6219066b2705877e3dfdbc44a396496d"


# ---- rejections


@pytest.mark.parametrize("raw", [b"", b"{", b'{"type": NaN}', b'"\xff"', b"[" * 100_000])
def test_invalid_json_is_rejected(raw: bytes) -> None:
    with pytest.raises(SiteError, match=r"test-city is not JSON .*: save it as GeoJSON in UTF-8\.$"):
        read_site(raw, "test-city")


@pytest.mark.parametrize("value", [[], 7, None, {}, {"type": "Feature"}, {"type": ["FeatureCollection"]}])
def test_anything_but_a_feature_collection_is_rejected(value: object) -> None:
    with pytest.raises(SiteError, match=r"test-city is not a GeoJSON FeatureCollection: .* make it"):
        read_site(json.dumps(value).encode(), "test-city")


@pytest.mark.parametrize("features", [None, {}, "x"])
def test_a_collection_without_a_features_list_is_rejected(features: object) -> None:
    assert 'no list "features"' in rejection(features=features)


def test_a_missing_time_zone_is_rejected() -> None:
    assert 'has no time zone: set the top-level member "time_zone"' in rejection(time_zone=None)


@pytest.mark.parametrize(
    "key", ["Hartford", "America/New_york", "America", "", "../etc/passwd", "localtime", 5, ["UTC"], "\0", "x" * 999]
)
def test_an_unknown_time_zone_is_rejected(key: object) -> None:
    assert "has the unknown time zone " in rejection(time_zone=key)


@pytest.mark.parametrize("key", ["ramp_id", "road", "exit", "direction"])
def test_a_ramp_with_a_missing_property_is_rejected(key: str) -> None:
    message = rejection(zone(), ramp(**{key: ...}))
    assert "feature 1" in message
    assert f'has no {key}: add the property "{key}"' in message


@pytest.mark.parametrize("key", ["ramp_id", "road", "exit", "direction"])
@pytest.mark.parametrize("value", ["", "  ", 48, [], {}])
def test_a_ramp_with_an_empty_or_non_string_property_is_rejected(key: str, value: object) -> None:
    assert f"has the {key} {json.dumps(value)}: make it a string" in rejection(ramp(**{key: value}))


def test_a_direction_must_be_on_or_off() -> None:
    message = rejection(ramp(direction="up"))
    assert message.startswith('The site file test-city: feature 0 (ramp_id "off-48") has the direction "up": ')


@pytest.mark.parametrize(
    ("lon", "lat"), [(181, 0), (-180.001, 0), (0, 90.5), (0, -91), (10**400, 0), (-72.68, -(10**30))]
)
def test_a_position_outside_the_valid_range_of_degrees_is_rejected(lon: float, lat: float) -> None:
    assert "which is not on Earth" in rejection(ramp(lon, lat))


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity"])
def test_a_non_finite_coordinate_is_rejected(number: str) -> None:
    raw = json.dumps(document(ramp(lon=12345))).replace("12345", number)
    with pytest.raises(SiteError, match="test-city is not JSON"):
        read_site(raw.encode(), "test-city")


@pytest.mark.parametrize("position", [None, [], [1], [1, 2, 3, 4], ["1", "2"], [True, 0], [[1, 2]], {"lat": 1}])
def test_a_position_that_is_not_a_pair_of_numbers_is_rejected(position: object) -> None:
    feature = ramp()
    feature["geometry"]["coordinates"] = position
    assert "write it as [longitude, latitude] in degrees" in rejection(feature)


@pytest.mark.parametrize("key", ["zone_id", "name"])
def test_a_zone_without_an_id_or_name_is_rejected(key: str) -> None:
    assert f"has no {key}" in rejection(ramp(), zone(**{key: ...}))
    assert f'has the {key} ""' in rejection(ramp(), zone(**{key: ""}))


def test_the_zone_id_city_is_reserved() -> None:
    message = rejection(ramp(), zone("city"))
    assert 'feature 1 (zone_id "city") has the zone_id "city", which is reserved' in message


def test_an_id_longer_than_128_characters_is_rejected() -> None:
    assert "has a ramp_id of 129 characters: shorten it to at most 128" in rejection(ramp(ramp_id="x" * 129))
    assert "has a zone_id of 129 characters" in rejection(ramp(), zone("x" * 129))


@pytest.mark.parametrize("features", [[ramp(), ramp(lat=1)], [ramp(), zone(), zone()]])
def test_a_duplicate_id_is_rejected(features: list[Any]) -> None:
    message = rejection(*features)
    assert f"feature {len(features) - 1}" in message
    assert "repeats the id of an earlier feature" in message


def test_a_ramp_and_a_zone_may_share_an_id() -> None:
    site = read(ramp(ramp_id="downtown"), zone("downtown"))
    assert (list(site.ramps), site.zones[0].zone_id) == (["downtown"], "downtown")


def test_a_self_intersecting_polygon_is_rejected_with_the_location() -> None:
    bow_tie = [[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]
    assert "is not a valid polygon (Self-intersection[1 1]): repair it" in rejection(ramp(), zone("bow", bow_tie))


def test_overlapping_polygons_within_a_zone_are_rejected() -> None:
    feature = zone()
    feature["geometry"] = {"type": "MultiPolygon", "coordinates": [[box(0, 0, 2, 2)], [box(1, 1, 3, 3)]]}
    assert "is not a valid polygon" in rejection(ramp(), feature)


@pytest.mark.parametrize("ring", [[[0, 0], [1, 0], [0, 0]], [[0, 0], [1, 0], [1, 1], [0, 1]]])
def test_a_ring_that_is_too_short_or_not_closed_is_rejected(ring: list[Any]) -> None:
    assert "give a ring at least four positions, the last equal to the first" in rejection(ramp(), zone("z", ring))


@pytest.mark.parametrize("coordinates", [None, [], [[]], "x", 5])
def test_a_polygon_without_rings_or_positions_is_rejected(coordinates: object) -> None:
    feature = zone()
    feature["geometry"]["coordinates"] = coordinates
    assert "without any" in rejection(ramp(), feature)


@pytest.mark.parametrize(
    "geometry", [None, {}, {"type": "LineString", "coordinates": box(0, 0, 1, 1)}, {"type": ["Point"]}, "Point"]
)
def test_unsupported_geometry_types_are_rejected(geometry: object) -> None:
    feature = zone()
    feature["geometry"] = geometry
    assert "use a Point for a ramp, a Polygon or MultiPolygon for a zone" in rejection(ramp(), feature)


@pytest.mark.parametrize("feature", [None, 5, "x", []])
def test_a_feature_that_is_not_an_object_is_rejected(feature: object) -> None:
    assert "feature 1 is not an object" in rejection(ramp(), feature)


@pytest.mark.parametrize("properties", [None, [], "x"])
def test_a_feature_without_properties_is_rejected(properties: object) -> None:
    assert "feature 0 has no ramp_id" in rejection(ramp() | {"properties": properties})


def test_a_site_without_ramps_is_rejected() -> None:
    assert "has no ramp: add at least one Point" in rejection(zone())


def test_a_long_value_is_truncated_in_the_message() -> None:
    assert len(rejection(ramp(direction="x" * 5_000))) < 400


def test_a_damaged_site_file_either_loads_or_raises_site_error() -> None:
    whole = json.dumps(document(ramp(), zone())).encode()
    dice = random.Random(48)
    rejected = 0
    for _ in range(3_000):
        raw = bytearray(whole)
        for _ in range(dice.randint(1, 3)):
            place = dice.randrange(len(raw))
            raw[place : place + dice.randint(0, 4)] = dice.choice([b"", b"0", b"9", b'"', b"[", b"}", b",", b"null"])
        try:
            read_site(bytes(raw), "test-city")
        except SiteError:
            rejected += 1
    assert 1_500 < rejected < 3_000


# ---- shipped sites and files


def test_hartford_and_kansas_city_are_built_in() -> None:
    assert site_names() == ["hartford", "kansas-city"]


@pytest.mark.parametrize(
    ("name", "time_zone", "ramps", "zones"),
    [("hartford", "America/New_York", 4 * 52, 27), ("kansas-city", "America/Chicago", 4 * 41, 246)],
)
def test_a_built_in_site_loads_and_marks_its_ramps_as_approximate(
    name: str, time_zone: str, ramps: int, zones: int
) -> None:
    site = load_site(name)
    assert (site.name, site.time_zone, len(site.ramps), len(site.zones)) == (name, time_zone, ramps, zones)
    assert site.approximate
    assert "not for operations" in site.note


def test_known_places_are_in_their_neighbourhoods() -> None:
    hartford, kansas_city = load_site("hartford"), load_site("kansas-city")
    assert hartford.zone_at(41.7661, -72.6727) == "downtown"  # the Old State House
    assert hartford.zone_at(41.7557, -72.6935) == "frog-hollow"
    assert hartford.zone_at(41.85, -72.50) == CITY
    assert kansas_city.zone_at(39.0420, -94.5920) == "country-club-plaza"
    assert kansas_city.zone_at(39.1086, -94.5830) == "river-market"


def test_ramps_are_placed_for_right_hand_traffic() -> None:
    """An eastbound off-ramp is west of the interchange and south of the centreline."""
    ramps = load_site("hartford").ramps
    off, on = ramps["I-84-E-48-off"], ramps["I-84-E-48-on"]
    back_off, back_on = ramps["I-84-W-48-off"], ramps["I-84-W-48-on"]
    assert off.lon < on.lon
    assert back_off.lon > back_on.lon
    assert off.lat < back_on.lat
    assert on.lat < back_off.lat
    centre = 41.766735, -72.685375
    assert {distance_m(*centre, r.lat, r.lon) for r in (off, on, back_off, back_on)} == {152}  # √(150² + 25²)
    assert (off.road, off.exit, off.direction) == ("I-84", "48", "off")


def test_each_highway_at_an_interchange_has_its_own_ramps() -> None:
    ramps = load_site("hartford").ramps
    assert ramps["I-84-E-51-52-off"].road == "I-84"
    assert ramps["I-91-N-32A-off"].road == "I-91"
    assert ramps["I-91-N-31-30-on"].exit == "31(30)"


def test_unnamed_neighbourhoods_are_identified_by_number() -> None:
    named = {zone.zone_id: zone.name for zone in load_site("kansas-city").zones}
    assert {i: named[f"unnamed-{i}"] for i in range(1, 7)} == {i: f"Unnamed {i}" for i in range(1, 7)}


@pytest.mark.parametrize("place", MAKE_SITES.SITES, ids=lambda place: place.name)
def test_the_built_in_files_match_the_output_of_make_sites(place: Any) -> None:
    if not (DATA / place.name).is_dir():
        pytest.skip(f"the source data are not beside the checkout: {DATA / place.name}")
    raw = MAKE_SITES.site_file(DATA / place.name, place)
    resource_path = ROOT / "deploy" / "sites" / f"{place.name}.geojson"
    assert raw == resource_path.read_bytes()
    assert len(raw) < 800_000


def test_make_sites_appends_a_number_when_two_names_give_the_same_id() -> None:
    used: set[str] = set()
    assert [MAKE_SITES.unused_slug(name, used) for name in ("Oak Park", "Oak-Park", "Oak Park 2", "OAK PARK")] == [
        "oak-park",
        "oak-park-2",
        "oak-park-2-2",
        "oak-park-3",
    ]


def test_make_sites_repairs_a_polygon_and_reports_it() -> None:
    bow_tie = {"type": "Polygon", "coordinates": [[[0, 0, 9], [2, 2, 9], [2, 0, 9], [0, 2, 9], [0, 0, 9]]]}
    geometry, repaired = MAKE_SITES.polygons(bow_tie)
    assert repaired
    assert geometry["type"] == "MultiPolygon"
    feature = zone() | {"geometry": json.loads(json.dumps(geometry))}
    site = read(ramp(), feature)
    left, right, below = site.zone_at(1, 0.1), site.zone_at(1, 1.9), site.zone_at(0.1, 1)
    assert (left, right, below) == ("frog-hollow", "frog-hollow", CITY)
    assert MAKE_SITES.polygons({"type": "Polygon", "coordinates": [box(0, 0, 1, 1)]})[1] is False


def test_a_path_selects_a_site_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.geojson"
    path.write_text(json.dumps(document(ramp())), encoding="utf-8")
    assert load_site(str(path)).ramps["off-48"].exit == "48"


def test_an_error_in_a_file_is_reported_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(SiteError, match=f"The site file {re.escape(str(path))} is not a GeoJSON"):
        load_site(str(path))


@pytest.mark.parametrize("name", ["new-haven", "", "..", "Hartford"])
def test_an_unknown_site_name_is_rejected_with_a_list_of_the_known_ones(name: str) -> None:
    with pytest.raises(SiteError) as rejected:
        load_site(name)
    assert str(rejected.value).startswith(f'site "{name}": not built in; use one of hartford, kansas-city, or ')


@pytest.mark.parametrize("path", ["nowhere/city.geojson", "city.json", "./", "a\0/b"])
def test_an_unreadable_file_is_rejected(path: str) -> None:
    with pytest.raises(SiteError, match=r"cannot be read \(.+\); check the path and its permissions$"):
        load_site(path)
