"""The oracle against results computed by hand, one rule of the join at a time."""

from __future__ import annotations

import hashlib
import json

import pytest

from tests.oracle.join import incident_id
from tests.oracle.records import READS, Value, digest, known_region, plate_key
from tests.paths import ROOT
from tests.worlds.cases import (
    DAY_MS,
    FREEZE_MS,
    HOUR_MS,
    MINUTE_MS,
    SHOT_MS,
    action,
    hit,
    incident,
    links,
    read,
    shot,
    verdict,
)


def test_the_oracle_imports_nothing_of_the_product() -> None:
    for file in sorted((ROOT / "tests" / "oracle").glob("*.py")):
        imports = [line for line in file.read_text("utf-8").splitlines() if "import " in line]
        assert [line for line in imports if "streams" in line] == [], file.name


def test_an_incident_carries_every_field_that_the_contract_determines() -> None:
    name = hashlib.sha256(b'["S","H","51M801"]').hexdigest()[:32]
    got = incident(shot(SHOT_MS + 3), hit(), read(5 * MINUTE_MS, 2, ramp_id="far", region="ct", plate="sim-b01"))
    assert got is not None
    assert got["shot"] == shot()["value"] | {
        "revision": 0,
        "status": "unreviewed",
        "uncertainty_m": 25,
        "rounds": None,
        "source": None,
        "stamp_ms": SHOT_MS + 3,
    }
    assert {**hit()["value"], "revision": 0, "status": "active"}.items() <= got["vehicle"].items()
    assert len(got["vehicle"]) == 19
    assert got["sightings"] == [
        {
            "read_id": "R",
            "ramp_id": "far",
            "road": "I-91",
            "exit": "48",
            "direction": "off",
            "lat": 41.81,
            "lon": -72.67,
            "captured_at_ms": SHOT_MS + 5 * MINUTE_MS,
            "stamp_ms": SHOT_MS + 5 * MINUTE_MS + 2,
            "seconds_from_shot": 300.0,
            "distance_m": 5560,
            "required_speed_mps": pytest.approx((5560 - 25 - 150) / 300),
            "confidence": 0.9,
            "match": "exact",
            "plate_as_read": "sim-b01",
            "region": "ct",
            "make": None,
            "colour": None,
        }
    ]
    assert (got["incident_id"], got["status"], got["set_aside"], got["review"]) == (name, "open", [], [])
    assert (got["zone_id"], got["left_out_from_ms"], got["frozen_at_ms"]) == ("z", None, FREEZE_MS + 3)


def test_a_shot_outside_every_polygon_is_in_the_city() -> None:
    got = incident(shot(lat=41.805), hit(), read(5 * MINUTE_MS, ramp_id="far"))
    assert got is not None
    assert got["zone_id"] == "city"


@pytest.mark.parametrize(
    ("after_ms", "linked"),
    [
        (-45 * MINUTE_MS, True),
        (-45 * MINUTE_MS - 1, False),
        (30 * MINUTE_MS, True),
        (30 * MINUTE_MS + 1, False),
    ],
)
def test_both_ends_of_the_window_are_inside(after_ms: int, linked: bool) -> None:
    assert links(shot(), hit(), read(after_ms)) is linked


@pytest.mark.parametrize(
    ("uncertainty_m", "after_ms", "linked"),
    [
        (10, 120_000, True),  # 5 560 - 10 - 150 = 5 400 m at 45 m/s: exactly two minutes
        (10, 119_999, False),
        (10, -120_000, True),
        (10, -119_999, False),
        (25, 119_667, True),  # 5 385 m: 119 666.7 ms
        (25, 119_666, False),
        (5410, 0, True),  # 5 560 - 5 410 is the slack
        (5409, 0, False),
        (9999, 0, True),
    ],
)
def test_a_read_counts_only_if_the_car_could_have_driven_the_distance_in_time(
    uncertainty_m: int, after_ms: int, linked: bool
) -> None:
    assert links(shot(uncertainty_m=uncertainty_m), hit(), read(after_ms, ramp_id="far")) is linked


@pytest.mark.parametrize(("max_distance_m", "linked"), [(5560, True), (5559, False)])
def test_the_distance_is_rounded_before_it_is_compared(max_distance_m: int, linked: bool) -> None:
    far = read(10 * MINUTE_MS, ramp_id="far")
    assert links(shot(), hit(), far, max_distance_m=max_distance_m) is linked


@pytest.mark.parametrize(
    ("content", "after_ms", "linked"),
    [
        ({"stolen_at_ms": SHOT_MS}, 0, True),
        ({"stolen_at_ms": SHOT_MS}, -1, False),
        ({"reported_at_ms": SHOT_MS + 12 * HOUR_MS}, 0, True),
        ({"reported_at_ms": SHOT_MS + 12 * HOUR_MS}, -1, False),
        ({"reported_at_ms": SHOT_MS - 30 * DAY_MS}, -1, True),
        ({"reported_at_ms": SHOT_MS - 30 * DAY_MS}, 0, False),
        ({"status": "recovered", "cleared_at_ms": SHOT_MS}, -1, True),
        ({"status": "recovered", "cleared_at_ms": SHOT_MS}, 0, False),
        ({"cleared_at_ms": SHOT_MS}, 0, True),  # not recovered: ignored
        ({"stolen_at_ms": SHOT_MS, "status": "recovered", "cleared_at_ms": SHOT_MS}, 0, False),
        ({"status": "cancelled"}, 0, False),
    ],
)
def test_a_hit_covers_from_the_theft_up_to_but_not_including_its_end(
    content: Value, after_ms: int, linked: bool
) -> None:
    stamp_ms = max(SHOT_MS - HOUR_MS, content.get("reported_at_ms", 0))
    assert links(shot(), hit(stamp_ms, **content), read(after_ms)) is linked


@pytest.mark.parametrize(
    ("as_read", "linked"),
    [("SIMB01", True), ("5IMB01", True), ("51MB01", False), ("SIMB02", False), ("ｓｉｍ　ｂ０１", True)],
)
def test_a_lookalike_may_differ_in_one_character(as_read: str, linked: bool) -> None:
    assert links(shot(), hit(), read(plate=as_read)) is linked


def test_a_lookalike_match_is_labelled_as_one() -> None:
    got = incident(shot(), hit(), read(plate="SIMBO1"))
    assert got is not None
    assert got["sightings"][0]["match"] == "lookalike"


def test_plate_keys_merge_characters_that_cameras_confuse() -> None:
    assert plate_key(" oqd-iz ") == "00012"
    assert plate_key("sbg é×") == "586"
    assert plate_key("ß１") == "551"


@pytest.mark.parametrize(
    ("region", "known"),
    [("CT", "US-CT"), (" us-ct ", "US-CT"), ("Ontario", None), ("", None), (None, None), ("C T", None)],
)
def test_regions_are_normalised(region: str | None, known: str | None) -> None:
    assert known_region(region) == known


def test_the_oracle_knows_the_regions_of_the_contracts_vectors() -> None:
    vectors = json.loads((ROOT / "schemas" / "plate-keys.json").read_text("utf-8"))["regions"]
    assert len(vectors) > 20
    assert [v for v in vectors if known_region(v["region"]) != v["canonical"]] == []


@pytest.mark.parametrize(
    ("listed", "as_read", "linked"),
    [("CT", "us-ct", True), ("CT", "NY", False), ("CT", None, True), ("Ontario", "NY", True)],
)
def test_only_two_different_known_regions_exclude_a_read(listed: str | None, as_read: str | None, linked: bool) -> None:
    assert links(shot(), hit(region=listed), read(region=as_read)) is linked


@pytest.mark.parametrize(("confidence", "linked"), [(0.6, True), (0.5999999, False), (1, True)])
def test_the_minimum_confidence_is_inclusive(confidence: float, linked: bool) -> None:
    assert links(shot(), hit(), read(confidence=confidence)) is linked


@pytest.mark.parametrize(("late_ms", "linked"), [(0, True), (1, False)])
def test_a_hit_or_shot_stamped_at_the_deadline_still_links_the_read(late_ms: int, linked: bool) -> None:
    stamp_ms = SHOT_MS + DAY_MS + late_ms
    assert links(shot(), hit(stamp_ms), read()) is linked
    assert links(shot(stamp_ms), hit(), read()) is linked


@pytest.mark.parametrize(("late_ms", "status"), [(0, None), (1, "retracted")])
def test_a_read_attached_at_its_deadline_stays_in_the_incident(late_ms: int, status: str | None) -> None:
    got = incident(shot(), hit(), hit(SHOT_MS + DAY_MS + late_ms, revision=1, status="cancelled"), read())
    assert (got and got["status"]) == status
    if got:
        assert (got["sightings"], len(got["set_aside"])) == ([], 1)


def test_a_sighting_set_aside_can_return() -> None:
    dismissed = shot(SHOT_MS + 2 * DAY_MS, revision=1, status="dismissed")
    back = shot(SHOT_MS + 3 * DAY_MS, revision=2, status="confirmed")
    assert not links(shot(), hit(), read(), dismissed)
    assert links(shot(), hit(), read(), dismissed, back)


@pytest.mark.parametrize(("late_ms", "opened"), [(0, False), (1, True)])
def test_a_record_stamped_after_the_freeze_changes_nothing(late_ms: int, opened: bool) -> None:
    assert links(shot(), hit(), read(), hit(FREEZE_MS + late_ms, revision=1, status="cancelled")) is opened
    assert links(shot(), hit(), read(), shot(FREEZE_MS + late_ms, revision=1, status="dismissed")) is opened


def test_no_read_is_added_after_its_deadline() -> None:
    moved = shot(SHOT_MS + 2 * DAY_MS, revision=1, occurred_at_ms=SHOT_MS + 20 * MINUTE_MS)
    got = incident(shot(), hit(), read(), read(45 * MINUTE_MS, read_id="later"), moved)
    assert got is not None
    assert [sighting["read_id"] for sighting in got["sightings"]] == ["R"]
    assert got["sightings"][0]["seconds_from_shot"] == -1200.0


def test_a_sighting_set_aside_has_no_speed_if_no_time_passed() -> None:
    moved = shot(SHOT_MS + 2 * DAY_MS, revision=1, occurred_at_ms=SHOT_MS + 5 * MINUTE_MS)
    got = incident(shot(), hit(), read(5 * MINUTE_MS, ramp_id="far"), moved)
    assert got is not None
    assert got["set_aside"][0]["required_speed_mps"] is None


@pytest.mark.parametrize(("early_ms", "status"), [(0, None), (1, "open")])
def test_hit_records_count_from_a_fixed_span_before_the_shot(early_ms: int, status: str | None) -> None:
    since_ms = SHOT_MS - 31 * DAY_MS - 2 * MINUTE_MS
    old = hit(since_ms - early_ms, revision=5, status="cancelled", reported_at_ms=since_ms - HOUR_MS)
    got = incident(shot(), old, hit(revision=4), read())
    assert (got and got["status"]) == status


def test_the_greatest_revision_wins_then_the_safer_status_then_the_digest() -> None:
    assert links(shot(SHOT_MS + 1, revision=1), shot(SHOT_MS + 2, status="dismissed"), hit(), read())
    # equal revisions: a dismissal loses, a listing that has ended wins, in any order of arrival
    assert links(shot(SHOT_MS, status="dismissed"), shot(SHOT_MS + 1, status="confirmed"), hit(), read())
    assert not links(shot(), hit(status="cancelled"), hit(SHOT_MS + 1), read())
    # of one read, the content with the greater digest, at its smallest stamp
    got = incident(shot(), hit(), read(0, 7), read(0, 5, confidence=0.8), read(0, 9))
    plain = {**read()["value"], "region": None, "direction": None, "make": None, "colour": None}
    greater = digest({**plain, "confidence": 0.9}) > digest({**plain, "confidence": 0.8})
    assert got is not None
    assert got["sightings"][0]["stamp_ms"] == SHOT_MS + (7 if greater else 5)


def test_a_digest_is_of_utf_8_bytes_without_the_plate_and_of_numbers_that_became_floats() -> None:
    given = {"plate": "SIMB01", "make": "é😀", "lat": 1.0, "hit_id": "H"}
    text = '{"hit_id":"H","lat":1.0,"make":"é😀"}'
    assert digest(given) == hashlib.sha256(text.encode("utf-8")).hexdigest()[:32]
    assert verdict(read(confidence=1), read(confidence=1.0, region=None)).outcomes[READS] == {
        "used": 1,
        "duplicate": 1,
    }


def test_reads_with_one_id_at_two_times_are_two_reads() -> None:
    got = incident(shot(), hit(), read(5), read(3))
    assert got is not None
    assert [sighting["captured_at_ms"] - SHOT_MS for sighting in got["sightings"]] == [3, 5]


def test_a_hit_with_a_corrected_plate_is_another_hit() -> None:
    cancelled = hit(SHOT_MS + 1, revision=1, status="cancelled")
    corrected = hit(SHOT_MS + 1, revision=2, plate="T0YZG5")
    incidents = verdict(shot(), hit(), cancelled, corrected, read(), read(plate="T0YZG5")).incidents
    assert list(incidents) == [incident_id("S", "H", "T0Y265")]


def test_an_incident_keeps_the_first_fifty_reads() -> None:
    reads = [read(n // 2, read_id=f"R{n}") for n in range(52)]
    got = incident(shot(), hit(), *reads[:50])
    assert got is not None
    assert (len(got["sightings"]), got["left_out_from_ms"]) == (50, None)
    got = incident(shot(), hit(), *reversed(reads))
    assert got is not None
    assert (len(got["sightings"]), got["left_out_from_ms"]) == (50, SHOT_MS + 25)
    assert [sighting["read_id"] for sighting in got["sightings"][8:12]] == ["R8", "R9", "R10", "R11"]


def test_reads_set_aside_count_towards_the_fifty() -> None:
    reads = [read(n * MINUTE_MS // 4, read_id=f"R{n}") for n in range(51)]
    recovered = hit(SHOT_MS + 2 * DAY_MS, revision=1, status="recovered", cleared_at_ms=SHOT_MS + MINUTE_MS)
    got = incident(shot(), hit(), recovered, *reads)
    assert got is not None
    assert (len(got["sightings"]), len(got["set_aside"])) == (4, 46)
    assert got["left_out_from_ms"] == SHOT_MS + 50 * MINUTE_MS // 4


@pytest.mark.parametrize(("stamp_ms", "counts"), [(SHOT_MS - 1, 0), (SHOT_MS, 1), (FREEZE_MS, 1), (FREEZE_MS + 1, 0)])
def test_actions_count_from_the_first_stamp_through_the_freeze(stamp_ms: int, counts: int) -> None:
    got = incident(shot(), hit(), read(), action(stamp_ms))
    assert got is not None
    assert (len(got["review"]), got["status"]) == (counts, "open")


def test_actions_are_listed_by_time_and_id_with_one_fact_each() -> None:
    actions = [
        action(SHOT_MS + 9, "b", at_ms=SHOT_MS + 5),
        action(SHOT_MS + 8, "c", at_ms=SHOT_MS + 4),
        action(SHOT_MS + 7, "a", at_ms=SHOT_MS + 5, note="x"),
        action(SHOT_MS + 6, "a", at_ms=SHOT_MS + 5, note="w"),
    ]
    got = incident(shot(), hit(), read(), *actions)
    assert got is not None
    review = [(done["action_id"], done["note"], done["stamp_ms"] - SHOT_MS) for done in got["review"]]
    assert review == [("c", None, 8), ("a", "x", 7), ("b", None, 9)]
    got = incident(shot(), hit(), read(), *(action(SHOT_MS + n, f"A{n:02}") for n in range(51)))
    assert got is not None
    assert [done["action_id"] for done in got["review"]] == [f"A{n:02}" for n in range(50)]
