"""One record: validation by hand, plates, regions, and the first reason to reject it.

This is the oracle's own reading of the contract; it shares no code with the product.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

SHOTS, HITS = "shot-spotter-alerts", "stolen-vehicle-hits"
READS, ACTIONS = "ramp-plate-reads", "incident-actions"
TOPICS = (SHOTS, HITS, READS, ACTIONS)
EVENT_TIME = {SHOTS: "occurred_at_ms", HITS: "reported_at_ms", READS: "captured_at_ms", ACTIONS: "at_ms"}

LONGEST_PLATE = 10
LONGEST_INTEGER = 100
DEEPEST = 256
EVER = math.inf

Value = dict[str, Any]
Check = Callable[[Any], bool]

# --- the contract's fields ---


def is_id(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= 128


def is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 500


def is_integer(value: Any) -> bool:
    return type(value) is int and abs(value) <= 2**53


def is_count(value: Any) -> bool:
    return is_integer(value) and value >= 0


def is_latitude(value: Any) -> bool:
    return type(value) in (int, float) and -90 <= value <= 90


def is_longitude(value: Any) -> bool:
    return type(value) in (int, float) and -180 <= value <= 180


def is_share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1


def one_of(*names: str) -> Check:
    return lambda value: isinstance(value, str) and value in names


REQUIRED = object()
FLOATS = ("lat", "lon", "confidence")

# Each field with its check and its default. A field may be null only if null is its default.
FIELDS: dict[str, dict[str, tuple[Check, Any]]] = {
    SHOTS: {
        "alert_id": (is_id, REQUIRED),
        "revision": (is_count, 0),
        "status": (one_of("unreviewed", "confirmed", "dismissed"), "unreviewed"),
        "kind": (one_of("single_gunshot", "multiple_gunshots", "probable_gunfire"), REQUIRED),
        "occurred_at_ms": (is_integer, REQUIRED),
        "lat": (is_latitude, REQUIRED),
        "lon": (is_longitude, REQUIRED),
        "uncertainty_m": (is_count, 25),
        "rounds": (is_integer, None),
        "source": (is_text, None),
    },
    HITS: {
        "hit_id": (is_id, REQUIRED),
        "revision": (is_count, 0),
        "status": (one_of("active", "recovered", "cancelled"), "active"),
        "plate": (is_text, REQUIRED),
        "region": (is_text, None),
        "reported_at_ms": (is_integer, REQUIRED),
        **dict.fromkeys(("stolen_at_ms", "cleared_at_ms", "list_updated_at_ms", "year"), (is_integer, None)),
        **dict.fromkeys(("make", "model", "colour", "style", "ori", "oca", "caution"), (is_text, None)),
        "lat": (is_latitude, None),
        "lon": (is_longitude, None),
    },
    READS: {
        **dict.fromkeys(("read_id", "ramp_id", "camera_id"), (is_id, REQUIRED)),
        "plate": (is_text, REQUIRED),
        "captured_at_ms": (is_integer, REQUIRED),
        "confidence": (is_share, REQUIRED),
        "direction": (one_of("on", "off"), None),
        **dict.fromkeys(("region", "make", "colour"), (is_text, None)),
    },
    ACTIONS: {
        **dict.fromkeys(("action_id", "incident_id"), (is_id, REQUIRED)),
        "kind": (
            one_of("acknowledge", "plate_verified", "listing_confirmed", "dismiss", "outcome"),
            REQUIRED,
        ),
        "by": (is_text, REQUIRED),
        "at_ms": (is_integer, REQUIRED),
        **dict.fromkeys(("reason", "note"), (is_text, None)),
    },
}


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _integer(digits: str) -> int:
    """An integer; of very long ones, which no field takes, only the sign."""
    return int(digits) if len(digits) < LONGEST_INTEGER else int(digits[:1] + "1") * 2**64


def parsed(line: Value) -> Any:
    """The JSON value of an archive line; ValueError if its bytes are not JSON in UTF-8."""
    if "value_base64" not in line:
        return line.get("value")
    text = base64.b64decode(line["value_base64"]).decode("utf-8")
    value = json.loads(text, parse_constant=_no_constant, parse_int=_integer)
    if "\\u" in text:  # an escape must be a character: half a surrogate pair has no encoding
        pairs = json.loads(text, object_pairs_hook=list, parse_int=_integer)
        json.dumps(pairs, ensure_ascii=False).encode("utf-8")
    return value


def too_deep(raw: bytes) -> str | None:
    """The reason to reject bytes that are nested too deep; None if they are not."""
    if raw.count(b"[") + raw.count(b"{") <= DEEPEST:
        return None
    depth = deepest = 0
    is_in_string = is_escaped = False
    for byte in raw:
        was_escaped, is_escaped = is_escaped, False
        if was_escaped and byte in b'"\\':
            continue
        if byte == ord("\\"):
            is_escaped = True
        elif byte == ord('"'):
            is_in_string = not is_in_string
        elif not is_in_string:
            depth += (byte in b"[{") - (byte in b"]}")
            deepest = max(deepest, depth)
    if deepest <= DEEPEST:
        return None
    return "not_json" if depth or is_in_string else "schema"


def rejected_unparsed(line: Value, join: Value) -> str | None:
    """The reason to reject a record because of its size or its nesting; None if there is none."""
    if "value_base64" not in line:
        return None
    raw = base64.b64decode(line["value_base64"])
    return "limit" if len(raw) > join.get("max_record_bytes", EVER) else too_deep(raw)


def with_defaults(topic: str, value: Any) -> Value | None:
    """The known fields with their defaults, floats as floats; None if the value is invalid."""
    if not isinstance(value, dict):
        return None
    content = {}
    for name, (fits, default) in FIELDS[topic].items():
        given = value.get(name, default)
        if given is REQUIRED or not (fits(given) or (given is None and default is None)):
            return None
        content[name] = float(given) if name in FLOATS and given is not None else given
    if content.get("status") == "recovered" and content["cleared_at_ms"] is None:
        return None
    return content


def canonical(content: Value) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def digest(content: Value) -> str:
    """The digest of a content without its plate."""
    text = canonical({name: value for name, value in content.items() if name != "plate"})
    return hashlib.sha256(text).hexdigest()[:32]


# Of two equal revisions the one with the later word wins, then the greater digest, then the JSON.
_WEAKEST_FIRST = ("dismiss", "dismissed", "confirmed", "unreviewed", "active", "recovered", "cancelled")


def preference(content: Value) -> int:
    """The place in the order above of a status or of a dismissal; other actions come last."""
    if content.get("kind") == "dismiss":
        return 0
    return _WEAKEST_FIRST.index(content["status"]) if "status" in content else len(_WEAKEST_FIRST)


# --- plates, regions, geometry ---

_CONFUSED = str.maketrans("OQDIZSBG", "00012586")


def normalised(plate: str) -> str:
    return re.sub("[^A-Z0-9]", "", unicodedata.normalize("NFKC", plate).upper())


def plate_key(plate: str) -> str:
    return normalised(plate).translate(_CONFUSED)


def known_region(region: str | None) -> str | None:
    """`US-` and two letters, or None if the region cannot be compared."""
    text = (region or "").strip()
    if not text.isascii():  # upper case would make two letters of ß, and S of ſ
        return None
    text = text.upper().removeprefix("US-")
    return f"US-{text}" if re.fullmatch("[A-Z]{2}", text) else None


# --- records and facts ---


@dataclass(frozen=True)
class Record:
    """One accepted record; `plate` is normalised, and empty for shots and actions."""

    topic: str
    index: int
    stamp_ms: int
    identity: tuple[Any, ...]
    plate: str
    content: Value
    canonical: bytes

    @property
    def revision(self) -> int:
        return int(self.content.get("revision", 0))


def fact(records: Iterable[Record], until_ms: float, since_ms: float = -EVER) -> Record | None:
    """The winning content of the records in a span (ends included), at its smallest stamp."""
    in_span = [record for record in records if since_ms <= record.stamp_ms <= until_ms]
    return max(
        in_span,
        key=lambda r: (r.revision, preference(r.content), digest(r.content), r.canonical, -r.stamp_ms),
        default=None,
    )


def _identity(topic: str, content: Value) -> tuple[Any, ...]:
    if topic == SHOTS:
        return (content["alert_id"],)
    if topic == ACTIONS:
        return (content["incident_id"], content["action_id"])
    key = plate_key(content["plate"])
    return (key, content["hit_id"]) if topic == HITS else (key, content["read_id"], content["captured_at_ms"])


def accepted_or_reason(topic: str, index: int, line: Value, ramps: dict[str, Value], join: Value) -> Record | str:
    """The record, or the first reason that makes it a dead letter."""
    if reason := rejected_unparsed(line, join):
        return reason
    try:
        content = with_defaults(topic, parsed(line))
    except ValueError:
        return "not_json"
    if content is None:
        return "schema"
    plate = normalised(content.get("plate", ""))
    if topic in (HITS, READS):
        if not 1 <= len(plate) <= LONGEST_PLATE:
            return "plate"
        if plate in join["placeholder_plates"]:
            return "placeholder"
    if topic == READS and content["ramp_id"] not in ramps:
        return "unknown_ramp"
    time_ms: int = content[EVENT_TIME[topic]]
    stamp_ms: int = line.get("timestamp_ms", time_ms)
    if topic != ACTIONS and time_ms > stamp_ms + join["max_future_skew_ms"]:
        return "future"
    if topic == READS and stamp_ms > time_ms + join["read_retention_ms"]:
        return "late"
    return Record(topic, index, stamp_ms, _identity(topic, content), plate, content, canonical(content))
