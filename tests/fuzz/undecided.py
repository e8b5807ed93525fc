"""Records on which the contract leaves the reason open, so that the oracle has no verdict."""

from __future__ import annotations

import json
import re
from typing import Final

_LONG_NUMBER: Final = re.compile(rb"[0-9]{300}|[0-9]e400|\.[0-9]+e[0-9]{4}")


def is_undecided(value: bytes) -> bool:
    """Whether a field occurs twice, or bytes that may not be JSON hold a number beyond any float.

    Of a field that occurs twice, one content may be invalid. After a number that no float holds,
    the rest of the bytes may not be JSON: both ``schema`` and ``not_json`` are true.
    """
    if _LONG_NUMBER.search(value):
        return True
    try:
        pairs = json.loads(value.decode(), object_pairs_hook=list)
    except (ValueError, RecursionError):
        return False
    names = [pair[0] for pair in pairs if isinstance(pair, tuple)] if isinstance(pairs, list) else []
    return len(names) > len(set(names))
