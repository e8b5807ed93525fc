"""Admission never fails with anything but `InvalidRecord`, and what it admits can be joined."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.core.broadcast_state import BroadcastState
from streams.core.engine import Engine
from streams.core.events import InvalidRecord, Record
from streams.core.intake import Intake
from streams.core.topics import BROADCAST, INPUTS
from tests.drivers.engine import apply
from tests.lanes import LANE
from tests.property.spoilt import LARGEST_INTEGER, SCENARIO, any_json, spoilt

examples = settings(deadline=None, max_examples=LANE.admission_examples, suppress_health_check=list(HealthCheck))
topics = st.sampled_from(INPUTS)
stamps_ms = st.integers(-LARGEST_INTEGER, LARGEST_INTEGER) | st.integers(1_700_000_000_000, 1_700_050_000_000)


def admit_and_join(topic: str, value: bytes | None, stamp_ms: int) -> None:
    """Admit a record after a world's records and apply it; only `InvalidRecord` is caught."""
    engine, broadcast = Engine(SCENARIO.site, SCENARIO.rules), BroadcastState(SCENARIO.rules)
    for records in SCENARIO.admitted.values():
        for record in records:
            apply(engine, record)
    try:
        admitted = Intake(SCENARIO.site, SCENARIO.rules).admit(Record(topic, 0, 0, stamp_ms, value))
    except InvalidRecord:
        return
    if topic in BROADCAST:
        broadcast.apply(admitted)
    apply(engine, admitted)
    engine.changes()
    engine.release(stamp_ms)


@examples
@given(topic=topics, value=st.binary() | st.none(), stamp_ms=stamps_ms)
def test_arbitrary_bytes_are_admitted_or_invalid(topic: str, value: bytes | None, stamp_ms: int) -> None:
    admit_and_join(topic, value, stamp_ms)


@examples
@given(topic=topics, value=any_json, stamp_ms=stamps_ms)
def test_arbitrary_json_is_admitted_or_invalid(topic: str, value: object, stamp_ms: int) -> None:
    admit_and_join(topic, json.dumps(value).encode(), stamp_ms)


@examples
@given(record=spoilt(), stamp_ms=stamps_ms)
def test_a_spoilt_record_is_admitted_or_invalid_and_the_join_survives_it(
    record: tuple[str, bytes], stamp_ms: int
) -> None:
    admit_and_join(*record, stamp_ms)
