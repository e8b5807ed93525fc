"""One rule for contradicting records: the join, the counters and the scan take the same content."""

from __future__ import annotations

import random
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import json

from streams.analysis.scan import ScanPlan, clusters
from streams.analysis.sources import LocatedShot, read_tallies
from streams.core.counters.current_tallies import CurrentTallies
from streams.core.counters.events import tally_of_shot
from streams.core.events import ShotAlert
from streams.core.facts import Versions
from streams.core.rules import JoinRules
from streams.core.site import Site, Zone
from streams.core.topics import SHOTS
from streams.replay.archive import write_archive
from tests.lanes import LANE

AT_MS = 1_780_675_200_000
DAY = 86_400_000


def square(zone_id: str, west: float) -> Zone:
    corners = ((west, 41.7), (west + 0.05, 41.7), (west + 0.05, 41.8), (west, 41.8), (west, 41.7))
    return Zone(zone_id, zone_id.title(), ((corners,),))


SITE = Site("example", "America/New_York", {}, (square("west", -72.70), square("east", -72.65)))

contradicting = st.lists(
    st.builds(
        ShotAlert,
        alert_id=st.just("S"),
        kind=st.sampled_from(["single_gunshot", "probable_gunfire"]),
        occurred_at_ms=st.sampled_from([AT_MS, AT_MS - DAY]),
        lat=st.just(41.75),
        lon=st.sampled_from([-72.68, -72.63, -70.0]),
        revision=st.integers(0, 1),
        status=st.sampled_from(["unreviewed", "confirmed", "dismissed"]),
        source=st.sampled_from([None, "a", "b"]),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=LANE.counter_examples, deadline=None)
@given(contradicting, st.randoms(use_true_random=False))
def test_join_counters_and_scan_take_the_same_content_in_any_order(shots, rng):
    fact = joined(shots)
    assert joined(rng.sample(shots, len(shots))) == fact
    counted = CurrentTallies()
    for shot in rng.sample(shots, len(shots)):
        counted.replace(tally_of_shot(shot, SITE))
    assert list(counted) == [tally_of_shot(fact, SITE)]
    scanned = located(rng.sample(shots, len(shots)))
    counts = fact.status != "dismissed"
    assert scanned == ([LocatedShot(fact.occurred_at_ms, fact.lat, fact.lon)] if counts else [])


def joined(shots: list[ShotAlert]) -> ShotAlert:
    known: Versions[ShotAlert] = Versions()
    for shot in shots:
        known.add(shot, AT_MS)
    fact = known.fact(AT_MS)
    assert fact is not None
    return fact.event


def located(shots: list[ShotAlert]) -> list[LocatedShot]:
    with TemporaryDirectory() as folder:
        write_archive(Path(folder), [(SHOTS, AT_MS, "S", json.encode(shot)) for shot in shots], {}, SITE)
        return read_tallies(Path(folder), SITE, JoinRules(), 12).shots


@settings(max_examples=2, deadline=None)
@given(st.integers(0, 2**32))
def test_a_scan_of_more_places_than_centres_does_not_depend_on_the_order_of_the_shots(seed):
    rng = random.Random(seed)
    shots = [
        LocatedShot(AT_MS - rng.randrange(100 * DAY), 41.7 + rng.random() / 10, -72.7 + rng.random() / 10)
        for _ in range(900)
    ]
    plan = ScanPlan(days=101, permutations=19, cluster_days=14)
    found = clusters(shots, SITE, AT_MS + 1, plan, lambda *_: None)
    assert found
    assert clusters(rng.sample(shots, len(shots)), SITE, AT_MS + 1, plan, lambda *_: None) == found
