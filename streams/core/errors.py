"""Errors that end a command with a sentence instead of a traceback."""


class RampwatchError(Exception):
    """Something that cannot go on; the message names the thing, what is wrong with it, and the remedy."""
