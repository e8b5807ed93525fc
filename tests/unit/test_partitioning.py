"""The partitioner is a published contract: Kafka's default, of the key's UTF-8 bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.partitioning import partition_of


# The hashes are those that Kafka's own tests expect of these bytes.
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
def test_a_key_lies_where_kafkas_own_producer_puts_it(key, murmur2, partitions):
    assert partition_of(key, partitions) == (murmur2 & 0x7FFFFFFF) % partitions


@settings(deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])), st.integers(1, 10_000))
def test_every_key_has_one_partition_among_those_there_are(key, partitions):
    assert 0 <= partition_of(key, partitions) < partitions
    assert partition_of(key, partitions) == partition_of(key, partitions)
