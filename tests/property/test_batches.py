"""What is done to a whole list of reads at once gives what one by one gives, or leaves it to one by one."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from streams.core.engine import Engine
from streams.core.events import READS, InvalidRecord, Record, decode, decode_reads
from streams.core.intake import Admitted, AdmittedReads, Intake
from streams.core.plates import plate_key, plate_keys
from streams.core.unlisted_reads import CHUNK_READS, CompressedReads
from tests.property.driving import Played, played, take_in, take_in_reads
from tests.property.test_admission import PLAY, SOUND, spoilt

unhurried = settings(deadline=None, max_examples=400, suppress_health_check=list(HealthCheck))
AT_MS = 1_700_000_000_000

plates = st.text(alphabet="abzOQDISBG019 -\n\x00", max_size=12) | st.text(max_size=11)
sound = st.sampled_from(SOUND[READS]).map(lambda value: json.dumps(value, ensure_ascii=False).encode())
values = sound | sound | sound | spoilt().map(lambda record: record[1]) | st.sampled_from([None, b"", b"{}", b"\xff"])


def _or_none(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except InvalidRecord:
        return None


@unhurried
@given(st.lists(plates, min_size=1, max_size=6))
@example(["A\nB", "C"])
@example(["7XYZ123", "7xyz-123"])
def test_keys_of_a_list_of_plates_are_those_of_each_or_left_to_each(raw: list[str]) -> None:
    keys = [_or_none(plate_key, plate) for plate in raw]
    assert plate_keys(raw) in (None, keys)
    if None not in keys and "".join(raw).isascii() and "\n" not in "".join(raw):
        assert plate_keys(raw) == keys


@unhurried
@given(st.lists(values, min_size=1, max_size=6))
def test_a_list_of_reads_is_decoded_as_each_or_left_to_each(raw: list[bytes | None]) -> None:
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
        [one.value for one in admitted],
    )


@unhurried
@given(st.lists(st.tuples(values, st.sampled_from([AT_MS, AT_MS + 10**6, AT_MS + 10**8])), min_size=1, max_size=5))
def test_a_list_of_reads_comes_in_as_each_would_or_is_left_to_each(rows: list[tuple[bytes | None, int]]) -> None:
    intake = Intake(PLAY.site, PLAY.rules)
    each = [_or_none(intake.admit, Record(READS, 0, n, stamp_ms, value)) for n, (value, stamp_ms) in enumerate(rows)]
    together = intake.admit_reads([value for value, _ in rows], [stamp_ms for _, stamp_ms in rows])
    assert together is None or (None not in each and together == _columns(each))


def test_sound_reads_come_in_together() -> None:
    reads = [one for seed in range(20) for one in played(seed).admitted[READS] if one.value.isascii()]
    intake = Intake(PLAY.site, PLAY.rules)
    together = [intake.admit_reads([one.value], [one.stamp_ms]) for one in reads]
    assert sum(one is not None for one in together) > len(reads) / 2


def _taken_in(play: Played) -> Engine:
    engine = Engine(play.site, play.rules)
    for topic, records in play.admitted.items():
        for record in records if topic != READS else ():
            take_in(engine, record)
    return engine


def test_a_list_of_reads_joins_as_each_of_it_does() -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(40):
        play = played(seed)
        one_by_one, together = _taken_in(play), _taken_in(play)
        each = Counter(take_in(one_by_one, record) for record in play.admitted[READS])
        assert take_in_reads(together, play.admitted[READS]) == each
        assert together.changes() == one_by_one.changes()
        assert together.reads_kept == one_by_one.reads_kept
        outcomes += each
    assert {"used", "duplicate", "conflict"} <= set(outcomes), "the worlds hold what makes a difference"


def test_what_was_judged_counts_as_a_duplicate_in_a_list_too() -> None:
    play = played(0)
    engine = Engine(play.site, play.rules, finalized_through_ms=2**52)
    assert take_in_reads(engine, play.admitted[READS]) == {"duplicate": len(play.admitted[READS])}


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 3 * CHUNK_READS), min_size=1, max_size=4), st.booleans())
def test_a_ring_gives_back_what_it_was_given_however_much_at_once(sizes: list[int], singly: bool) -> None:
    ring, kept = CompressedReads(), []
    for size in sizes:
        rows = [(f"K{n % 7}", AT_MS - n, b"x" * (n % 11)) for n in range(size)]
        if singly:
            for key, stamp_ms, value in rows:
                ring.append(AT_MS, key, stamp_ms, value)
        else:
            ring.extend(AT_MS, *zip(*rows, strict=True))
        kept += rows
    assert len(ring) == len(kept)
    for wanted in {key for key, _, _ in kept}:
        assert list(ring.of(wanted)) == [(stamp_ms, value) for key, stamp_ms, value in kept if key == wanted]
    ring.release(AT_MS + 1)
    assert len(ring) == 0
