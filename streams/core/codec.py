"""Decodes the records of the input topics: bytes in, an event or an `InvalidRecord` out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Final, cast

import msgspec

from streams.core.events import Event, InvalidRecord, PlateRead, VehicleHit
from streams.core.topics import EVENT_TYPES

_DECODERS: Final = {topic: msgspec.json.Decoder(kind) for topic, kind in EVENT_TYPES.items()}
_READ_DECODER: Final = msgspec.json.Decoder(PlateRead)
_DEEPEST: Final = 256
"""Levels of nesting; fixed, because a decoder's own limit depends on its caller's stack."""
_LONGEST_DETAIL: Final = 200
_STEPS: Final = (-1, 1)
_STEP_OF_BRACKET: Final = bytes.maketrans(b"]}[{", b"\0\0\1\1")
"""A bracket becomes the index of its step in `_STEPS`: out of a level, or into one."""
_OTHERS: Final = bytes(set(range(256)) - set(b'[]{}"'))
_ANYTHING: Final = msgspec.json.Decoder()
ENCODER: Final = msgspec.json.Encoder()


def decode(topic: str, value: bytes | None) -> Event:
    """Return the event in ``value``, the bytes of a record on the input topic ``topic``.

    Raises `InvalidRecord` with reason ``not_json`` or ``schema``, and nothing else, for any bytes.
    """
    if not value:
        raise InvalidRecord("not_json", "", "the record is empty; send one JSON object")
    if len(value) > 2 * _DEEPEST:
        _reject_deep(value)
    try:
        if not value.isascii():
            value.decode()  # msgspec does not validate the text of fields it ignores
        event: Event = _DECODERS[topic].decode(value)
    except msgspec.ValidationError as error:
        raise _invalid(value, error) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _not_json(value, error) from None
    if type(event) is VehicleHit and event.status == "recovered" and event.cleared_at_ms is None:
        raise InvalidRecord("schema", "cleared_at_ms", "required when the status is recovered")
    return event


def decode_reads(values: Sequence[bytes | None]) -> list[PlateRead] | None:
    """Return the plate reads in the bytes of many records; None if any of them needs `decode`.

    `decode` handles what is invalid or unusual, one record at a time.
    """
    if not all(values):
        return None
    filled = cast(Sequence[bytes], values)
    if max(map(len, filled), default=0) > 2 * _DEEPEST or not b"".join(filled).isascii():
        return None
    try:
        return list(map(_READ_DECODER.decode, filled))
    except msgspec.DecodeError:
        return None


def _invalid(value: bytes, error: msgspec.ValidationError) -> InvalidRecord:
    """Tell an invalid field from bytes that are not JSON: the decoder stops at either."""
    try:
        _ANYTHING.decode(value)
    except msgspec.ValidationError:
        pass  # JSON, with a number that no float can hold
    except (msgspec.DecodeError, UnicodeDecodeError) as broken:
        return _not_json(value, broken)
    what, _, path = str(error).rpartition(" - at `$.")
    if not what:
        what, path = path, ""
    field = path.rstrip("`")
    if not field and "`" in what and "field" in what:
        field = what.split("`")[1]
    return InvalidRecord("schema", field, what if len(what) <= _LONGEST_DETAIL else what[:_LONGEST_DETAIL] + "…")


def _not_json(value: bytes, error: Exception) -> InvalidRecord:
    """Name the fault where the decoder's own words point elsewhere."""
    detail = f"not JSON in UTF-8: {error}"
    if value.startswith(b"\xef\xbb\xbf"):
        detail = "begins with a byte order mark; send UTF-8 without one"
    elif value.startswith((b"\xff\xfe", b"\xfe\xff")):
        detail = "is in UTF-16; send UTF-8"
    elif isinstance(error, msgspec.DecodeError) and "truncated" in str(error):
        detail += ", or ends in half of a surrogate pair"
    return InvalidRecord("not_json", "", detail)


def _reject_deep(value: bytes) -> None:
    """Reject what is nested too deep, by counting brackets outside strings; it need not be JSON.

    Each step is one pass over the bytes, whatever they are.
    """
    if value.count(b"[") + value.count(b"{") <= _DEEPEST:
        return
    # Without its escaped backslashes and then its escaped quotes, the text alternates at each quote
    # between outside and inside a string: outside strings JSON has no backslash. Two quotes with
    # nothing between them change nothing.
    marks = value.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _OTHERS).replace(b'""', b"")
    pieces = marks.split(b'"')
    brackets = b"".join(pieces[::2]).translate(_STEP_OF_BRACKET)
    depths = list(accumulate(map(_STEPS.__getitem__, brackets), initial=0))
    if max(depths) <= _DEEPEST:
        return
    if depths[-1] != 0 or len(pieces) % 2 == 0:
        raise InvalidRecord("not_json", "", "not JSON: its brackets or its quotes do not match")
    raise InvalidRecord("schema", "", f"nested more than {_DEEPEST} deep; send one flat JSON object")
