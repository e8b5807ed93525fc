"""What a partition keeps of reads is bounded by a figure that `rampwatch check` prints."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from msgspec import json, structs

from streams.core.engine import Engine
from streams.core.events import InvalidRecord, PlateRead, VehicleHit
from streams.core.intake import AdmittedReads
from streams.core.memory import LISTED_READ_BYTES, Memory
from streams.core.memory_ceiling import memory_ceiling_bytes
from streams.core.plates import plate_key
from streams.core.rules import JoinRules
from streams.core.site import Ramp, Site

AT_MS = 1_780_000_000_000
RULES = JoinRules(max_read_bytes_kept=4 * 2**20, max_reads_per_plate=100_000)
READ = PlateRead("read-0000000001", "SIMB01", AT_MS, "I-84-E-48-off", "camera-1", 0.9, "US-CT", "off", "Kia", "red")
HIT = VehicleHit("H", "SIMB01", AT_MS)
SITE = Site("example", "America/New_York", {READ.ramp_id: Ramp(READ.ramp_id, "I-84", "48", "off", 41.76, -72.67)})


def grown_bytes(memory: Memory, count: int, text: str) -> tuple[int, int]:
    """Fill the memory with reads of plates that are not listed; return memory taken, reads kept."""
    rng = random.Random(1)
    tracemalloc.start()
    for n in range(count):
        read = structs.replace(READ, read_id=f"{rng.randrange(16**30):030x}", plate=f"X{n:06}", make=text)
        if not is_kept(memory, read):
            break
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return taken, len(memory.unlisted)


def is_kept(memory: Memory, read: PlateRead) -> bool:
    try:
        memory.add_unlisted(read, read.plate, AT_MS, json.encode(read))
    except InvalidRecord as error:
        return (error.reason, "max_read_bytes_kept" in error.detail) != ("limit", True)
    return True


@pytest.mark.parametrize("text", ["Kia", "x" * 500, "\u0001" * 500])
def test_reads_of_unlisted_plates_stay_below_the_ceiling(text):
    memory = Memory(RULES)
    taken_bytes, kept = grown_bytes(memory, 200_000, text)
    assert kept < 200_000, "the limit was reached"
    assert kept > 1_000
    assert taken_bytes < memory_ceiling_bytes(RULES)


def test_fields_that_nobody_knows_take_no_memory():
    memory = Memory(RULES)
    value = json.encode({**structs.asdict(READ), "picture": "x" * 50_000})
    for n in range(10_000):
        memory.add_unlisted(structs.replace(READ, read_id=f"r{n}"), "51M801", AT_MS, value)
    assert memory.bytes_kept < RULES.max_read_bytes_kept


def test_a_read_of_a_listed_plate_takes_about_what_it_counts_as():
    memory = Memory(RULES)
    key = plate_key(HIT.plate)
    memory.add_hit(HIT, key, AT_MS)
    reads = [structs.replace(READ, read_id=f"read-{n:010}", captured_at_ms=AT_MS + n) for n in range(5_000)]
    before = [json.decode(json.encode(read), type=PlateRead) for read in reads[:1]]
    assert before == reads[:1]
    tracemalloc.start()
    for read in reads:
        memory.add_read(json.decode(json.encode(read), type=PlateRead), key, read.captured_at_ms)
    taken_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0.5 < taken_bytes / (LISTED_READ_BYTES * len(reads)) < 1.1


def test_a_full_partition_lists_no_further_plate_and_says_so():
    memory = Memory(RULES)
    grown_bytes(memory, 200_000, "Kia")
    with pytest.raises(InvalidRecord, match="this hit is not listed") as error:
        memory.add_hit(HIT, plate_key(HIT.plate), AT_MS)
    assert error.value.reason == "limit"
    memory.add_hit(HIT, plate_key(HIT.plate), AT_MS, restored=True)


def test_a_batch_that_reaches_the_limit_of_memory_half_way_is_taken_in_whole():
    """Some of its reads are final, and others of plates that are not listed."""
    rules = JoinRules(max_read_bytes_kept=2**20)
    engine = Engine(SITE, rules, finalized_through_ms=AT_MS + rules.read_retention_ms)
    rng = random.Random(1)
    times_ms = [AT_MS - 1, *range(AT_MS, AT_MS + 20_000)]
    reads = [structs.replace(READ, read_id=f"{rng.randrange(16**30):030x}", captured_at_ms=ms) for ms in times_ms]
    values = [json.encode(read) for read in reads]
    batch = AdmittedReads(reads, [f"X{n}" for n in range(len(reads))], times_ms, times_ms, values)
    assert engine.join_reads(batch) == {"finalized": 1, "used": 20_000}
    while engine.bytes_kept <= rules.max_read_bytes_kept:
        assert engine.join_reads(batch) == {"finalized": 1, "used": 20_000}
    assert engine.join_reads(batch) is None
    assert engine.reads_kept % 20_000 == 0


def test_of_a_plate_listed_late_no_more_reads_are_taken_up_than_the_limit():
    memory = Memory(JoinRules(max_reads_per_plate=10))
    memory.watermark_ms = AT_MS + JoinRules().read_retention_ms
    for at_ms in range(AT_MS - 20, AT_MS + 5_000):  # the first twenty are final
        read = structs.replace(READ, captured_at_ms=at_ms)
        for _ in range(2):
            memory.add_unlisted(read, "51M801", at_ms, json.encode(read))
    for _ in memory.search_unlisted(["51M801"]):
        pass
    assert sum(map(len, memory._found._reads["51M801"].values())) == 10
    memory.add_hit(HIT, "51M801", AT_MS)
    taken = [next(iter(versions)).event.captured_at_ms for versions in memory.reads("51M801")]
    assert taken == list(range(AT_MS, AT_MS + 10))


def test_a_listing_sent_each_hour_reaches_no_limit_and_keeps_a_stamp_of_each_hour():
    rules, hour_ms = JoinRules(), 3_600_000
    memory = Memory(rules)
    for hour in range(90 * 24):
        stamp_ms = memory.watermark_ms = AT_MS + hour * hour_ms
        memory.add_hit(structs.replace(HIT, list_updated_at_ms=stamp_ms), "51M801", stamp_ms)
        memory.add_hit(structs.replace(HIT, hit_id="same"), "51M801", stamp_ms)
        memory.release_hits()
    span_ms = rules.hit_ttl_ms + rules.read_retention_ms
    (same,) = memory.hits["51M801"]["same"]
    for ago_ms in range(0, span_ms, hour_ms):
        assert same.in_span(stamp_ms - ago_ms, stamp_ms - ago_ms)
