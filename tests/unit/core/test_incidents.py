"""The content of an incident, given its facts, and when two incidents have equal content."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest
from msgspec import structs

from streams.core.events import CAUTION, IncidentAction, LinkedIncident, PlateRead, ShotAlert, Sighting, VehicleHit
from streams.core.incidents import (
    NOT_IN_SIGHTING,
    RENAMED_IN_SIGHTING,
    IncidentBuilder,
    IncidentFacts,
    StampedRead,
    incident_id,
    same_content,
)
from streams.core.rules import JoinRules
from streams.core.scoring import DEFAULT
from streams.core.site import Ramp, Site, Zone

AT_MS = 1_780_000_000_000
SQUARE = ((-72.7, 41.7), (-72.6, 41.7), (-72.6, 41.78), (-72.7, 41.78), (-72.7, 41.7))
RAMPS = {
    "here": Ramp("here", "I-91", "48", "on", 41.76, -72.67),
    "there": Ramp("there", "I-84", "50", "off", 41.81, -72.67),
}
SITE = Site("example", "America/New_York", RAMPS, (Zone("centre", "Centre", ((SQUARE,),)),))
SHOT = ShotAlert("S", "single_gunshot", AT_MS, 41.76, -72.67)
HIT = VehicleHit("H", "SIMB01", AT_MS - 3_600_000)


def read(after_ms: int = 60_000, **fields: Any) -> StampedRead:
    plain = PlateRead("R", "SIMB01", AT_MS + after_ms, "here", "camera", 0.9)
    return StampedRead(structs.replace(plain, **fields), AT_MS + after_ms + 5)


def facts(*attached: StampedRead, **fields: Any) -> IncidentFacts:
    plain = IncidentFacts(
        incident_id=incident_id("S", "H", "51M801"),
        shot=SHOT,
        shot_stamp_ms=AT_MS + 1,
        hit=HIT,
        hit_stamp_ms=AT_MS + 2,
        attached=attached,
        left_out_from_ms=None,
        review=[],
        frozen_at_ms=AT_MS + 9,
    )
    return structs.replace(plain, **fields)


def incident(*attached: StampedRead, **fields: Any) -> LinkedIncident:
    return IncidentBuilder(SITE, JoinRules(), DEFAULT).build(facts(*attached, **fields), 3)


def test_the_id_is_the_first_half_of_a_sha_256_over_compact_json():
    assert incident_id("S", "H", "51M801") == hashlib.sha256(b'["S","H","51M801"]').hexdigest()[:32]


@pytest.mark.parametrize("odd", ['"', "\\", "\n", "\x7f", "/", "é", "\u2028", "😀", "\x01"])
def test_special_characters_in_ids_are_hashed_as_python_writes_them_in_json(odd):
    import json

    text = json.dumps([odd, odd, "51M801"], separators=(",", ":"), ensure_ascii=False)
    assert incident_id(odd, odd, "51M801") == hashlib.sha256(text.encode()).hexdigest()[:32]


def test_ids_that_concatenate_to_the_same_text_give_different_incident_ids():
    assert incident_id("a", "bc", "K") != incident_id("ab", "c", "K")


def test_an_incident_is_open_with_sightings_and_retracted_without():
    assert incident(read()).status == "open"
    assert incident(read(confidence=0.1)).status == "retracted"
    assert incident(read(confidence=0.1), read()).status == "open"
    assert incident().status == "retracted"


def test_reads_that_present_facts_no_longer_support_are_set_aside():
    built = incident(read(1, read_id="a"), read(2, read_id="b", confidence=0.1), read(3, read_id="c"))
    assert [s.read_id for s in built.sightings] == ["a", "c"]
    assert [s.read_id for s in built.set_aside] == ["b"]


def test_all_reads_of_a_dismissed_shot_are_set_aside():
    built = incident(read(), shot=structs.replace(SHOT, status="dismissed"))
    assert (built.status, len(built.sightings), len(built.set_aside), built.score) == ("retracted", 0, 1, 0.0)


def test_an_incident_contains_every_field_of_its_facts_with_their_stamps():
    action = IncidentAction("A", "I", "dismiss", "someone", AT_MS, reason="r", note="n")
    built = incident(read(), review=[(action, 77)], left_out_from_ms=5)
    assert {**structs.asdict(SHOT), "stamp_ms": AT_MS + 1} == structs.asdict(built.shot)
    assert {**structs.asdict(HIT), "stamp_ms": AT_MS + 2} == structs.asdict(built.vehicle)
    assert [structs.asdict(reviewed) for reviewed in built.review] == [{**structs.asdict(action), "stamp_ms": 77}]
    assert (built.revision, built.left_out_from_ms, built.frozen_at_ms, built.caution) == (3, 5, AT_MS + 9, CAUTION)


def test_a_sighting_has_place_time_distance_and_required_speed():
    (built,) = incident(read(300_000, ramp_id="there", plate="5im-b01", region=" ct", make="Ford")).sightings
    assert structs.asdict(built) == {
        "read_id": "R",
        "ramp_id": "there",
        "road": "I-84",
        "exit": "50",
        "direction": "off",
        "lat": 41.81,
        "lon": -72.67,
        "captured_at_ms": AT_MS + 300_000,
        "stamp_ms": AT_MS + 300_005,
        "seconds_from_shot": 300.0,
        "distance_m": 5_560,
        "required_speed_mps": pytest.approx((5_560 - 25 - 150) / 300),
        "confidence": 0.9,
        "match": "lookalike",
        "plate_as_read": "5im-b01",
        "region": " ct",
        "make": "Ford",
        "colour": None,
    }


def test_the_direction_comes_from_the_ramp_and_not_from_the_read():
    assert incident(read(direction="off")).sightings[0].direction == "on"


def test_a_read_before_the_shot_has_a_negative_delay():
    assert incident(read(-1_500)).sightings[0].seconds_from_shot == -1.5


def test_a_distant_read_at_the_exact_time_of_the_shot_has_no_required_speed():
    (aside,) = incident(read(0, ramp_id="there")).set_aside
    assert aside.required_speed_mps is None


@pytest.mark.parametrize(("lat", "zone_id"), [(41.76, "centre"), (41.78, "centre"), (41.79, "city")])
def test_the_zone_is_that_of_the_shot(lat, zone_id):
    assert incident(read(), shot=structs.replace(SHOT, lat=lat)).zone_id == zone_id


def test_only_a_confirmed_shot_is_without_the_unreviewed_warning():
    assert "unreviewed" in incident(read()).warnings
    assert "unreviewed" not in incident(read(), shot=structs.replace(SHOT, status="confirmed")).warnings


def test_revision_and_vehicle_stamp_are_not_part_of_the_content():
    one = incident(read())
    vehicle = structs.replace(one.vehicle, stamp_ms=0)
    assert same_content(one, structs.replace(one, revision=9, vehicle=vehicle))


def test_every_other_field_is_part_of_the_content():
    one = incident(read())
    others: list[LinkedIncident] = [
        incident(read(), shot_stamp_ms=AT_MS),
        incident(read(), frozen_at_ms=AT_MS),
        incident(read(), left_out_from_ms=1),
        incident(read(), hit=structs.replace(HIT, make="Ford")),
        incident(read(camera_id="another", make="Kia")),
        incident(structs.replace(read(), stamp_ms=1)),
        incident(read(), review=[(IncidentAction("A", "I", "dismiss", "someone", 0), 0)]),
        incident(read(), read(read_id="R2")),
    ]
    assert not any(same_content(one, other) for other in others)


def test_the_same_facts_give_a_byte_identical_incident():
    encoded = [msgspec.json.encode(incident(read(), read(5, read_id="b"))) for _ in range(2)]
    assert encoded[0] == encoded[1]
    assert msgspec.json.encode(msgspec.json.decode(encoded[0], type=LinkedIncident)) == encoded[0]


FROM_SITE_SHOT_OR_STAMP = {
    "road",
    "exit",
    "direction",
    "lat",
    "lon",
    "stamp_ms",
    "seconds_from_shot",
    "distance_m",
    "required_speed_mps",
    "match",
}


def test_every_field_of_a_read_can_be_restored_from_its_sighting():
    lacking = {
        name
        for name in PlateRead.__struct_fields__
        if name not in NOT_IN_SIGHTING and RENAMED_IN_SIGHTING.get(name, name) not in Sighting.__struct_fields__
    }
    assert not lacking, (
        f"PlateRead has {sorted(lacking)}, which sightings lack: add the field to Sighting in streams/core/events.py, "
        "or name what a restored read has instead in NOT_IN_SIGHTING in streams/core/incidents.py"
    )


def test_every_field_of_a_sighting_is_taken_from_the_read_or_derived():
    of_read = {
        RENAMED_IN_SIGHTING.get(name, name) for name in PlateRead.__struct_fields__ if name not in NOT_IN_SIGHTING
    }
    unknown = set(Sighting.__struct_fields__) - of_read - FROM_SITE_SHOT_OR_STAMP
    assert not unknown, (
        f"Sighting has {sorted(unknown)}, which a rebuild does not restore: add the field to PlateRead, or to "
        "FROM_SITE_SHOT_OR_STAMP in this test if it follows from the site file, the shot or the stamp"
    )
