"""Batch operations on reads give what single reads give, or decline by returning None."""

from __future__ import annotations

import json
from collections import Counter
from itertools import chain
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from streams.core.codec import decode, decode_reads
from streams.core.engine import Engine
from streams.core.events import InvalidRecord, Record
from streams.core.intake import Admitted, AdmittedReads, Intake
from streams.core.plates import plate_key, plate_keys
from streams.core.topics import READS
from streams.core.unlisted_reads import CHUNK_READS, CompressedReads
from tests.drivers.engine import Scenario, apply, apply_reads, scenario
from tests.lanes import LANE
from tests.property.spoilt import SCENARIO, VALID, spoilt

examples = settings(deadline=None, max_examples=LANE.admission_examples, suppress_health_check=list(HealthCheck))
AT_MS = 1_700_000_000_000

plates = st.text(alphabet="abzOQDISBG019 -\n\x00", max_size=12) | st.text(max_size=11)
valid = st.sampled_from(VALID[READS]).map(lambda value: json.dumps(value, ensure_ascii=False).encode())
values = valid | valid | valid | spoilt().map(lambda record: record[1]) | st.sampled_from([None, b"", b"{}", b"\xff"])


def _or_none(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except InvalidRecord:
        return None


@examples
@given(st.lists(plates, min_size=1, max_size=6))
@example(["A\nB", "C"])
@example(["7XYZ123", "7xyz-123"])
def test_plate_keys_of_a_batch_equal_those_of_single_plates(raw: list[str]) -> None:
    keys = [_or_none(plate_key, plate) for plate in raw]
    assert plate_keys(raw) in (None, keys)
    if None not in keys and "".join(raw).isascii() and "\n" not in "".join(raw):
        assert plate_keys(raw) == keys


@examples
@given(st.lists(values, min_size=1, max_size=6))
def test_a_batch_of_reads_decodes_as_single_reads_do(raw: list[bytes | None]) -> None:
    reads = [_or_none(decode, READS, value) for value in raw]
    assert decode_reads(raw) in (None, reads)
    if None not in reads and b"".join(value or b"" for value in raw).isascii():
        assert decode_reads(raw) == reads or max(len(value or b"") for value in raw) > 512


def _columns(admitted: list[Admitted]) -> AdmittedReads:
    return AdmittedReads(
        [one.event for one in admitted],  # type: ignore[misc]
        [one.plate_key for one in admitted],
        [one.event.captured_at_ms for one in admitted],  # type: ignore[union-attr]
        [one.stamp_ms for one in admitted],
        [one.record.value for one in admitted],
    )


@examples
@given(st.lists(st.tuples(values, st.sampled_from([AT_MS, AT_MS + 10**6, AT_MS + 10**8])), min_size=1, max_size=5))
def test_a_batch_of_reads_is_admitted_as_single_reads_are(rows: list[tuple[bytes | None, int]]) -> None:
    intake = Intake(SCENARIO.site, SCENARIO.rules)
    single = [_or_none(intake.admit, Record(READS, 0, n, stamp_ms, value)) for n, (value, stamp_ms) in enumerate(rows)]
    batch = intake.admit_reads([value for value, _ in rows], [stamp_ms for _, stamp_ms in rows])
    assert batch is None or (None not in single and batch == _columns(single))


def test_most_valid_reads_are_admitted_as_a_batch() -> None:
    reads = [one for seed in range(20) for one in scenario(seed).admitted[READS] if one.record.value.isascii()]
    intake = Intake(SCENARIO.site, SCENARIO.rules)
    batches = [intake.admit_reads([one.record.value], [one.stamp_ms]) for one in reads]
    assert sum(batch is not None for batch in batches) > len(reads) / 2


def _without_reads(whole: Scenario) -> Engine:
    """An engine to which everything but the reads has been applied."""
    engine = Engine(whole.site, whole.rules)
    for topic, records in whole.admitted.items():
        for record in records if topic != READS else ():
            apply(engine, record)
    return engine


def test_a_batch_of_reads_joins_as_single_reads_do() -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(40):
        whole = scenario(seed)
        single, batch = _without_reads(whole), _without_reads(whole)
        expected = Counter(apply(single, record) for record in whole.admitted[READS])
        assert apply_reads(batch, whole.admitted[READS]) == expected
        assert batch.changes() == single.changes()
        assert batch.reads_kept == single.reads_kept
        outcomes += expected
    assert {"used", "duplicate", "conflict"} <= set(outcomes), "the worlds must hold every kind of outcome"


def test_reads_before_the_finalized_time_count_as_finalized_in_a_batch_too() -> None:
    whole = scenario(0)
    engine = Engine(whole.site, whole.rules, finalized_through_ms=2**52)
    assert apply_reads(engine, whole.admitted[READS]) == {"finalized": len(whole.admitted[READS])}


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 3 * CHUNK_READS), min_size=1, max_size=4), st.booleans())
def test_compressed_reads_return_what_was_added_in_batches_of_any_size(sizes: list[int], one_by_one: bool) -> None:
    reads, added = CompressedReads(), []
    for size in sizes:
        rows = [(f"K{n % 7}", AT_MS - n, b"x" * (n % 11)) for n in range(size)]
        if one_by_one:
            for key, stamp_ms, value in rows:
                reads.append(AT_MS, key, stamp_ms, value)
        else:
            reads.extend(AT_MS, *zip(*rows, strict=True))
        added += rows
    assert len(reads) == len(added)
    for wanted in {key for key, _, _ in added}:
        assert list(chain.from_iterable(reads.search([wanted]))) == [
            (stamp_ms, value) for key, stamp_ms, value in added if key == wanted
        ]
    reads.release(AT_MS + 1)
    assert len(reads) == 0
