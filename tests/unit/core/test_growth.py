"""What the join costs: in proportion to what a record touches, and in steps that end soon.

Work is counted in evaluations of a read for a shot and a hit, because times depend on the machine.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from msgspec import json, structs

from streams.core.engine import Engine
from streams.core.events import InvalidRecord, LinkedIncident, PlateRead, Record, ShotAlert, VehicleHit
from streams.core.facts import CONTENTS_MAX, HIT_CONTENTS_MAX, Versions
from streams.core.intake import Admitted
from streams.core.plates import plate_key
from streams.core.rules import JoinRules
from streams.core.site import Ramp, Site
from streams.core.topics import HITS, READS, SHOTS

AT_MS = 1_780_000_000_000
SITE = Site("example", "America/New_York", {"ramp": Ramp("ramp", "I-91", "48", "on", 41.76, -72.67)})
SHOT = ShotAlert("S", "single_gunshot", AT_MS, 41.76, -72.67)
HIT = VehicleHit("H", "SIMB01", AT_MS - 3_600_000)
READ = PlateRead("R", "SIMB01", AT_MS, "ramp", "camera", 0.9)
KEY = plate_key("SIMB01")
STEP_S_MAX = 0.2


class Counted:
    """An engine, the evaluations it made, and its slowest step."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **rules: Any) -> None:
        self.engine = Engine(SITE, JoinRules(**rules))
        self.evaluations = 0
        self.slowest_s = 0.0
        original = Engine._attached

        def attached(engine: Engine, *facts: Any) -> Any:
            self.evaluations += 1
            return original(engine, *facts)

        monkeypatch.setattr(Engine, "_attached", attached)

    def shots(self, count: int) -> None:
        for n in range(count):
            shot = structs.replace(SHOT, alert_id=f"S{n}")
            self.engine.apply_broadcast(Admitted(shot, "", Record(SHOTS, 0, n, AT_MS, b"")))

    def hit(self, **fields: Any) -> str:
        return self.engine.join(Admitted(structs.replace(HIT, **fields), KEY, Record(HITS, 0, 0, AT_MS, b"")))

    def read(self, n: int, **fields: Any) -> str:
        read = structs.replace(READ, read_id=f"R{n}", captured_at_ms=AT_MS + n, **fields)
        return self.engine.join(Admitted(read, KEY, Record(READS, 0, n, AT_MS + n, json.encode(read))))

    def publish(self) -> list[LinkedIncident]:
        return list(filter(None, self._timed(self.engine.changing())))

    def _timed(self, steps: Iterator[LinkedIncident | None]) -> Iterator[LinkedIncident | None]:
        while True:
            began_s = time.perf_counter()
            step = next(steps, StopIteration)
            self.slowest_s = max(self.slowest_s, time.perf_counter() - began_s)
            if step is StopIteration:
                return
            yield step  # type: ignore[misc]


@pytest.mark.parametrize("confidence", [0.9, 0.1])
def test_one_more_read_costs_one_evaluation_a_shot_however_many_reads_there_are(monkeypatch, confidence):
    """With low confidence no read links, so that no incident is ever full."""
    costs = []
    for before in (100, 1_000):
        case = Counted(monkeypatch, max_reads_per_plate=10_000)
        case.shots(20)
        case.hit()
        for n in range(before):
            case.read(n, confidence=confidence)
        case.publish()
        case.evaluations = 0
        case.read(before, confidence=confidence)
        case.publish()
        costs.append(case.evaluations)
    assert costs == ([0, 0] if confidence == 0.9 else [20, 20])


def test_a_hot_plate_costs_in_proportion_to_its_reads_and_stops_at_the_reads_an_incident_keeps(monkeypatch):
    costs = []
    for reads, shots in ((200, 10), (400, 10), (400, 20)):
        case = Counted(monkeypatch, max_reads_per_plate=100_000)
        case.shots(shots)
        case.hit()
        for n in range(reads):
            case.read(n)
            if n % 100 == 99:
                assert len(case.publish()) == (shots if n == 99 else 0)
        costs.append(case.evaluations)
        assert case.slowest_s < STEP_S_MAX
    assert costs == [520, 520, 1_040]


def test_a_hit_or_a_shot_that_changes_costs_the_first_reads_of_its_incidents(monkeypatch):
    case = Counted(monkeypatch)
    case.shots(10)
    case.hit()
    for n in range(1_000):
        case.read(n)
    case.publish()
    for change in (lambda: case.hit(revision=1, colour="red"), lambda: case.shots(1)):
        case.evaluations = 0
        change()
        case.publish()
        assert 0 < case.evaluations <= 10 * 52
    assert case.slowest_s < STEP_S_MAX


def test_reads_of_one_plate_beyond_the_limit_are_refused_by_name_of_the_setting(monkeypatch):
    case = Counted(monkeypatch, max_reads_per_plate=3)
    case.hit()
    assert [case.read(n) for n in range(3)] == ["used"] * 3
    with pytest.raises(InvalidRecord, match="max_reads_per_plate") as refused:
        case.read(3)
    assert refused.value.reason == "limit"
    assert "SIMB01" not in str(refused.value)
    assert case.read(2) == "duplicate"


def test_contents_of_one_identity_are_limited(monkeypatch):
    case = Counted(monkeypatch)
    for n in range(HIT_CONTENTS_MAX):
        case.hit(revision=n, list_updated_at_ms=n)
    with pytest.raises(InvalidRecord, match="hit_id: 1000 different contents"):
        case.hit(revision=HIT_CONTENTS_MAX)
    assert case.hit(revision=5, list_updated_at_ms=5) == "duplicate"
    for n in range(CONTENTS_MAX):
        case.read(0, confidence=0.5 + n / 1_000)
    with pytest.raises(InvalidRecord, match="read_id: 64 different contents"):
        case.read(0, confidence=0.1)


def test_a_listing_sent_again_for_years_keeps_only_the_contents_that_can_matter():
    day_ms = 86_400_000
    versions: Versions[VehicleHit] = Versions()
    for day in range(3 * 365):
        versions.add(structs.replace(HIT, list_updated_at_ms=day * day_ms), day * day_ms)
        assert not versions.forget(day * day_ms, 38 * day_ms)
    assert len(versions) == 39


def test_duplicates_without_number_take_bounded_memory():
    versions: Versions[VehicleHit] = Versions()
    for stamp_ms in range(5_000):
        versions.add(HIT, stamp_ms)
    (version,) = versions
    assert len(version.stamps_ms) <= 1_000
    assert max(later - earlier for earlier, later in pairwise(version.stamps_ms)) <= 5_000 // 500 * 3
    assert (version.stamps_ms[0], version.stamps_ms[-1]) == (0, 4_999)
