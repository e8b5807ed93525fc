"""The simulated city: deterministic, close to its plan and valid; its true drives are evidence."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from streams.core.codec import decode
from streams.core.events import Event, PlateRead, ShotAlert, VehicleHit, identity_of
from streams.core.linking import is_evidence
from streams.core.plates import differences, plate_key
from streams.core.rules import JoinRules
from streams.core.site import Ramp, Site
from streams.core.topics import HITS, READS, SHOTS
from streams.resources.sites import load_site
from streams.simulate.city import City, SimulatedRecord, simulate
from streams.simulate.plan import FAULTS, CityPlan
from streams.simulate.plates import PLATES, invented_plates, misread

BEGIN_MS = 1_717_214_400_000  # Saturday 2024-06-01, midnight in Hartford
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
PLAN = CityPlan(
    begin_ms=BEGIN_MS,
    duration_ms=3 * DAY_MS,
    shots_per_day=20,
    stolen_cars=60,
    linked_share=0.5,
    background_reads_per_minute=3,
    ordinary_cars=2_000,
)
FAULTLESS = msgspec.structs.replace(PLAN.without_faults(), dismissed_share=0.0)
FAULTLESS_TRAFFIC = msgspec.structs.replace(FAULTLESS, shots_per_day=0, stolen_cars=0)


@pytest.fixture(scope="module")
def hartford() -> Site:
    return load_site("hartford")


@pytest.fixture(scope="module")
def city(hartford: Site) -> City:
    return simulate(hartford, PLAN)


@pytest.fixture(scope="module")
def faultless(hartford: Site) -> City:
    return simulate(hartford, FAULTLESS)


def as_bytes(city: City) -> bytes:
    return msgspec.json.encode(city)


def values(city: City, topic: str) -> list[dict[str, Any]]:
    return [record.value for record in city.records if record.topic == topic]


def decoded(record: SimulatedRecord) -> Event:
    return decode(record.topic, msgspec.json.encode(record.value))


def latest(city: City) -> tuple[dict[str, ShotAlert], dict[str, VehicleHit], dict[str, PlateRead]]:
    """The facts at the end of the log: shots, hits under their last plate, reads."""
    shots: dict[str, ShotAlert] = {}
    hits: dict[str, VehicleHit] = {}
    reads: dict[str, PlateRead] = {}
    for record in city.records:
        match decoded(record):
            case ShotAlert() as shot:
                shots[shot.alert_id] = shot
            case VehicleHit() as hit:
                hits[hit.hit_id] = hit
            case PlateRead() as read:
                reads[read.read_id] = read
    return shots, hits, reads


def evidence(city: City, site: Site) -> Iterator[bool]:
    """For each linkable drive: whether the join sees evidence in one of its reads."""
    shots, hits, reads = latest(city)
    rules = JoinRules()
    for drive in city.truth:
        if drive.linkable:
            shot, hit = shots[drive.alert_id], hits[drive.hit_id]
            own = [reads[read_id] for read_id in drive.read_ids]
            yield any(
                plate_key(read.plate) == plate_key(hit.plate)
                and is_evidence(shot, hit, read, site.ramps[read.ramp_id], rules)
                for read in own
            )


def test_the_same_plan_gives_a_byte_identical_city(hartford: Site, city: City) -> None:
    assert as_bytes(simulate(hartford, PLAN)) == as_bytes(city)


def test_another_seed_gives_another_city(hartford: Site, city: City) -> None:
    other = simulate(hartford, msgspec.structs.replace(PLAN, seed=2))
    assert {read["plate"] for read in values(other, READS)} != {read["plate"] for read in values(city, READS)}
    assert values(other, SHOTS) != values(city, SHOTS)


def test_records_are_in_stamp_order_and_within_the_planned_period(city: City) -> None:
    stamps = [record.stamp_ms for record in city.records]
    assert stamps == sorted(stamps)
    assert stamps[0] >= BEGIN_MS
    assert stamps[-1] < PLAN.end_ms


def test_every_record_decodes_and_has_the_expected_key(city: City) -> None:
    for record in city.records:
        event = decoded(record)
        expected = event.alert_id if isinstance(event, ShotAlert) else plate_key(event.plate)  # type: ignore[union-attr]
        assert record.key == expected


def test_only_reads_from_fast_camera_clocks_are_stamped_before_their_event_time(city: City) -> None:
    times = {SHOTS: "occurred_at_ms", HITS: "reported_at_ms", READS: "captured_at_ms"}
    early = [record for record in city.records if record.stamp_ms <= record.value[times[record.topic]]]
    # only from cameras whose clock is ahead, by too little to have their reads rejected
    assert {record.topic for record in early} == {READS}
    assert all(record.value["captured_at_ms"] - record.stamp_ms < JoinRules().max_future_skew_ms for record in early)
    assert len({record.value["camera_id"] for record in early}) < 10


def test_every_read_is_at_a_ramp_of_the_site_and_has_its_direction(hartford: Site, city: City) -> None:
    for read in values(city, READS):
        assert read["direction"] == hartford.ramps[read["ramp_id"]].direction


def test_counts_are_near_the_plan(city: City) -> None:
    shots, hits, reads = latest(city)
    passages = 3 * 60 * 24 * 3
    assert 0.85 * passages < len(reads) < 0.98 * passages  # a tenth are missed; stolen cars add a few
    assert 58 <= len(shots) <= 60  # one may be reported after the end
    assert 35 <= len(hits) <= 60  # many thefts are noticed, reported or copied to the list after the end
    linked = {drive.alert_id for drive in city.truth}
    assert 15 <= len(linked) <= 40


def test_faults_occur_at_the_planned_shares(hartford: Site) -> None:
    plan = msgspec.structs.replace(
        FAULTLESS, shots_per_day=0, stolen_cars=0, miss_share=0.2, misread_share=0.1, duplicate_share=0.05
    )
    clean = {read["read_id"]: read for read in values(simulate(hartford, FAULTLESS_TRAFFIC), READS)}
    reads = values(simulate(hartford, plan), READS)
    seen = {read["read_id"]: read for read in reads}
    assert len(clean) == pytest.approx(3 * 60 * 24 * 3, abs=5)
    assert len(seen) / len(clean) == pytest.approx(0.8, abs=0.02)
    assert len(reads) / len(seen) == pytest.approx(1.05, abs=0.01)
    wrong = [(read, clean[read_id]) for read_id, read in seen.items() if read["plate"] != clean[read_id]["plate"]]
    assert len(wrong) / len(seen) == pytest.approx(0.1, abs=0.01)
    assert all(differences(read["plate"], true["plate"]) == 1 for read, true in wrong)
    lookalikes = [read for read, true in wrong if plate_key(read["plate"]) == plate_key(true["plate"])]
    assert len(lookalikes) / len(wrong) == pytest.approx(plan.misread_lookalike_share, abs=0.06)


@pytest.mark.parametrize(
    "fault", ["miss_share", "misread_share", "region_unknown_share", "late_share", "colour_wrong_share"]
)
def test_a_camera_fault_leaves_all_other_reads_unchanged(hartford: Site, faultless: City, fault: str) -> None:
    faulty = simulate(hartford, msgspec.structs.replace(FAULTLESS, **{fault: 0.1}))
    before = {record.value["read_id"]: record for record in faultless.records if record.topic == READS}
    after = {record.value["read_id"]: record for record in faulty.records if record.topic == READS}
    same = sum(after.get(read_id) == record for read_id, record in before.items())
    assert same / len(before) == pytest.approx(0.9, abs=0.02)


def test_a_repeated_read_has_identical_content(city: City) -> None:
    reads = values(city, READS)
    contents: dict[str, set[bytes]] = {}
    for read in reads:
        contents.setdefault(read["read_id"], set()).add(msgspec.json.encode(read))
    assert len(reads) > len(contents)
    assert all(len(each) == 1 for each in contents.values())


def test_without_faults_nearly_every_linkable_drive_is_evidence(hartford: Site, faultless: City) -> None:
    """Measured over seeds 1 to 20: 99.9 % of 856 linkable drives; 97.7 % at the worst seed.

    In Kansas City it is 79 %: its outer zones are more than 8 km from any ramp. Around its real
    activations, over four weeks, it is 106 of 106.
    """
    found = list(evidence(faultless, hartford))
    assert len(found) >= 25
    assert sum(found) / len(found) >= 0.95


def test_with_faults_most_drives_are_evidence_and_some_are_lost(hartford: Site) -> None:
    """Measured over seeds 1 to 20: 82 % of 800; most of the rest are dismissed shots (15 %)."""
    plan = msgspec.structs.replace(PLAN, background_reads_per_minute=0, shots_per_day=60, stolen_cars=200)
    found = list(evidence(simulate(hartford, plan), hartford))
    assert 0.5 < sum(found) / len(found) < 0.95


def test_many_hits_are_listed_after_the_reads_they_match(faultless: City) -> None:
    _, _, reads = latest(faultless)
    listed_ms: dict[str, int] = {}
    for record in faultless.records:
        if record.topic == HITS:
            listed_ms.setdefault(record.value["hit_id"], record.stamp_ms)
    after = [
        listed_ms[drive.hit_id] > reads[drive.read_ids[0]].captured_at_ms for drive in faultless.truth if drive.linkable
    ]
    assert 0.05 < sum(after) / len(after) < 0.8


def test_a_car_drives_to_a_shot_before_it_and_away_from_it_afterwards(faultless: City) -> None:
    shots, _, reads = latest(faultless)
    kinds: Counter[str] = Counter()
    for drive in faultless.truth:
        kinds[drive.kind] += 1
        for read_id in drive.read_ids:
            before = reads[read_id].captured_at_ms < shots[drive.alert_id].occurred_at_ms
            assert before == (drive.kind == "to")
    assert set(kinds) == {"to", "from"}


def test_a_corrected_plate_is_cancelled_under_the_old_key_before_the_new_one_is_listed(hartford: Site) -> None:
    plan = msgspec.structs.replace(
        FAULTLESS,
        plate_corrected_share=1.0,
        recovered_share=0.0,
        duration_ms=30 * DAY_MS,
        background_reads_per_minute=0,
    )
    records = [record for record in simulate(hartford, plan).records if record.topic == HITS]
    listings: dict[str, list[SimulatedRecord]] = {}
    for record in records:
        listings.setdefault(record.value["hit_id"], []).append(record)
    complete = [listing for listing in listings.values() if len(listing) == 3]
    assert len(complete) > 40
    for first, cancelled, corrected in complete:
        assert [one.value["revision"] for one in (first, cancelled, corrected)] == [0, 1, 2]
        assert [one.value["status"] for one in (first, cancelled, corrected)] == ["active", "cancelled", "active"]
        assert first.key == cancelled.key != corrected.key


def test_a_recovered_car_stays_listed_for_a_while(hartford: Site) -> None:
    plan = msgspec.structs.replace(
        FAULTLESS, recovered_share=1.0, duration_ms=14 * DAY_MS, background_reads_per_minute=0
    )
    records = [record for record in simulate(hartford, plan).records if record.value.get("status") == "recovered"]
    assert len(records) > 20
    assert all(
        record.stamp_ms - record.value["cleared_at_ms"] > 10 * 60_000
        for record in records
        if record.stamp_ms > BEGIN_MS + HOUR_MS
    )


def test_the_stolen_vehicle_list_is_copied_twice_a_day(hartford: Site) -> None:
    plan = msgspec.structs.replace(FAULTLESS, list_refresh_h=12.0, background_reads_per_minute=0)
    changes = [record for record in simulate(hartford, plan).records if record.topic == HITS]
    assert len(changes) > 20
    for change in changes:
        copied_ms = change.value["list_updated_at_ms"]
        assert (copied_ms - BEGIN_MS) % (12 * HOUR_MS) == 0
        assert change.value["reported_at_ms"] <= copied_ms
        assert change.stamp_ms <= max(copied_ms, BEGIN_MS) + 60_000


def test_owners_drive_recovered_cars_that_stay_on_the_list(hartford: Site) -> None:
    plan = msgspec.structs.replace(
        FAULTLESS, recovered_share=1.0, duration_ms=14 * DAY_MS, shots_per_day=0, background_reads_per_minute=0
    )

    def stale_reads(share: float) -> int:
        stale = simulate(hartford, msgspec.structs.replace(plan, still_listed_share=share))
        _, hits, reads = latest(stale)
        active = {hit.plate: hit for hit in hits.values() if hit.status == "active"}
        late_ms = BEGIN_MS + 12 * DAY_MS
        return sum(read.captured_at_ms > late_ms and read.plate in active for read in reads.values())

    assert stale_reads(1.0) > 2 * stale_reads(0.0)


def test_thefts_go_unreported_for_as_long_as_real_ones(hartford: Site) -> None:
    plan = msgspec.structs.replace(FAULTLESS, duration_ms=60 * DAY_MS, stolen_cars=2_000, shots_per_day=0)
    plan = msgspec.structs.replace(plan, background_reads_per_minute=0, chance_reads_per_stolen_car_day=0)
    _, hits, _ = latest(simulate(hartford, plan))
    hours = sorted((hit.reported_at_ms - (hit.stolen_at_ms or 0)) / HOUR_MS for hit in hits.values())
    assert 9 < hours[len(hours) // 2] < 12  # the real median is ten hours until the theft is noticed
    assert hours[len(hours) // 4] < 3
    assert hours[len(hours) * 9 // 10] > 48


def test_shots_follow_each_other_as_real_ones_do(hartford: Site) -> None:
    plan = msgspec.structs.replace(FAULTLESS, duration_ms=60 * DAY_MS, stolen_cars=0, background_reads_per_minute=0)
    times = sorted(shot["occurred_at_ms"] for shot in values(simulate(hartford, plan), SHOTS) if not shot["revision"])
    gaps_s = [(later - earlier) / 1000 for earlier, later in pairwise(times)]
    # 8 % of the real activations follow within ten seconds and 15 % within thirty
    assert sum(gap < 10 for gap in gaps_s) / len(gaps_s) == pytest.approx(0.09, abs=0.025)
    assert sum(gap < 30 for gap in gaps_s) / len(gaps_s) == pytest.approx(0.14, abs=0.03)


def test_a_drive_to_a_shooting_with_two_alerts_is_linked_to_both(hartford: Site) -> None:
    plan = msgspec.structs.replace(FAULTLESS, following_share=0.5, linked_share=1.0)
    drives: dict[tuple[str, ...], set[str]] = {}
    for drive in simulate(hartford, plan).truth:
        if drive.read_ids:
            drives.setdefault(tuple(drive.read_ids), set()).add(drive.alert_id)
    assert max(len(alerts) for alerts in drives.values()) >= 2


def test_twins_are_ordinary_cars_that_cameras_mistake_for_stolen_ones(hartford: Site) -> None:
    plan = msgspec.structs.replace(FAULTLESS, twins_per_stolen_car=0.5, background_reads_per_minute=10)
    twinned = simulate(hartford, plan)
    _, hits, reads = latest(twinned)
    listed = {plate_key(hit.plate): hit.plate for hit in hits.values()}
    unlike = {read.plate for read in reads.values() if listed.get(plate_key(read.plate), read.plate) != read.plate}
    assert 10 <= len(unlike) <= 30
    assert all(differences(plate, listed[plate_key(plate)]) == 1 for plate in unlike)


def test_a_cameras_clock_error_is_constant(hartford: Site) -> None:
    plan = msgspec.structs.replace(FAULTLESS_TRAFFIC, clock_off_share=0.5)
    true = {read["read_id"]: read for read in values(simulate(hartford, FAULTLESS_TRAFFIC), READS)}
    off_by: dict[str, set[int]] = {}
    for read in values(simulate(hartford, plan), READS):
        off_ms = read["captured_at_ms"] - true[read["read_id"]]["captured_at_ms"]
        off_by.setdefault(read["camera_id"], set()).add(off_ms)
    assert all(len(each) == 1 for each in off_by.values())
    assert 0.3 < sum(each != {0} for each in off_by.values()) / len(off_by) < 0.7


def test_a_shot_is_reviewed_within_a_minute(city: City) -> None:
    stamps: dict[str, list[int]] = {}
    for record in city.records:
        if record.topic == SHOTS:
            assert record.value["revision"] == len(stamps.setdefault(record.key, []))
            stamps[record.key].append(record.stamp_ms)
    reviewed = [two for two in stamps.values() if len(two) == 2]
    assert len(reviewed) >= 58
    assert all(0 < second - first <= 60_000 for first, second in reviewed)
    assert {shot["status"] for shot in values(city, SHOTS)} == {"unreviewed", "confirmed", "dismissed"}


def test_shots_peak_in_the_evening_and_traffic_is_low_at_night(hartford: Site) -> None:
    plan = msgspec.structs.replace(FAULTLESS, shots_per_day=200)
    simulated = simulate(hartford, plan)

    def share_in(topic: str, field: str, hours: range) -> float:
        local = [(value[field] - BEGIN_MS) // HOUR_MS % 24 for value in values(simulated, topic)]
        return sum(hour in hours for hour in local) / len(local)

    assert share_in(SHOTS, "occurred_at_ms", range(18, 24)) > 0.4
    assert share_in(READS, "captured_at_ms", range(5)) < 0.08


def test_given_shots_are_used_unchanged_and_cars_drive_around_them(hartford: Site) -> None:
    given: list[dict[str, object]] = [
        {"alert_id": f"given-{number}", "kind": "single_gunshot", "occurred_at_ms": BEGIN_MS + number * 3 * HOUR_MS,
         "lat": 41.78, "lon": -72.68}
        for number in range(-1, 25)
    ]  # fmt: skip
    simulated = simulate(hartford, msgspec.structs.replace(FAULTLESS, linked_share=1.0), given)
    assert values(simulated, SHOTS) == given[1:25]  # the first and the last are outside the planned period
    assert len({drive.alert_id for drive in simulated.truth}) >= 20
    assert sum(evidence(simulated, hartford)) >= 20


def test_a_site_without_zones_has_its_shots_between_its_ramps() -> None:
    ramps = {
        f"R-{number}": Ramp(
            f"R-{number}", "I-1", str(number), "on" if number % 2 else "off", 41.7 + number / 100, -72.6
        )
        for number in range(6)
    }
    bare = Site("bare", "America/New_York", ramps)
    simulated = simulate(bare, FAULTLESS)
    assert all(41.7 <= shot["lat"] <= 41.75 for shot in values(simulated, SHOTS))
    assert any(drive.linkable for drive in simulated.truth)


def test_plates_are_from_the_home_state_of_the_site_or_its_neighbours() -> None:
    kansas_city = load_site("kansas-city")
    plan = msgspec.structs.replace(FAULTLESS, duration_ms=6 * HOUR_MS)
    regions = Counter(read["region"] for read in values(simulate(kansas_city, plan), READS))
    assert regions.most_common(1)[0][0] == "US-MO"
    assert set(regions) == {"US-MO", "US-KS", "US-IL", "US-NE"}


def test_a_site_without_a_known_home_region_is_rejected_unless_the_plan_names_one() -> None:
    bare = Site("bare", "Europe/Paris", {"R-1": Ramp("R-1", "A1", "1", "on", 48.9, 2.3)})
    with pytest.raises(ValueError, match="Europe/Paris: has no known home region; set the plan's region"):
        simulate(bare, FAULTLESS)
    named = simulate(bare, msgspec.structs.replace(FAULTLESS, region="US-NH", duration_ms=HOUR_MS))
    assert {read["region"] for read in values(named, READS)} == {"US-NH"}


def test_each_revision_of_an_identity_appears_once_without_faults(faultless: City) -> None:
    seen = Counter(
        (record.topic, record.key, identity_of(decoded(record)), record.value.get("revision", 0))
        for record in faultless.records
    )
    assert max(seen.values()) == 1


def test_a_character_is_misread_as_one_of_similar_shape() -> None:
    rng = random.Random(1)
    alike = Counter(misread("X00000X", 1.0, rng).strip("X0") for _ in range(1_000))
    assert set(alike) == {"O", "D", "Q"}
    assert alike["O"] > alike["D"] + alike["Q"]
    unlike = Counter(misread("7777777", 0.0, rng).strip("7") for _ in range(1_000))
    assert unlike["1"] + unlike["2"] > 400
    assert "8" not in unlike


def test_invented_plates_have_unique_keys_until_they_run_out() -> None:
    plates = invented_plates(100_000, random.Random(1))  # if two pairs of letters looked alike, hundreds would collide
    assert len({plate_key(plate) for plate in plates}) == len(plates)
    with pytest.raises(ValueError, match="simulate fewer cars"):
        invented_plates(PLATES + 1, random.Random(1))


@pytest.mark.parametrize(
    ("field", "wrong"), [("miss_share", 1.5), ("duration_ms", 0), ("stolen_cars", -1), ("shots_per_day", -1.0)]
)
def test_an_impossible_plan_is_rejected(field: str, wrong: float) -> None:
    with pytest.raises(ValueError, match=field):
        msgspec.structs.replace(PLAN, **{field: wrong})
    with pytest.raises(ValueError, match=field):
        CityPlan(**(msgspec.structs.asdict(PLAN) | {field: wrong}))


def test_without_faults_turns_off_every_fault_and_nothing_else() -> None:
    changed = {
        name for name, value in msgspec.structs.asdict(PLAN.without_faults()).items() if value != getattr(PLAN, name)
    }
    assert changed == set(FAULTS)
