"""Distances, checked against values known without the haversine formula."""

from __future__ import annotations

from fractions import Fraction
from math import acos, cos, pi, radians, sin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.geo import EARTH_RADIUS_M, distance_m

LATITUDES = st.floats(-90, 90)
LONGITUDES = st.floats(-180, 180)
PLACES = st.tuples(LATITUDES, LONGITUDES)
HALF_ROUND_M = round(pi * EARTH_RADIUS_M)


def test_the_distance_from_a_place_to_itself_is_zero() -> None:
    assert distance_m(41.766735, -72.685375, 41.766735, -72.685375) == 0


def test_a_degree_of_equator_or_meridian_is_1_360th_of_the_circumference() -> None:
    assert distance_m(0, 0, 0, 1) == 111_195  # 2π · 6 371 008.8 / 360 = 111 195.08
    assert distance_m(41, -72, 42, -72) == 111_195


def test_a_degree_of_longitude_is_half_as_long_at_60_degrees_north() -> None:
    # The great circle cuts the corner: 2R · asin(cos 60° · sin 0.5°), against 55 597.5 along the
    # parallel.
    assert distance_m(60, 10, 60, 11) == 55_597


def test_a_distance_across_the_date_line_takes_the_short_way() -> None:
    assert distance_m(0, 179.5, 0, -179.5) == 111_195


def test_hartford_to_kansas_city_agrees_with_the_law_of_cosines() -> None:
    hartford, kansas_city = (41.7637, -72.6851), (39.0997, -94.5786)
    (phi1, lambda1), (phi2, lambda2) = (tuple(map(radians, place)) for place in (hartford, kansas_city))
    angle = acos(sin(phi1) * sin(phi2) + cos(phi1) * cos(phi2) * cos(lambda2 - lambda1))
    assert distance_m(*hartford, *kansas_city) == round(EARTH_RADIUS_M * angle)


def test_places_one_metre_apart_are_distinguished() -> None:
    a_metre_in_degrees = 360 / (2 * pi * EARTH_RADIUS_M)
    assert distance_m(41.76, -72.68, 41.76 + a_metre_in_degrees, -72.68) == 1


@pytest.mark.parametrize("metres", [17, 250, 7_999])
def test_distances_are_rounded_to_the_nearest_metre(metres: int) -> None:
    degrees_a_metre = 360 / (2 * pi * EARTH_RADIUS_M)
    assert distance_m(0, 0, 0, (metres + 0.49) * degrees_a_metre) == metres
    assert distance_m(0, 0, 0, (metres - 0.49) * degrees_a_metre) == metres


def test_antipodes_whose_haversine_exceeds_1_by_rounding_have_a_distance() -> None:
    lat, lon = 66.2, -4.72
    assert sin(radians(lat)) ** 2 + cos(radians(lat)) ** 2 * sin(radians(90)) ** 2 > 1
    assert distance_m(lat, lon, -lat, lon + 180) == HALF_ROUND_M


@given(LATITUDES, LONGITUDES)
def test_the_antipode_is_half_a_circumference_away(lat: float, lon: float) -> None:
    # The longitude of the antipode is rounded to a float; that moves it by less than a metre.
    antipode = float(Fraction(lon) + (180 if lon < 0 else -180))
    assert abs(distance_m(lat, lon, -lat, antipode) - HALF_ROUND_M) <= 1


@given(LATITUDES, LONGITUDES, LATITUDES, LONGITUDES)
def test_distance_is_symmetric_and_at_most_half_a_circumference(
    lat1: float, lon1: float, lat2: float, lon2: float
) -> None:
    there = distance_m(lat1, lon1, lat2, lon2)
    assert there == distance_m(lat2, lon2, lat1, lon1)
    assert 0 <= there <= HALF_ROUND_M


@given(PLACES, PLACES, PLACES)
def test_distances_satisfy_the_triangle_inequality(
    a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]
) -> None:
    # Allow for three roundings to whole metres and the metre haversine loses near antipodes.
    assert distance_m(*a, *c) <= distance_m(*a, *b) + distance_m(*b, *c) + 3
