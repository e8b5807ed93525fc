"""Shapes of hostile records, each of any size: what might cost more than its bytes to decode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from streams.core.topics import HITS, READS, SHOTS

SHOT: Final = b'{"alert_id":"a","kind":"single_gunshot","occurred_at_ms":1,"lat":1,"lon":2'
HIT: Final = b'{"hit_id":"h","plate":"XQ1","reported_at_ms":1'
READ: Final = b'{"read_id":"r","captured_at_ms":1,"ramp_id":"ramp-0","camera_id":"c","confidence":1'
DEEP: Final = b"[" * 257
"""One level more than is allowed, so that nesting is counted."""

Shape = Callable[[int], bytes]


def filled(before: bytes, unit: bytes, after: bytes = b"") -> Shape:
    """Return a shape: ``unit`` as often as fits into the size between ``before`` and ``after``."""
    return lambda size: before + unit * max(1, (size - len(before) - len(after)) // len(unit)) + after


def halves(before: bytes, opening: bytes, middle: bytes, closing: bytes, after: bytes = b"") -> Shape:
    """Return a shape that nests: as many of ``opening`` as of ``closing`` around ``middle``."""

    def shape(size: int) -> bytes:
        levels = max(1, (size - len(before) - len(middle) - len(after)) // (len(opening) + len(closing)))
        return before + opening * levels + middle + closing * levels + after

    return shape


def _distinct_keys(size: int) -> bytes:
    return b"{" + b",".join(b'"%07d":1' % n for n in range(size // 12)) + b"}"


SHAPES: Final[dict[str, tuple[str, Shape]]] = {
    "brackets, a quote, escaped quotes": (SHOTS, filled(DEEP + b'"', b'\\"')),
    "brackets, escaped quotes, no string": (SHOTS, filled(DEEP, b'\\"')),
    "brackets, many unterminated strings": (SHOTS, filled(DEEP, b'"\\')),
    "brackets, quotes": (SHOTS, filled(DEEP, b'"')),
    "brackets, empty strings": (SHOTS, filled(DEEP, b'"",')),
    "brackets, backslashes": (SHOTS, filled(DEEP + b'"', b"\\")),
    "brackets, one long string": (SHOTS, filled(DEEP + b'"', b"x")),
    "brackets in strings": (SHOTS, filled(DEEP, b'"[[[{",')),
    "only opening brackets": (SHOTS, filled(b"", b"[")),
    "only closing brackets": (SHOTS, filled(b"", b"]")),
    "nested lists": (SHOTS, halves(b"", b"[", b"", b"]")),
    "nested objects under ignored keys": (SHOTS, halves(SHOT + b',"x":', b'{"x":', b"1", b"}", b"}")),
    "many empty lists in an ignored field": (SHOTS, filled(SHOT + b',"x":[', b"[],", b"[]]}")),
    "many lists of 250 levels": (SHOTS, filled(SHOT + b',"x":[', b"[" * 250 + b"]" * 250 + b",", b"[]]}")),
    "digits of an integer": (SHOTS, filled(SHOT + b',"rounds":', b"7", b"}")),
    "digits of a negative integer": (SHOTS, filled(SHOT + b',"rounds":-', b"7", b"}")),
    "digits of a latitude": (SHOTS, filled(SHOT + b',"lat":', b"7", b"}")),
    "digits of a fraction": (SHOTS, filled(SHOT + b',"lat":0.', b"7", b"}")),
    "zeros of a fraction": (SHOTS, filled(SHOT + b',"lat":0.', b"0", b"1}")),
    "digits of an exponent": (SHOTS, filled(SHOT + b',"lat":1e-', b"7", b"}")),
    "digits in an ignored field of an invalid record": (SHOTS, filled(b'{"alert_id":1,"x":', b"7", b"}")),
    "many long integers in an invalid record": (SHOTS, filled(b'{"alert_id":1,"x":[', b"7" * 4_000 + b",", b"1]}")),
    "many halfway fractions": (
        SHOTS,
        filled(b'{"alert_id":1,"x":[', b"9007199254740993." + b"0" * 700 + b"1e-300,", b"1]}"),
    ),
    "one key again and again": (SHOTS, filled(b"{", b'"lat":1,', b'"lon":1}')),
    "one ignored key again and again, invalid": (SHOTS, filled(b'{"alert_id":1,', b'"x":1,', b'"x":1}')),
    "distinct ignored keys": (SHOTS, _distinct_keys),
    "one long key": (SHOTS, filled(b'{"', b"k", b'":1}')),
    "a long value of an enumeration": (SHOTS, filled(b'{"kind":"', b"x", b'"}')),
    "an enumeration's value that looks like an error's path": (SHOTS, filled(b'{"kind":"', b" - at `$.", b'"}')),
    "a long id": (SHOTS, filled(b'{"alert_id":"', b"x", b'"}')),
    "lone surrogates": (SHOTS, filled(b'{"alert_id":"', b"\\ud800", b'"}')),
    "surrogate pairs": (SHOTS, filled(SHOT + b',"x":"', b"\\ud83d\\ude00", b'"}')),
    "escapes of controls": (SHOTS, filled(SHOT + b',"x":"', b"\\u0000", b'"}')),
    "characters of four bytes": (SHOTS, filled(SHOT + b',"x":"', "😀".encode(), b'"}')),
    "invalid UTF-8": (SHOTS, filled(SHOT + b',"x":"', b"\xff", b'"}')),
    "UTF-8 invalid at the end": (SHOTS, filled(SHOT + b',"x":"', b"\xc3\xa9", b'\xff"}')),
    "overlong UTF-8": (SHOTS, filled(SHOT + b',"x":"', b"\xc0\x80", b'"}')),
    "byte order marks": (SHOTS, filled(b"", b"\xef\xbb\xbf")),
    "white space": (SHOTS, filled(SHOT, b" \n\t\r", b"}")),
    "white space before anything": (SHOTS, filled(b"", b" ")),
    "NUL": (SHOTS, filled(b"", b"\0")),
    "many records in one": (SHOTS, filled(b"", SHOT + b"}")),
    "combining marks in a plate": (HITS, filled(HIT + b',"plate":"', "\u0301\u0323".encode(), b'"}')),
    "ligatures that expand in a plate": (READS, filled(READ + b',"plate":"', "\ufdfa".encode(), b'"}')),
    "plates that are just not too long": (
        READS,
        filled(READ + b',"x":[', b"1,", b'1],"plate":"' + ("\ufdfa" * 500).encode() + b'"}'),
    ),
    "marks in a plate that is just not too long": (
        READS,
        filled(READ + b',"x":[', b"1,", b'1],"plate":"' + ("\u0301\u0323" * 250).encode() + b'"}'),
    ),
    "white space in a region": (HITS, filled(HIT + b',"region":"', b" ", b'"}')),
    "a long unknown ramp": (READS, filled(READ + b',"plate":"XQ1","ramp_id":"', b"\\u0001", b'"}')),
}
"""For each: its topic, and its bytes, about as many as it is given."""
