"""Errors that end a command with a message instead of a traceback."""


class RampwatchError(Exception):
    """An error that ends a command; its message names the thing, what is wrong and the remedy."""
