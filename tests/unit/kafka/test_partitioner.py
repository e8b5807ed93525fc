"""The partitioner is a published contract: Kafka's default, of the key's UTF-8 bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.kafka.partitioner import partition_of, partitions_of
from streams.resources.paths import resource_path


# The hashes that Kafka's own tests expect for these bytes.
@pytest.mark.parametrize(
    ("key", "murmur2"),
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
@pytest.mark.parametrize("partitions", [1, 2, 7, 12, 10_000])
def test_a_key_has_the_partition_that_kafkas_own_producer_assigns(key, murmur2, partitions):
    assert partition_of(key, partitions) == (murmur2 & 0x7FFFFFFF) % partitions


@settings(deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])), st.integers(1, 10_000))
def test_every_key_has_exactly_one_valid_partition(key, partitions):
    assert 0 <= partition_of(key, partitions) < partitions
    assert partition_of(key, partitions) == partition_of(key, partitions)


PLATE_KEYS = st.text(alphabet="ACEFHJKLMNPRTUVWXY0123456789", min_size=1, max_size=10)


@settings(deadline=None)
@given(st.lists(PLATE_KEYS, min_size=40, max_size=80), st.integers(1, 10_000))
def test_plate_keys_in_a_batch_have_the_same_partitions_as_one_by_one(keys, partitions):
    assert partitions_of(keys, partitions) == [partition_of(key, partitions) for key in keys]


@settings(deadline=None)
@given(
    st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=14), max_size=40),
    st.sampled_from([0, 40]),
)
def test_keys_that_are_not_plates_have_the_same_partitions_in_a_batch_as_one_by_one(keys, more):
    keys += ["0A1"] * more
    assert partitions_of(keys, 12) == [partition_of(key, 12) for key in keys]


def test_keys_in_a_batch_have_the_partitions_that_kafkas_own_producer_assigns():
    hashes = {"21": -973932308, "foobar": -790332482, "abc": 479470107}
    for key, murmur2 in hashes.items():
        assert partitions_of([key] * 100, 7) == [(murmur2 & 0x7FFFFFFF) % 7] * 100


@pytest.mark.parametrize("key", ["A\0", "\0", "A23456789012", "ABCD", "ABCDEFGH", ""])
def test_keys_at_word_boundaries_have_the_same_partitions_in_a_batch_as_one_by_one(key):
    assert partitions_of([key] * 40, 10_000) == [partition_of(key, 10_000)] * 40


def test_the_plate_keys_of_the_contract_have_the_partitions_it_lists():
    contract = json.loads(resource_path("schemas", "plate-keys.json").read_text("utf-8"))
    vectors = contract["partitions"]
    assert vectors
    keys = [vector["key"] for vector in vectors] * 40
    assert partitions_of(keys, contract["partition_count"]) == [vector["partition"] for vector in vectors] * 40
