"""Distance on the ground, in the whole metres that the join compares.

Distances decide what links and are part of incidents, so they must be the same on every machine:
one formula, one radius, and rounding to whole metres before any decision.
"""

from __future__ import annotations

from math import asin, cos, radians, sin, sqrt

EARTH_RADIUS_M = 6_371_008.8
"""Mean radius R1 = (2a + b) / 3 of the WGS 84 ellipsoid."""


def distance_m(lat1: float, lon1: float, lat2: float, lon2: float) -> int:
    """Return the great-circle distance between two places in whole metres, ties rounded to even.

    Latitudes and longitudes are degrees (WGS 84), finite. The haversine formula (R. W. Sinnott,
    "Virtues of the Haversine", Sky and Telescope 68, 1984) stays accurate for places a few metres
    apart; the law of cosines does not. Using a sphere instead of the ellipsoid costs up to 0.6 % of
    the distance.
    """
    phi1, phi2 = radians(lat1), radians(lat2)
    half_chord_squared = sin((phi2 - phi1) / 2) ** 2 + cos(phi1) * cos(phi2) * sin(radians(lon2 - lon1) / 2) ** 2
    # Between antipodes rounding can lift the sum above 1. Its square root has always come out as 1,
    # but another mathematical library might round it up, and asin is not defined above 1.
    return round(2 * EARTH_RADIUS_M * asin(sqrt(min(1.0, half_chord_squared))))
