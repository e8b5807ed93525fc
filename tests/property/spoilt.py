"""Hypothesis strategies for spoilt records, and the world whose engine they must not upset."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from streams.core.topics import INPUTS
from tests.drivers.engine import scenario

LARGEST_INTEGER = 2**53
SCENARIO = scenario(0)

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-LARGEST_INTEGER - 1, LARGEST_INTEGER + 1)
    | st.floats()
    | st.text()
    | st.sampled_from(["SIMB01", "active", "recovered", "dismissed", "ramp-0", "on", "-0.0", "\ud800", "\x00", "ŉ" * 9])
)
any_json = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner), max_leaves=8
)


def _valid_values(topic: str) -> list[dict[str, Any]]:
    values = (line.get("value") for seed in range(8) for line in scenario(seed).world.archive[topic])
    return [value for value in values if isinstance(value, dict) and len(value) > 3]


VALID = {topic: _valid_values(topic) for topic in INPUTS}


@st.composite
def spoilt(draw: st.DrawFn) -> tuple[str, bytes]:
    """Topic and value of a valid record in which some fields, some bytes or both are replaced."""
    topic = draw(st.sampled_from(INPUTS))
    value = dict(draw(st.sampled_from(VALID[topic])))
    for name in draw(st.lists(st.sampled_from(sorted(value)), max_size=3)):
        value[name] = draw(any_json)
    raw = bytearray(json.dumps(value).encode())
    for index, byte in draw(st.lists(st.tuples(st.integers(0, len(raw) - 1), st.integers(0, 255)), max_size=2)):
        raw[index] = byte
    return topic, bytes(raw)
