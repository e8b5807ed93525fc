"""The effects of broadcast records, kept for the agent until the group has committed them."""

from __future__ import annotations

import pytest

from streams.core.counters.events import Tally
from streams.core.effects import Effects
from streams.core.errors import RampwatchError
from streams.core.events import InvalidRecord, Record
from streams.core.topics import SHOTS
from streams.worker.broadcast_reader import _PendingEffects

TALLY = Tally("shots", "S", 0, "city", 0, "confirmed", True)


def record(offset: int) -> Record:
    return Record(SHOTS, 0, offset, 5, b"bytes")


def used(offset: int) -> tuple[Record, Effects]:
    effects = Effects(tallies=[TALLY])
    effects.count(SHOTS, "used")
    return record(offset), effects


def rejected(offset: int) -> tuple[Record, Effects]:
    effects = Effects()
    effects.reject(record(offset), InvalidRecord("schema", "kind", "is missing"))
    return record(offset), effects


def pending(*added: tuple[Record, Effects]) -> _PendingEffects:
    effects = _PendingEffects()
    for each in added:
        effects.add(*each)
    return effects


def test_the_agent_gets_the_outcome_the_tally_and_the_dead_letter_with_its_bytes():
    kept = pending(used(0), rejected(1))
    assert kept.effects_of(record(0)).tallies == [TALLY]
    assert kept.effects_of(record(0)).outcomes == {(SHOTS, "used"): 1}
    (dead,) = kept.effects_of(record(1)).dead_letters
    assert (dead.record.value, dead.error.field) == (b"bytes", "kind")
    assert kept.effects_of(record(1)).outcomes == {(SHOTS, "dead"): 1}


def test_offsets_may_have_gaps():
    kept = pending(used(3), used(9))
    assert kept.next_offset == 10
    assert kept.effects_of(record(9)).tallies == [TALLY]


def test_committed_effects_are_dropped_one_query_late():
    kept = pending(*map(used, range(4)))
    kept.note_committed(2)
    assert kept.effects_of(record(0)).tallies == [TALLY]
    kept.note_committed(3)
    assert kept.effects_of(record(1)) == Effects()
    assert kept.effects_of(record(2)).tallies == [TALLY]


def test_effects_committed_before_the_start_are_never_kept():
    kept = _PendingEffects()
    kept.note_committed(2)
    for each in map(used, range(4)):
        kept.add(*each)
    assert kept.effects_of(record(1)) == Effects()
    assert kept.effects_of(record(2)).tallies == [TALLY]


def test_a_record_the_reader_never_read_is_an_error():
    with pytest.raises(RampwatchError, match="has no offset 4"):
        pending(used(3), used(9)).effects_of(record(4))


def test_an_offset_that_goes_backwards_is_an_error():
    with pytest.raises(RampwatchError, match="went back from offset 6 to 5"):
        pending(used(5), used(5))
