"""A busy simulated evening in Hartford, with dispatchers' actions and unusable records."""

from __future__ import annotations

import msgspec

from streams.core.incidents import incident_id
from streams.core.topics import ACTIONS, HITS, READS, SHOTS
from streams.replay.player import Playable
from streams.resources.sites import load_site
from streams.simulate.city import City, simulate
from streams.simulate.plan import CityPlan
from tests.worlds.pairs import HOUR_MS, MINUTE_MS, RAMP, playable


def evening(begin_ms: int) -> list[Playable]:
    """The city's records, dispatchers' actions and unusable records, by stamp."""
    made = _city(begin_ms)
    records = [Playable(r.topic, r.stamp_ms, r.key, msgspec.json.encode(r.value)) for r in made.records]
    keys = {r.value["hit_id"]: r.key for r in made.records if r.topic == HITS}
    for n, drive in enumerate(made.truth):
        incident = incident_id(drive.alert_id, drive.hit_id, keys.get(drive.hit_id, ""))
        at_ms = begin_ms + n * 7 * MINUTE_MS
        action = {"action_id": f"A{n % 9}", "incident_id": incident, "kind": "acknowledge", "by": "console 1"}
        records += [playable(ACTIONS, at_ms + 1_000, incident, **action, at_ms=at_ms)] * (1 + n % 2)
    records += unusable(begin_ms)
    return sorted(records, key=lambda record: record.stamp_ms)


def _city(begin_ms: int) -> City:
    """Six hours with many shots and thefts, and repeated, late, misread, uncertain reads."""
    plan = CityPlan(
        begin_ms=begin_ms,
        duration_ms=6 * HOUR_MS,
        seed=5,
        shots_per_day=120,
        linked_share=0.6,
        stolen_cars=30,
        background_reads_per_minute=8,
        late_share=0.05,
        duplicate_share=0.1,
        misread_share=0.1,
    )
    return simulate(load_site("hartford"), plan)


def unusable(begin_ms: int) -> list[Playable]:
    """Records that become dead letters, one for each common reason."""
    at_ms = begin_ms + HOUR_MS
    read = {"ramp_id": RAMP, "camera_id": "C1", "confidence": 0.97}
    far = {"kind": "single_gunshot", "occurred_at_ms": at_ms + 48 * HOUR_MS, "lat": 41.77, "lon": -72.69}
    old_ms = at_ms - 48 * HOUR_MS
    return [
        Playable(READS, at_ms, "", b"no JSON"),
        Playable(SHOTS, at_ms, "", b"\xff"),
        Playable(ACTIONS, at_ms, "", b"[]"),
        playable(HITS, at_ms, "", hit_id="H", plate="UNKNOWN", reported_at_ms=at_ms),
        playable(SHOTS, at_ms, "early", alert_id="early", **far),
        playable(READS, at_ms, "51M1", read_id="late", plate="SIM1", captured_at_ms=old_ms, **read),
        playable(READS, at_ms, "51M1", read_id="lost", plate="SIM1", captured_at_ms=at_ms, **read | {"ramp_id": "?"}),
    ]
