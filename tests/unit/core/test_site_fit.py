"""Which events fit a site, and when so few do that they belong to another one."""

from __future__ import annotations

import pytest

from streams.core.site import Ramp, Site, Zone
from streams.core.site_fit import far_ramps, is_near, sample, shots_elsewhere, unknown_ramps, unknown_zones
from streams.resources.sites import load_site, site_names

ZONE = Zone("west", "West", ((((-72.7, 41.7), (-72.6, 41.7), (-72.6, 41.8), (-72.7, 41.8), (-72.7, 41.7)),),))
SITE = Site("example", "America/New_York", {"r": Ramp("r", "I-91", "48", "on", 41.9, -72.65)}, (ZONE,))
INSIDE, AT_THE_RAMP, AWAY = (41.75, -72.65), (41.95, -72.65), (39.06, -94.58)
FAR_M = 8_000


def test_a_place_is_near_in_a_zone_or_within_reach_of_a_ramp() -> None:
    assert is_near(SITE, INSIDE, 0)
    assert is_near(SITE, (41.7, -72.7), 0), "the border belongs to the zone"
    assert is_near(SITE, AT_THE_RAMP, FAR_M)
    assert not is_near(SITE, AT_THE_RAMP, 5_000)
    assert not is_near(SITE, AWAY, FAR_M)


def test_a_site_without_zones_is_what_lies_between_its_ramps() -> None:
    corners = {name: Ramp(name, "I-91", "48", "on", lat, -72.65) for name, lat in (("s", 41.0), ("n", 42.0))}
    site = Site("example", "America/New_York", corners)
    assert is_near(site, (41.5, -72.65), FAR_M)
    assert is_near(site, (42.05, -72.65), FAR_M)
    assert not is_near(site, (42.5, -72.65), FAR_M)


@pytest.mark.parametrize(
    ("away", "inside", "elsewhere"), [(2, 0, 0), (3, 0, 3), (3, 3, 0), (3, 2, 3), (100, 99, 100), (100, 100, 0)]
)
def test_shots_lie_elsewhere_if_most_of_them_and_at_least_three_do(away: int, inside: int, elsewhere: int) -> None:
    assert shots_elsewhere(SITE, [AWAY] * away + [INSIDE] * inside, FAR_M) == elsewhere


@pytest.mark.parametrize(("unknown", "known", "found"), [(9, 0, 0), (10, 0, 10), (10, 10, 0), (11, 10, 11)])
def test_ramps_are_another_sites_if_most_reads_and_at_least_ten_have_one(unknown: int, known: int, found: int) -> None:
    assert unknown_ramps(SITE, ["?"] * unknown + ["r"] * known) == found


def test_zones_are_another_sites_if_most_of_them_are_unknown() -> None:
    assert unknown_zones(SITE, ["city", "west", "north"]) == 0
    assert unknown_zones(SITE, ["city", "west", "north", "south"]) == 2
    assert unknown_zones(SITE, ["city"]) == 0


def test_a_sample_spans_the_whole_list() -> None:
    items = list(range(100_500))
    taken = sample(items)
    assert 900 <= len(taken) <= 1_000
    assert taken[0] == 0
    assert taken[-1] > 100_000
    assert sample(items[:1_000]) == items[:1_000]


@pytest.mark.parametrize("name", site_names())
def test_no_ramp_of_a_built_in_site_is_far_from_its_zones(name: str) -> None:
    assert far_ramps(load_site(name)) == []


def test_a_ramp_with_a_mistyped_degree_is_far_from_all_zones() -> None:
    mistyped = Ramp("typo", "I-91", "48", "on", 41.9, -62.65)
    site = Site("example", "America/New_York", SITE.ramps | {"typo": mistyped}, SITE.zones)
    assert far_ramps(site) == ["typo"]
    assert far_ramps(Site("example", "America/New_York", {"typo": mistyped})) == []
