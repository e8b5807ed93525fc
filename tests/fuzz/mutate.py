"""Mutates valid records at random, each reproducible from a seed and its number alone.

The valid records are the caller's, so the mutated ones fit whatever site they are sent to. Those of
the small worlds come from `valid_records`.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from msgspec import Struct

from tests.drivers.engine import scenario
from tests.fuzz.shapes import SHAPES

LONGEST_BYTES: Final = 100_000
"""Longer results are cut: some exceed the default limit of a record, none needs a larger topic."""
_TOKENISED_BYTES: Final = 2_000
_TOKEN: Final = re.compile(rb'"[^"\\]*"|[0-9.eE+-]+|[a-z]+|.', re.DOTALL)
_PLATE_CHARACTERS: Final = "ABDGIOQSXZ0158 -éŉＡ"
_PLACE: Final = "the value goes here"
_TOKENS: Final[tuple[bytes | str, ...]] = (
    *(b"null", b"true", b"NaN", b"-Infinity", b"-", b"-0", b"1.0", b"1e400", b"1e-400", b"0.1e1", b"00", b"0x1"),
    *(b"9007199254740992", b"9007199254740993", b"-9007199254740993", b"18446744073709551616", b"7" * 5_000),
    *(b"[]", b"{}", b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"[" * 300, b"[" * 257 + b"]" * 257),
    *(b'""', b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\u0000"', b'"\\x"', b'"on"', b'"recovered"', b'"dismissed"'),
    *(b'"' + b"x" * size + b'"' for size in (128, 129, 500, 501, 70_000)),
    *(
        '"' + text + '"'
        for text in ("\ufdfa" * 500, "\u0301\u0323" * 250, "ŉ" * 9, "ＮＯＮＥ", "é", "\u202e", "😀" * 128)
    ),
    *(b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xef\xbb\xbf", b"\0", b" " * 2_000, b"\n", b"/**/"),
)
FRAGMENTS: Final = tuple(token if isinstance(token, bytes) else token.encode() for token in _TOKENS)
"""Bytes that are put in the place of a token, or anywhere."""
_SHAPES: Final = tuple(shape for _, shape in SHAPES.values())
MUTATIONS: Final = (
    *("flip_bits", "set_bytes", "truncate", "delete", "repeat", "splice", "insert") * 2,
    *("swap_tokens", "replace_token") * 4,
    *("set_field",) * 24,
    *("ignored_field", "hostile"),
)
"""Names of mutations, each as often as its weight."""


class Valid(Struct, frozen=True):
    """A valid record to begin with."""

    topic: str
    stamp_ms: int
    value: bytes


class Mutated(Struct, frozen=True):
    """A mutated record: its number, the mutations in order, and what became of the valid one."""

    number: int
    mutations: tuple[str, ...]
    topic: str
    stamp_ms: int
    value: bytes


def valid_records(worlds: int = 8) -> list[Valid]:
    """Return the valid records of all four topics in some small worlds; all have one site."""
    return [
        Valid(admitted.topic, admitted.stamp_ms, admitted.record.value or b"")
        for seed in range(worlds)
        for records in scenario(seed).admitted.values()
        for admitted in records
    ]


class Mutator:
    """Makes mutated records from valid ones by a seed; topics are equally frequent."""

    def __init__(self, valid: Sequence[Valid], seed: int) -> None:
        topics = sorted({one.topic for one in valid})
        self._valid = [[one for one in valid if one.topic == topic] for topic in topics]
        self._seed = seed

    def records(self, number: int) -> Iterator[Mutated]:
        """Yield the first ``number`` records."""
        return map(self.record, range(number))

    def record(self, number: int) -> Mutated:
        """Return the record with this number; it does not depend on those before it."""
        rng = random.Random(self._seed << 40 | number)
        origin = self._any(rng)
        value, names = origin.value, []
        for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
            name = rng.choice(MUTATIONS)
            value = getattr(self, f"_{name}")(rng, value)[:LONGEST_BYTES]
            names.append(name)
        return Mutated(number, tuple(names), origin.topic, origin.stamp_ms, value)

    def _any(self, rng: random.Random) -> Valid:
        return rng.choice(rng.choice(self._valid))

    def _flip_bits(self, rng: random.Random, value: bytes) -> bytes:
        flipped = bytearray(value)
        for _ in range(rng.choice((1, 1, 2, 8)) if flipped else 0):
            flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
        return bytes(flipped)

    def _set_bytes(self, rng: random.Random, value: bytes) -> bytes:
        at, to = _span(rng, value, 4)
        return value[:at] + rng.randbytes(to - at) + value[to:]

    def _truncate(self, rng: random.Random, value: bytes) -> bytes:
        at = rng.randint(0, len(value))
        return value[:at] if rng.random() < 0.8 else value[at:]

    def _delete(self, rng: random.Random, value: bytes) -> bytes:
        at, to = _span(rng, value, 60)
        return value[:at] + value[to:]

    def _repeat(self, rng: random.Random, value: bytes) -> bytes:
        at, to = _span(rng, value, 60)
        return value[:to] + value[at:to] * rng.choice((1, 1, 1, 2, 10, 300)) + value[to:]

    def _splice(self, rng: random.Random, value: bytes) -> bytes:
        other = self._any(rng).value
        return value[: rng.randint(0, len(value))] + other[rng.randint(0, len(other)) :]

    def _swap_tokens(self, rng: random.Random, value: bytes) -> bytes:
        tokens = _TOKEN.findall(value[:_TOKENISED_BYTES])
        if tokens:
            one, other = rng.randrange(len(tokens)), rng.randrange(len(tokens))
            tokens[one], tokens[other] = tokens[other], tokens[one]
        return b"".join(tokens) + value[_TOKENISED_BYTES:]

    def _replace_token(self, rng: random.Random, value: bytes) -> bytes:
        tokens = _TOKEN.findall(value[:_TOKENISED_BYTES])
        if tokens:
            tokens[rng.randrange(len(tokens))] = rng.choice(FRAGMENTS)
        return b"".join(tokens) + value[_TOKENISED_BYTES:]

    def _insert(self, rng: random.Random, value: bytes) -> bytes:
        at = rng.randint(0, len(value))
        return value[:at] + rng.choice(FRAGMENTS) + value[at:]

    def _set_field(self, rng: random.Random, value: bytes) -> bytes:
        fields = _fields(value)
        if not fields:
            return value
        others = _fields(self._any(rng).value)
        name = rng.choice(sorted(others)) if rng.random() < 0.2 else rng.choice(sorted(fields))
        fields[name] = _PLACE
        return json.dumps(fields).encode().replace(json.dumps(_PLACE).encode(), self._field_value(rng, name))

    def _field_value(self, rng: random.Random, name: str) -> bytes:
        """A value as another record has it, a text that may be a plate, a number, or anything."""
        other = _fields(self._any(rng).value)
        kind = rng.random()
        if kind < 0.4 and name in other:
            return json.dumps(other[name]).encode()
        if kind < 0.6:
            return json.dumps("".join(rng.choices(_PLATE_CHARACTERS, k=rng.randint(0, 11)))).encode()
        if kind < 0.8:
            return str(rng.choice((1, 90, 2**53)) * rng.choice((-1, 1)) + rng.randint(-2, 2)).encode()
        return rng.choice(FRAGMENTS)

    def _ignored_field(self, rng: random.Random, value: bytes) -> bytes:
        shape = rng.choice(_SHAPES)(rng.choice((200, 200, 2_000, 20_000)))
        return b'{"ignored":' + rng.choice((shape, b'"' + shape.replace(b'"', b"") + b'"')) + b"," + value[1:]

    def _hostile(self, rng: random.Random, value: bytes) -> bytes:
        shape = rng.choice(_SHAPES)(rng.choice((600, 2_000, 60_000)))
        return shape if rng.random() < 0.5 else value[:-1] + b"," + shape


def _fields(value: bytes) -> dict[str, Any]:
    """The fields of a record that is still a JSON object; else none."""
    try:
        fields = json.loads(value)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _span(rng: random.Random, value: bytes, longest: int) -> tuple[int, int]:
    at = rng.randint(0, len(value))
    return at, min(len(value), at + rng.randint(1, longest))
