"""Passwords: a type that never shows its text, and which texts must not be shown.

A message never contains the value of a setting that concerns the login, because a password may
have been given for the wrong one of them, nor any text that contains a password known otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

_SECRET_NAME: Final = re.compile(r"pass|secret|token|credential|key|sasl|ssl|security_protocol", re.IGNORECASE)
_SHORTEST_FOUND: Final = 4
"""A shorter password is hidden only where it is the whole text: it may be part of any word."""
_HIDDEN: Final = "(not shown)"


class Secret:
    """A password. Only `reveal` returns it; printing shows only whether it is set."""

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the password itself, to send it to the broker or to OpenSSL."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __str__(self) -> str:
        return "(secret)" if self._text else ""

    def __repr__(self) -> str:
        return f"<Secret {'set' if self._text else 'unset'}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


def may_hold_secret(name: str) -> bool:
    """Return whether a setting of this name may have been given a password, rightly or not."""
    return bool(_SECRET_NAME.search(name))


def secrets_in(values: Mapping[str, object]) -> set[str]:
    """Return the texts that may be passwords, judged by the names of the settings."""
    return {text for name, text in values.items() if isinstance(text, str) and text and _is_secret(name)}


def _is_secret(name: str) -> bool:
    lower = name.lower()
    return not lower.endswith("file") and bool(re.search(r"pass|secret|token|credential|key", lower))


def hide_secrets(message: str, secrets: Iterable[str]) -> str:
    """Return a message without the given passwords."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_FOUND:
            message = message.replace(secret, _HIDDEN)
    return message


def contains_secret(text: str, secrets: Iterable[str]) -> bool:
    """Return whether a text is or contains one of the given passwords."""
    return any(text == secret or hide_secrets(text, [secret]) != text for secret in secrets)


def shortened(text: str, characters_max: int = 80) -> str:
    """Return the beginning of a text, printable."""
    return printable(text if len(text) <= characters_max else text[: characters_max - 1] + "…")


def printable(text: str) -> str:
    """Return a text whose control characters and broken code points are escaped."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", lambda found: ascii(found.group())[1:-1], text)
