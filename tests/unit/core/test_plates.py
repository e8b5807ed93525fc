"""Plates and regions, checked against the published vectors for other implementations."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.core.events import InvalidRecord
from streams.core.plates import MAX_LENGTH, confusion_key, differences, normalise, plate_key, region, usable
from tests.paths import ROOT

VECTORS: dict[str, Any] = json.loads((ROOT / "schemas" / "plate-keys.json").read_text(encoding="utf-8"))
# The machine may be busy with other tests, so the duration of one example means nothing.
no_deadline = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
CAPITALS_AND_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

normalised_plates = st.text(alphabet=CAPITALS_AND_DIGITS, min_size=1, max_size=MAX_LENGTH)


@pytest.mark.parametrize("vector", VECTORS["plates"], ids=lambda vector: ascii(vector["plate"]))
def test_a_plate_has_the_published_normal_form_and_key(vector):
    assert normalise(vector["plate"]) == vector["normalised"]
    assert plate_key(vector["plate"]) == vector["key"]


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: ascii(vector["plate"]))
def test_a_plate_that_is_empty_or_too_long_is_rejected(vector):
    with pytest.raises(InvalidRecord) as rejected:
        plate_key(vector["plate"])
    assert (rejected.value.reason, rejected.value.field) == (vector["reason"], "plate")


@pytest.mark.parametrize("vector", VECTORS["lookalikes"], ids=lambda vector: f"{vector['one']}-{vector['other']}")
def test_differences_between_lookalikes_match_the_published_vectors(vector):
    one, other = normalise(vector["one"]), normalise(vector["other"])
    if vector["differences"] is None:
        assert confusion_key(one) != confusion_key(other)
    else:
        assert confusion_key(one) == confusion_key(other)
        assert differences(one, other) == vector["differences"]


@pytest.mark.parametrize("vector", VECTORS["regions"], ids=lambda vector: ascii(vector["region"]))
def test_a_region_has_the_published_canonical_form(vector):
    assert region(vector["region"]) == vector["canonical"]


def test_published_partitions_match_kafkas_default_partitioner():
    partitions = list(range(VECTORS["partition_count"]))
    partitioner = DefaultPartitioner()
    for vector in VECTORS["partitions"]:
        assert partitioner(vector["key"].encode(), partitions, partitions) == vector["partition"], vector


def test_every_published_key_has_a_published_partition():
    assert {vector["key"] for vector in VECTORS["plates"]} == {vector["key"] for vector in VECTORS["partitions"]}


def test_the_key_merges_exactly_the_characters_that_cameras_confuse():
    classes: dict[str, str] = {}
    for character in CAPITALS_AND_DIGITS:
        classes[confusion_key(character)] = classes.get(confusion_key(character), "") + character
    confused = {key: members for key, members in classes.items() if len(members) > 1}
    assert confused == {"0": "DOQ0", "1": "I1", "2": "Z2", "5": "S5", "8": "B8", "6": "G6"}


@no_deadline
@given(st.text(max_size=30))
def test_the_normal_form_keeps_only_a_to_z_and_digits(plate):
    spelled_out = "".join(c for c in unicodedata.normalize("NFKC", plate).upper() if c in CAPITALS_AND_DIGITS)
    assert normalise(plate) == spelled_out


@no_deadline
@given(st.text(max_size=30))
def test_normalising_is_idempotent(plate):
    assert normalise(normalise(plate)) == normalise(plate)


@no_deadline
@given(normalised_plates)
def test_the_key_of_a_key_is_itself(plate):
    assert plate_key(plate_key(plate)) == plate_key(plate)


@no_deadline
@given(normalised_plates, st.sampled_from(" -.·/"))
def test_lowercase_letters_and_separators_do_not_change_the_key(plate, separator):
    assert plate_key(separator.join(plate.lower())) == plate_key(plate)


@no_deadline
@given(normalised_plates)
def test_full_width_characters_do_not_change_the_key(plate):
    assert plate_key("".join(chr(ord(character) + 0xFEE0) for character in plate)) == plate_key(plate)


@no_deadline
@given(normalised_plates)
def test_a_plate_differs_from_its_key_in_the_confusable_characters(plate):
    confusable = sum(character in "OQDIZSBG" for character in plate)
    assert differences(plate, confusion_key(plate)) == confusable


@no_deadline
@given(st.text(alphabet=CAPITALS_AND_DIGITS, max_size=2 * MAX_LENGTH))
def test_a_normalised_plate_is_usable_if_it_has_1_to_10_characters(plate):
    if 1 <= len(plate) <= MAX_LENGTH:
        assert usable(plate) == plate
    else:
        with pytest.raises(InvalidRecord):
            usable(plate)


def test_the_error_for_an_unusable_plate_does_not_contain_it():
    with pytest.raises(InvalidRecord) as rejected:
        plate_key("TEST 1234567")
    assert "TEST" not in str(rejected.value)


@no_deadline
@given(st.text(max_size=8))
def test_the_canonical_region_of_a_canonical_region_is_itself(raw):
    known = region(raw)
    assert region(known) == known


def test_comparing_plates_of_different_lengths_raises_value_error():
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        differences("TEST123", "TEST12")
