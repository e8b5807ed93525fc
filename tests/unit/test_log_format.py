"""Every log line has the time with its zone, the level, the logger and the message, on one line."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator

import pytest

from streams.log_format import LogFormatter

LINE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d (?P<level>[A-Z]+) (?P<logger>\S+): (?P<message>.*)\n"


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    """What the logger "a.module" prints."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LogFormatter())
    logger = logging.getLogger("a.module")
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)


def test_a_line_has_the_time_with_its_zone_the_level_and_the_logger(output: io.StringIO) -> None:
    logging.getLogger("a.module").warning("%d things", 3)
    line = re.fullmatch(LINE, output.getvalue())
    assert line is not None, output.getvalue()
    assert line.groupdict() == {"level": "WARNING", "logger": "a.module", "message": "3 things"}


def test_an_exception_is_its_type_and_place_without_its_text(output: io.StringIO) -> None:
    try:
        raise ValueError("plate SIM 101")
    except ValueError:
        logging.getLogger("a.module").exception("something failed")
    line = re.fullmatch(LINE, output.getvalue())
    assert line is not None, output.getvalue()
    assert re.fullmatch(r"something failed \(ValueError at unit/test_log_format.py:\d+\)", line["message"])
