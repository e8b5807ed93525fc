"""A text that is used and never shown: not in a line of a log, not in an error, not in what a debugger prints."""

from __future__ import annotations


class Secret:
    """A password. Only `reveal` gives it; whatever prints it says no more than whether it is set."""

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself, for those who must send it."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __str__(self) -> str:
        return "(a secret)" if self._text else ""

    def __repr__(self) -> str:
        return f"<Secret {'set' if self._text else 'unset'}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)
