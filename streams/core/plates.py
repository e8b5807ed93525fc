"""Plates and regions: what two spellings have in common when cameras confuse characters.

The plate key is a published contract (``schemas/plate-keys.json``): it is the key of the joined topics, so that a plate
and its lookalikes lie in one partition, and a lookalike costs a look-up rather than a search.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

from streams.core.events import InvalidRecord

MAX_LENGTH: Final = 10
# What cameras confuse (Genetec's classes; DOMAIN-NOTES): each character stands for its class.
_FOLD: Final = bytes.maketrans(b"OQDIZSBG", b"00012586")
_OTHER: Final = re.compile(r"[^A-Z0-9]+", re.ASCII)
_NOT_KEPT: Final = bytes(set(range(128)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789\n"))
_US_STATE: Final = re.compile(r"(?:US-)?([A-Z]{2})", re.ASCII | re.IGNORECASE)


def normalise(plate: str) -> str:
    """Return the plate as compared: NFKC, upper case, only A-Z and 0-9."""
    # most plates come so; in three steps that look at all characters at once
    if plate.isascii() and plate.isalnum() and plate == plate.upper():
        return plate
    return _OTHER.sub("", unicodedata.normalize("NFKC", plate).upper())


def confusion_key(normalised: str) -> str:
    """Return the key of a normalised plate: characters that cameras confuse are one."""
    # as bytes: looking characters up one by one takes a text four times as long
    return normalised.encode().translate(_FOLD).decode()


def plate_key(plate: str) -> str:
    """Return the plate key of a plate as received; `InvalidRecord` (``plate``) where it is empty or longer than 10."""
    return confusion_key(usable(normalise(plate)))


def plate_keys(plates: Sequence[str]) -> list[str] | None:
    """Return the plate keys of a list of plates, at a tenth of the cost of one by one; None where one has none.

    None as well where a plate is not ASCII: that is for `plate_key`.
    """
    joined = "\n".join(plates)
    if not joined.isascii():
        return None
    keys = joined.encode().upper().translate(_FOLD, _NOT_KEPT).decode().split("\n")
    usable = len(keys) == len(plates) and all(keys) and max(map(len, keys)) <= MAX_LENGTH
    return keys if usable else None


def usable(normalised: str) -> str:
    """Return a normalised plate that can be a key; `InvalidRecord` (``plate``) where it is empty or longer than 10."""
    if not normalised:
        raise InvalidRecord("plate", "plate", "no letter A-Z or digit in it; send the plate's characters")
    if len(normalised) > MAX_LENGTH:
        raise InvalidRecord("plate", "plate", f"{len(normalised)} characters, at most {MAX_LENGTH} can be a plate")
    return normalised


def differences(one: str, other: str) -> int:
    """Return in how many characters two normalised plates with one key differ (0: exact, else lookalikes)."""
    return sum(a != b for a, b in zip(one, other, strict=True))


def region(raw: str | None) -> str | None:
    """Return the canonical issuing state (``US-CT``), or None where it is not known for sure."""
    if raw is None:
        return None
    known = _US_STATE.fullmatch(raw.strip())
    return f"US-{known[1].upper()}" if known else None
