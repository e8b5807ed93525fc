"""The format of every log line: when, how bad, where from, and what, on one line.

An exception is shown by its type and where it was raised. Its text and its traceback are left out:
the text of a foreign error may hold a plate, and a worker that waits for its broker would fill the
log with them. At level DEBUG of the root logger the traceback follows.
"""

from __future__ import annotations

import logging
import traceback
from datetime import datetime
from typing import Final

_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class LogFormatter(logging.Formatter):
    """Times in ISO 8601 with milliseconds and zone; exceptions on the line of their message."""

    def __init__(self) -> None:
        super().__init__(_FORMAT)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Return the time of a record, in the machine's time zone."""
        return datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        error = record.exc_info[1] if record.exc_info else None
        if logging.getLogger().isEnabledFor(logging.DEBUG):
            return super().format(record)
        shown = logging.makeLogRecord(record.__dict__ | {"exc_info": None, "exc_text": None, "stack_info": None})
        line = super().format(shown)
        return f"{line} ({described(error)})" if error is not None else line


def described(error: BaseException) -> str:
    """Return the type of an error and where it was raised, without its text."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return type(error).__name__
    place = "/".join(frames[-1].filename.replace("\\", "/").split("/")[-2:])
    return f"{type(error).__name__} at {place}:{frames[-1].lineno}"


def configure_logging(level: int = logging.WARNING) -> None:
    """Send all log records to standard error in this format."""
    handler = logging.StreamHandler()
    handler.setFormatter(LogFormatter())
    logging.basicConfig(handlers=[handler], level=level)
    # Warnings of Python itself are log lines as well.
    logging.captureWarnings(capture=True)
