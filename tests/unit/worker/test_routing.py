"""Records of the joined topics belong to the partition of their plate key."""

from __future__ import annotations

from streams.core.events import PlateRead, Record
from streams.core.intake import Admitted
from streams.core.topics import READS
from streams.kafka.partitioner import partition_of
from streams.worker.routing import PlateRouting

READ = PlateRead("R", "P", 0, "ramp", "camera", 0.9)
KEYS = [f"PLATE{n}" for n in range(64)]


def test_the_home_of_a_record_is_the_partition_of_its_plate_key():
    admitted = [Admitted(READ, key, Record(READS, 3, 0, 0, b"")) for key in KEYS]
    assert PlateRouting(12).homes_of(admitted) == [partition_of(key, 12) for key in KEYS]


def test_a_forwarded_record_is_not_forwarded_again():
    assert PlateRouting(12).homes_of([Admitted(READ, KEYS[0], Record(READS, 3, 0, 0, b"", "1:2"))]) == [3]


def test_a_batch_is_at_home_only_if_every_key_is():
    routing = PlateRouting(12)
    mine = [key for key in KEYS if partition_of(key, 12) == 5]
    assert mine
    assert routing.all_at_home(5, mine)
    assert not routing.all_at_home(5, [*mine, next(key for key in KEYS if key not in mine)])
