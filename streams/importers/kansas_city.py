"""Real gunshots as ShotAlerts: activations that Kansas City's police recorded from 2016 to 2021.

No row is dropped silently: each becomes an alert or an invalid row with its reason. Rows that had
to be interpreted (repaired, or with a local time that a clock change makes ambiguous) are listed.

Times are local, to the second. In autumn one hour of local times occurs twice: the earlier instant
is used. In spring one hour does not occur: such a time is read by the clock before the change, so
it comes out an hour later.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from streams.core.errors import RampwatchError

SOURCE = "kansas-city-activations"
TIME_ZONE = ZoneInfo("America/Chicago")
COLUMNS = ["Type", "Respond ID", "Date", "Time", "Zone", "District", "Latitude", "Longitude"]

UNCERTAINTY_M = 100
"""Coordinates are rounded to 0.001°, which moves a place by up to 56 m north or south and 43 m east
or west (at 39° N), 70 m in all. With the 25 m by which a located shot is uncertain anyway that is
95 m, stated as 100."""

_KINDS = {
    "Single Gunshot": "single_gunshot",
    "Multiple Gunshots": "multiple_gunshots",
    "Probable Gunfire": "probable_gunfire",
}
# Degrees: the city's limits and about 20 km on each side. A coordinate outside is a typing error.
_LATITUDES = (38.6, 39.6)
_LONGITUDES = (-95.0, -94.2)
_DEGREES = re.compile(r"-?\d{1,3}(\.\d+)?", re.ASCII)
_DATE = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})", re.ASCII)
_TIME = re.compile(r"(\d{1,2}):(\d\d):(\d\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class ActivationsError(RampwatchError):
    """The file is not Kansas City's table of activations."""


class InvalidRow(msgspec.Struct, frozen=True):
    """A row that is not an alert; ``row`` counts as in a spreadsheet, with the heading as row 1."""

    row: int
    reason: str
    field: str
    """What is wrong with it, for counting: ``cells``, ``type``, ``id``, ``time``, ``place`` or
    ``repeated``."""


class RowCounts(msgspec.Struct, frozen=True):
    """The number of rows by result: ``rows = imported + invalid``.

    The other three count imported rows.
    """

    rows: int
    imported: int
    invalid: int
    repaired: int
    ambiguous_times: int
    skipped_times: int


class Activations(msgspec.Struct):
    """The contents of the table: alerts as in their JSON, by time and then id, and rows of note.

    ``repaired`` (a missing district was inserted), ``ambiguous_times`` (the local time occurs
    twice) and ``skipped_times`` (it does not occur) are numbers of imported rows, the heading being
    row 1.
    """

    alerts: list[dict[str, object]] = msgspec.field(default_factory=list)
    rows: int = 0
    invalid_rows: list[InvalidRow] = msgspec.field(default_factory=list)
    repaired: list[int] = msgspec.field(default_factory=list)
    ambiguous_times: list[int] = msgspec.field(default_factory=list)
    skipped_times: list[int] = msgspec.field(default_factory=list)

    @property
    def imported(self) -> int:
        """The number of rows that became alerts."""
        return len(self.alerts)

    @property
    def rejected(self) -> dict[str, int]:
        """How many rows are invalid, by `InvalidRow.field`."""
        return dict(Counter(invalid.field for invalid in self.invalid_rows))

    @property
    def row_counts(self) -> RowCounts:
        """The counts for a report."""
        return RowCounts(
            rows=self.rows,
            imported=self.imported,
            invalid=len(self.invalid_rows),
            repaired=len(self.repaired),
            ambiguous_times=len(self.ambiguous_times),
            skipped_times=len(self.skipped_times),
        )


def load_activations(path: Path) -> Activations:
    """Read the table from a file. Raises `ActivationsError` if it is unreadable or another file."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ActivationsError(
            f"{path}: cannot be read ({error.strerror}); check the path and the permissions"
        ) from error
    return read_activations(raw, str(path))


def read_activations(raw: bytes, name: str = "activations") -> Activations:
    """Read Kansas City's table of activations, CSV in UTF-8. Raises `ActivationsError`.

    ``name``: of the table, for errors.
    """
    activations = Activations()
    seen: dict[str, tuple[int, list[str]]] = {}
    for number, row in enumerate(_rows(raw, name), start=2):
        if not row:
            continue  # an empty line, such as at the end of a file
        activations.rows += 1
        try:
            _import_row(activations, seen, number, row)
        except _InvalidRowError as error:
            activations.invalid_rows.append(InvalidRow(number, str(error), error.field))
    activations.alerts.sort(key=lambda alert: (alert["occurred_at_ms"], alert["alert_id"]))
    return activations


class _InvalidRowError(Exception):
    """The reason why a row is not an alert."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


def _rows(raw: bytes, name: str) -> list[list[str]]:
    """Return the rows below the heading."""
    expected = f"expected CSV in UTF-8 with the columns {', '.join(COLUMNS)}"
    try:
        rows = list(csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ActivationsError(f"{name}: not readable as a table ({error}): {expected}") from error
    if not rows:
        raise ActivationsError(f"{name}: empty file: {expected}")
    if [column.strip() for column in rows[0]] != COLUMNS:
        heading = ", ".join(rows[0])[:100]
        raise ActivationsError(f'{name}: begins with "{heading}": {expected}')
    return rows[1:]


def _import_row(activations: Activations, seen: dict[str, tuple[int, list[str]]], number: int, row: list[str]) -> None:
    """Add the alert of one row and note how it was read. All checks precede the first change."""
    stripped = [cell.strip() for cell in row]
    cells = _with_district(stripped)
    kind, alert_id, date, time, _, _, latitude, longitude = cells
    if kind not in _KINDS:
        raise _InvalidRowError("type", f'type "{kind}": expected one of {", ".join(_KINDS)}')
    if not alert_id:
        raise _InvalidRowError("id", "Respond ID: empty")
    occurred_at_ms, clock = _instant(date, time)
    lat = _degrees(latitude, "latitude", _LATITUDES)
    lon = _degrees(longitude, "longitude", _LONGITUDES)
    if alert_id in seen:
        first, earlier = seen[alert_id]
        how = "with the same content" if earlier == cells else "with another content"
        raise _InvalidRowError("repeated", f"Respond ID {alert_id}: repeats row {first} {how}")
    seen[alert_id] = number, cells
    if cells != stripped:
        activations.repaired.append(number)
    if clock == "twice":
        activations.ambiguous_times.append(number)
    elif clock == "never":
        activations.skipped_times.append(number)
    activations.alerts.append(
        {
            "alert_id": alert_id,
            "revision": 0,
            "status": "unreviewed",
            "kind": _KINDS[kind],
            "occurred_at_ms": occurred_at_ms,
            "lat": lat,
            "lon": lon,
            "uncertainty_m": UNCERTAINTY_M,
            "source": SOURCE,
        }
    )


def _with_district(row: list[str]) -> list[str]:
    """Return a row of eight cells; where only the district is missing, insert an empty one.

    That is unambiguous: no district looks like a latitude, and two coordinates follow the zone.
    """
    cells = row[:-1] if len(row) == len(COLUMNS) and not row[-1] else row
    if len(cells) == len(COLUMNS) - 1 and all(map(_DEGREES.fullmatch, cells[5:])):
        return [*cells[:5], "", *cells[5:]]
    if len(row) != len(COLUMNS):
        raise _InvalidRowError("cells", f"{len(row)} cells: expected {len(COLUMNS)}")
    return row


def _instant(date: str, time: str) -> tuple[int, Literal["once", "twice", "never"]]:
    """Return a local time in milliseconds since the epoch, and how often that local time occurs."""
    day, clock = _DATE.fullmatch(date), _TIME.fullmatch(time)
    if not day or not clock:
        raise _InvalidRowError("time", f'"{date} {time}": expected a time such as 1/31/2020 23:59:59')
    month, day_of_month, year = map(int, day.groups())
    hour, minute, second = map(int, clock.groups())
    try:
        local = datetime(year, month, day_of_month, hour, minute, second, tzinfo=TIME_ZONE)
        before, after = local.utcoffset(), local.replace(fold=1).utcoffset()
        instant_ms = (local - _EPOCH) // _MILLISECOND
    except (ValueError, OverflowError) as error:
        raise _InvalidRowError("time", f'"{date} {time}": not in the calendar') from error
    if before is None or after is None or before == after:
        return instant_ms, "once"
    # The offset is larger in summer: it shrinks where an hour repeats, and grows where one is
    # skipped.
    return instant_ms, "twice" if before > after else "never"


def _degrees(text: str, name: str, limits: tuple[float, float]) -> float:
    low, high = limits
    if not _DEGREES.fullmatch(text):
        raise _InvalidRowError("place", f'{name} "{text}": expected decimal degrees')
    value = float(text)
    if not low <= value <= high:
        raise _InvalidRowError("place", f"{name} {text}: not in Kansas City, {low} to {high}")
    return value
