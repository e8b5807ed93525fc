"""Errors that end a command with a message instead of a traceback."""


class RampwatchError(Exception):
    """An error that ends a command; its message names the thing, what is wrong and the remedy."""

    exit_code: int = 2
    """Of the command: 2 where it could not begin as asked, 1 where it failed on the way."""
