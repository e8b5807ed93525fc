"""No bytes raise anything but `InvalidRecord` at the door, and what is admitted can be joined."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.core.broadcast_state import BroadcastState
from streams.core.engine import Engine
from streams.core.events import BROADCAST, INPUTS, InvalidRecord, Record
from streams.core.intake import Intake
from tests.property.driving import played, take_in

unhurried = settings(deadline=None, max_examples=400, suppress_health_check=list(HealthCheck))
WHOLE = 2**53
topics = st.sampled_from(INPUTS)
stamps_ms = st.integers(-WHOLE, WHOLE) | st.integers(1_700_000_000_000, 1_700_050_000_000)
PLAY = played(0)

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-WHOLE - 1, WHOLE + 1)
    | st.floats()
    | st.text()
    | st.sampled_from(["SIMB01", "active", "recovered", "dismissed", "ramp-0", "on", "-0.0", "\ud800", "\x00", "ŉ" * 9])
)
anything = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner), max_leaves=8
)


def sound_values(topic: str) -> list[dict[str, Any]]:
    values = (line.get("value") for seed in range(8) for line in played(seed).made.archive[topic])
    return [value for value in values if isinstance(value, dict) and len(value) > 3]


SOUND = {topic: sound_values(topic) for topic in INPUTS}


@st.composite
def spoilt(draw: st.DrawFn) -> tuple[str, bytes]:
    """A sound record in which some fields say something else, some bytes are others, or both."""
    topic = draw(topics)
    value = dict(draw(st.sampled_from(SOUND[topic])))
    for name in draw(st.lists(st.sampled_from(sorted(value)), max_size=3)):
        value[name] = draw(anything)
    raw = bytearray(json.dumps(value).encode())
    for at, byte in draw(st.lists(st.tuples(st.integers(0, len(raw) - 1), st.integers(0, 255)), max_size=2)):
        raw[at] = byte
    return topic, bytes(raw)


def taken_in_or_refused(topic: str, value: bytes | None, stamp_ms: int) -> None:
    engine, broadcast = Engine(PLAY.site, PLAY.rules), BroadcastState(PLAY.rules)
    for records in PLAY.admitted.values():
        for record in records:
            take_in(engine, record)
    try:
        admitted = Intake(PLAY.site, PLAY.rules).admit(Record(topic, 0, 0, stamp_ms, value))
    except InvalidRecord:
        return
    if topic in BROADCAST:
        broadcast.feed(admitted)
    take_in(engine, admitted)
    engine.changes()
    engine.release(stamp_ms)


@unhurried
@given(topic=topics, value=st.binary() | st.none(), stamp_ms=stamps_ms)
def test_no_bytes_raise_anything_but_refused(topic: str, value: bytes | None, stamp_ms: int) -> None:
    taken_in_or_refused(topic, value, stamp_ms)


@unhurried
@given(topic=topics, value=anything, stamp_ms=stamps_ms)
def test_no_json_raises_anything_but_refused(topic: str, value: object, stamp_ms: int) -> None:
    taken_in_or_refused(topic, json.dumps(value).encode(), stamp_ms)


@unhurried
@given(record=spoilt(), stamp_ms=stamps_ms)
def test_no_spoilt_record_raises_anything_but_refused_and_none_upsets_the_join(
    record: tuple[str, bytes], stamp_ms: int
) -> None:
    taken_in_or_refused(*record, stamp_ms)
