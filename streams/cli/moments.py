"""A moment on a command line: a local date, a local or absolute time, or milliseconds."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from streams.core.counters.calendar import FIRST_MS, LAST_MS, LocalDays
from streams.core.errors import RampwatchError
from streams.secret import shortened

_DATE: Final = r"\d{4}-\d{2}-\d{2}"


def moment_ms(text: str, time_zone: str, option: str) -> int:
    """Return milliseconds since the epoch of what an option was given. Raises `RampwatchError`.

    A date means the end of that local day. A time without an offset is local, and the earlier one
    if it occurs twice. Other notations are rejected: 20260605 read as midnight, or seconds read as
    milliseconds, would silently count to another day.
    """
    try:
        at_ms = _read(text, time_zone)
    except ValueError:
        at_ms = None
    if at_ms is None or not FIRST_MS < at_ms <= LAST_MS:
        raise RampwatchError(
            f"{option} {shortened(text)!r}: expected a moment from 1970 on: a date such as 2026-06-05 (its end is "
            "meant), a time such as 2026-06-05T18:00, or milliseconds since the epoch (13 digits; append 000 to "
            "seconds)"
        )
    return at_ms


def _read(text: str, time_zone: str) -> int:
    if re.fullmatch(r"\d{13}", text, re.ASCII):
        return int(text)
    if re.fullmatch(_DATE, text, re.ASCII):
        return LocalDays(time_zone).begin_ms(date.fromisoformat(text).toordinal() + 1)
    if not re.match(rf"{_DATE}[T ]", text, re.ASCII):
        raise ValueError
    at = datetime.fromisoformat(text)
    return round((at if at.tzinfo else at.replace(tzinfo=ZoneInfo(time_zone))).timestamp() * 1000)
