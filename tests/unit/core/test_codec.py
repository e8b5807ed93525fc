"""The codec under attack: its time is linear in the bytes, and nesting is counted exactly."""

from __future__ import annotations

import json
import math
import timeit
from contextlib import suppress
from statistics import linear_regression
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.codec import decode
from streams.core.events import InvalidRecord, Record
from streams.core.intake import Intake
from streams.core.rules import JoinRules
from streams.core.topics import SHOTS
from tests.drivers.engine import scenario
from tests.fuzz.shapes import DEEP, SHAPES, SHOT, Shape

SIZES = [2**power for power in range(13, 21)]
MEASURABLE_S = 0.001
SECONDS_MAX = 1.0
"""Ten times what the slowest shape of 1 MiB takes."""
EXPONENT_MAX = 1.3
TRIES = 3
"""The machine may be busy with other tests; what is quadratic fails every time."""
INTAKE = Intake(scenario(0).site, JoinRules(max_record_bytes=16 * 2**20))


def seconds(topic: str, value: bytes) -> float:
    """The least processor time of several runs."""

    def admit() -> None:
        with suppress(InvalidRecord):
            INTAKE.admit(Record(topic, 0, 0, 1, value))

    return min(timeit.repeat(admit, timer=process_time, number=1, repeat=5))


def growth(topic: str, shape: Shape) -> float:
    """The exponent of the time's growth with the size; 0 if hardly any can be measured."""
    measured: list[tuple[int, float]] = []
    for size in SIZES:
        value = shape(size)
        took_s = seconds(topic, value)
        assert took_s < SECONDS_MAX, f"{len(value)} bytes take {took_s:.2f} s"
        if took_s >= MEASURABLE_S:
            measured.append((len(value), took_s))
    if len(measured) < 3:
        return 0.0
    logarithms = [[math.log(number) for number in column] for column in zip(*measured, strict=True)]
    return linear_regression(*logarithms).slope


@pytest.mark.parametrize("name", SHAPES)
def test_the_time_to_admit_or_reject_a_record_is_linear_in_its_bytes(name):
    exponents = [growth(*SHAPES[name])]
    while exponents[-1] >= EXPONENT_MAX and len(exponents) < TRIES:
        exponents.append(growth(*SHAPES[name]))
    assert exponents[-1] < EXPONENT_MAX, exponents


@pytest.mark.parametrize("name", SHAPES)
def test_the_shapes_have_the_size_asked_for(name):
    assert 0.9 * 2**16 < len(SHAPES[name][1](2**16)) < 1.3 * 2**16


def test_the_measure_of_growth_tells_quadratic_from_linear(monkeypatch):
    def time_of(exponent):
        return lambda _, value: (len(value) / 2**20) ** exponent * 0.1

    for exponent in (1, 2):
        monkeypatch.setitem(globals(), "seconds", time_of(exponent))
        assert growth(SHOTS, bytes) == pytest.approx(exponent)


# Nesting

texts = st.text(alphabet='[]{}"\\x\né', max_size=12)
nested = st.recursive(
    texts, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=12
)


def levels(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(levels, inner), default=0)


@settings(deadline=None)
@given(value=nested, ascii_only=st.booleans(), more=st.integers(-2, 2))
def test_nesting_is_counted_outside_strings_whatever_the_strings_hold(value, ascii_only, more):
    """A shot is one level, and ``value`` in an ignored field is put as many lists deep as fit."""
    around = 255 - levels(value) + more
    inner = json.dumps(value, ensure_ascii=ascii_only).encode()
    filler = b',"filler":["' + b"[" * 300 + b'"]}'
    raw = SHOT + b',"x":' + b"[" * around + inner + b"]" * around + filler
    if more <= 0:
        assert decode(SHOTS, raw)
    else:
        with pytest.raises(InvalidRecord, match=r"^schema: nested more than 256 deep; send one flat JSON object$"):
            decode(SHOTS, raw)


@pytest.mark.parametrize("end", [b"", b'"', b'"\\', b'"\\"', b'"]', b"}" * 300, b"]" * 256, b'"\\\\' + b"]" * 257])
def test_deep_nesting_that_does_not_match_is_not_json(end):
    with pytest.raises(InvalidRecord, match=r"^not_json: not JSON: its brackets or its quotes do not match$"):
        decode(SHOTS, DEEP + end + b" " * 300)
