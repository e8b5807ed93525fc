"""Nearly valid records: valid ones spoilt in one or two ways, and some that only look spoilt."""

from __future__ import annotations

import base64
import random
from typing import Any

from tests.oracle.records import ACTIONS, EVENT_TIME, HITS, READS, SHOTS, Value

NOT_JSON = (b"", b"shots fired", b"\xff\xfe{}", b'{"alert_id":', b'{"lat":NaN}', b'{"confidence":-Infinity}')
NOT_AN_OBJECT: tuple[Any, ...] = (None, "text", 7, [], [{}], True)
ANY: dict[str, dict[str, tuple[Any, ...]]] = {
    SHOTS: {"revision": (1.0, True, "1", None, -1, 2**53 + 1), "alert_id": ("", "x" * 129, None, 7)},
    HITS: {"revision": (1.5, False, None, -1), "hit_id": ("", "x" * 129, None)},
    READS: {"read_id": ("", "x" * 129, None, 7), "ramp_id": ("", None), "camera_id": (None, 3)},
    ACTIONS: {"action_id": ("", "x" * 129, None), "incident_id": (None, 7)},
}
WRONG: dict[str, dict[str, tuple[Any, ...]]] = {
    SHOTS: {
        **ANY[SHOTS],
        "status": ("open", None, "Confirmed"),
        "kind": ("fireworks", None),
        "lat": (90.5, -91, "41.7", None, True),
        "lon": (180.5, -181, None),
        "uncertainty_m": (-1, 2.5, 25.0, None),
        "rounds": (3.0, "3", True),
        "source": (7, "x" * 501),
        "occurred_at_ms": (1.0, None, "now", 2**53 + 1),
    },
    HITS: {
        **ANY[HITS],
        "status": ("stolen", None),
        "plate": (None, 7, "A" * 501),
        "region": (7, "x" * 501),
        "stolen_at_ms": ("yesterday", 1.0),
        "year": ("2019", 2019.0),
        "lat": (91, "x"),
        "make": (["Ford"], 7),
    },
    READS: {
        **ANY[READS],
        "plate": (None, 7, ["A"]),
        "confidence": (1.01, -0.1, None, "0.9", True),
        "direction": ("north", "On", 1),
        "captured_at_ms": (1.0, None, "now"),
        "colour": (7, "x" * 501),
    },
    ACTIONS: {
        **ANY[ACTIONS],
        "kind": ("shrug", None),
        "by": (None, 7),
        "at_ms": (1.0, None),
        "note": (7, "x" * 501),
    },
}
HARMLESS: dict[str, tuple[Value, ...]] = {
    SHOTS: ({"alert_id": "x" * 128}, {"source": "x" * 500, "rounds": 2**53}, {"stamp_ms": "unknown field"}),
    HITS: (
        {"make": "x" * 500, "lat": 41, "lon": -72},
        {"hit_id": "x" * 128},
        {"stolen_at_ms": None, "extra": {}},
    ),
    READS: ({"read_id": "x" * 128}, {"confidence": 1, "region": ""}, {"direction": None, "extra": []}),
    ACTIONS: ({"note": "", "reason": None}, {"extra": 1.5}, {"note": "x" * 500}),
}
BAD_PLATES = ("", " - ", "ABCDEFGHIJK", "ß" * 6, "é", "號牌")
PLACEHOLDERS = ("unknown", "No Plate", "N-A", "000 000", "ＮＯＮＥ")
ALMOST_BAD_PLATES = ("ABCDEFGHIJ", "ß" * 5, "N0NE", "00000", "X")


def broken_lines(
    rng: random.Random, topic: str, sound: list[tuple[int, Value]], join: Value
) -> list[tuple[int, Value]]:
    """Some (stamp, line) of this topic to mix among the valid ones, each made from one of them."""
    return [
        _broken(rng, topic, *rng.choice(sound), join) for _ in range(rng.choice((0, 1, 2, 3) + (topic == READS) * (6,)))
    ]


def _broken(rng: random.Random, topic: str, stamp_ms: int, line: Value, join: Value) -> tuple[int, Value]:
    value = line["value"]
    ways = [_not_json, _not_an_object, _wrong_field, _wrong_field, _harmless]
    if topic in (HITS, READS):
        ways += [_plate, _plate]
    if topic == HITS:
        ways.append(_recovered_without_a_time)
    if topic == READS:
        ways += [_ramp, _ramp]
    if topic != ACTIONS and rng.random() < 0.25:
        spoilt = {"value": {**value, EVENT_TIME[topic]: stamp_ms + join["max_future_skew_ms"] + rng.choice((0, 1))}}
        return stamp_ms, spoilt if rng.random() < 0.6 else rng.choice(ways)(rng, topic, spoilt["value"])
    return stamp_ms, rng.choice(ways)(rng, topic, value)


def _not_json(rng: random.Random, topic: str, value: Value) -> Value:
    return {"value_base64": base64.b64encode(rng.choice(NOT_JSON)).decode("ascii")}


def _not_an_object(rng: random.Random, topic: str, value: Value) -> Value:
    return {"value": rng.choice(NOT_AN_OBJECT)}


def _wrong_field(rng: random.Random, topic: str, value: Value) -> Value:
    name = rng.choice(list(WRONG[topic]))
    is_required_removed = rng.random() < 0.2
    if is_required_removed:
        return {"value": {other: field for other, field in value.items() if other != EVENT_TIME[topic]}}
    return {"value": {**value, name: rng.choice(WRONG[topic][name])}}


def _harmless(rng: random.Random, topic: str, value: Value) -> Value:
    return {"value": {**value, **rng.choice(HARMLESS[topic])}}


def _plate(rng: random.Random, topic: str, value: Value) -> Value:
    plate = rng.choice(rng.choice((BAD_PLATES, PLACEHOLDERS, ALMOST_BAD_PLATES)))
    return {"value": {**value, "plate": plate, **rng.choice(({}, {"ramp_id": "nowhere"}))}}


def _ramp(rng: random.Random, topic: str, value: Value) -> Value:
    return {"value": {**value, "ramp_id": rng.choice(("nowhere", "ramp-00"))}}


def _recovered_without_a_time(rng: random.Random, topic: str, value: Value) -> Value:
    return {"value": {**value, "status": "recovered", "cleared_at_ms": None}}
