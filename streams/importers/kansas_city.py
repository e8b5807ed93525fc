"""Real gunshots as ShotAlerts: the activations that Kansas City's police recorded from 2016 to 2021.

Nothing is dropped quietly: every row ends as an alert or as a refused row with its reason, and what had to be
interpreted (a repaired row, a local time that the clock change made ambiguous) is listed by row.

Times are local, to the second. In autumn an hour of local times happens twice: the earlier instant is
taken. In spring an hour is left out: such a time is read by the clock before the change, so it comes out an
hour later.
"""

from __future__ import annotations

import csv
import io
import re
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
"""Coordinates are rounded to 0.001°, which moves a place by up to 56 m north or south and 43 m east or west
(at 39° N), 70 m in all; with the 25 m by which a located shot is uncertain anyway that is 95 m, stated as
100."""

_KINDS = {
    "Single Gunshot": "single_gunshot",
    "Multiple Gunshots": "multiple_gunshots",
    "Probable Gunfire": "probable_gunfire",
}
# Degrees: the city's limits and some 20 km more on each side. What lies outside is a mistyped coordinate.
_LATITUDES = (38.6, 39.6)
_LONGITUDES = (-95.0, -94.2)
_DEGREES = re.compile(r"-?\d{1,3}(\.\d+)?", re.ASCII)
_DATE = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})", re.ASCII)
_TIME = re.compile(r"(\d{1,2}):(\d\d):(\d\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class ActivationsError(RampwatchError):
    """The file is not Kansas City's table of activations; the message says why and what to do."""


class InvalidRow(msgspec.Struct, frozen=True):
    """A row that is no alert; ``row`` counts as a spreadsheet does, the heading being row 1."""

    row: int
    reason: str


class Accounted(msgspec.Struct, frozen=True):
    """How many rows there were and what became of them: ``rows = imported + refused``.

    The other three count rows among the imported ones.
    """

    rows: int
    imported: int
    refused: int
    repaired: int
    ambiguous_times: int
    skipped_times: int


class Activations(msgspec.Struct):
    """What the table holds: alerts as on the wire, by time and then id, and the rows worth a remark.

    ``repaired`` (a missing district put in its place), ``ambiguous_times`` (the local time happened twice)
    and ``skipped_times`` (it never happened) are numbers of imported rows, the heading being row 1.
    """

    alerts: list[dict[str, object]] = msgspec.field(default_factory=list)
    rows: int = 0
    refused: list[InvalidRow] = msgspec.field(default_factory=list)
    repaired: list[int] = msgspec.field(default_factory=list)
    ambiguous_times: list[int] = msgspec.field(default_factory=list)
    skipped_times: list[int] = msgspec.field(default_factory=list)

    @property
    def imported(self) -> int:
        """How many rows became alerts."""
        return len(self.alerts)

    @property
    def accounted(self) -> Accounted:
        """The counts, for a report."""
        return Accounted(
            rows=self.rows,
            imported=self.imported,
            refused=len(self.refused),
            repaired=len(self.repaired),
            ambiguous_times=len(self.ambiguous_times),
            skipped_times=len(self.skipped_times),
        )


def load_activations(path: Path) -> Activations:
    """Read the table in a file. Raises ActivationsError where it cannot be read or is another file."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ActivationsError(
            f"The activations {path} cannot be read ({error.strerror}): check the path and the permissions."
        ) from error
    return read_activations(raw)


def read_activations(raw: bytes) -> Activations:
    """Read Kansas City's table of activations, CSV in UTF-8. Raises ActivationsError if it is not that."""
    activations = Activations()
    seen: dict[str, tuple[int, list[str]]] = {}
    for number, row in enumerate(_rows(raw), start=2):
        if not row:
            continue  # an empty line, as at the end of a file
        activations.rows += 1
        try:
            _import_row(activations, seen, number, row)
        except _InvalidRowError as refused:
            activations.refused.append(InvalidRow(number, str(refused)))
    activations.alerts.sort(key=lambda alert: (alert["occurred_at_ms"], alert["alert_id"]))
    return activations


class _InvalidRowError(Exception):
    """Carries the reason why a row is no alert."""


def _rows(raw: bytes) -> list[list[str]]:
    """Return the rows under the heading."""
    expected = f"expected CSV in UTF-8 with the columns {', '.join(COLUMNS)}; name that file"
    try:
        rows = list(csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ActivationsError(f"The activations are not readable as a table ({error}): {expected}.") from error
    if not rows:
        raise ActivationsError(f"The activations are an empty file: {expected}.")
    if [name.strip() for name in rows[0]] != COLUMNS:
        found = ", ".join(rows[0])[:100]
        raise ActivationsError(f'The activations begin with "{found}": {expected}.')
    return rows[1:]


def _import_row(activations: Activations, seen: dict[str, tuple[int, list[str]]], number: int, row: list[str]) -> None:
    """Add one row's alert, and note what was done to read it; all checks come before the first change."""
    stripped = [cell.strip() for cell in row]
    cells = _with_district(stripped)
    kind, alert_id, date, time, _, _, latitude, longitude = cells
    if kind not in _KINDS:
        raise _InvalidRowError(f'the type "{kind}" is none of {", ".join(_KINDS)}')
    if not alert_id:
        raise _InvalidRowError("the Respond ID is empty")
    occurred_at_ms, clock = _instant(date, time)
    lat = _degrees(latitude, "latitude", _LATITUDES)
    lon = _degrees(longitude, "longitude", _LONGITUDES)
    if alert_id in seen:
        first, earlier = seen[alert_id]
        how = "and says the same" if earlier == cells else "but says something else"
        raise _InvalidRowError(f"it repeats the Respond ID {alert_id} of row {first} {how}")
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
    """Return a row of eight cells; where only the district is missing, put an empty one in its place.

    That is unambiguous: no district is called like a latitude, and two coordinates follow the zone.
    """
    cells = row[:-1] if len(row) == len(COLUMNS) and not row[-1] else row
    if len(cells) == len(COLUMNS) - 1 and all(map(_DEGREES.fullmatch, cells[5:])):
        return [*cells[:5], "", *cells[5:]]
    if len(row) != len(COLUMNS):
        raise _InvalidRowError(f"it has {len(row)} cells where {len(COLUMNS)} belong")
    return row


def _instant(date: str, time: str) -> tuple[int, Literal["once", "twice", "never"]]:
    """Return the local time's milliseconds since the Unix epoch, and how often that local time happened."""
    day, clock = _DATE.fullmatch(date), _TIME.fullmatch(time)
    if not day or not clock:
        raise _InvalidRowError(f'"{date} {time}" is no time such as 1/31/2020 23:59:59')
    month, day_of_month, year = map(int, day.groups())
    hour, minute, second = map(int, clock.groups())
    try:
        local = datetime(year, month, day_of_month, hour, minute, second, tzinfo=TIME_ZONE)
        before, after = local.utcoffset(), local.replace(fold=1).utcoffset()
        instant_ms = (local - _EPOCH) // _MILLISECOND
    except (ValueError, OverflowError) as error:
        raise _InvalidRowError(f'"{date} {time}" is no time of the calendar') from error
    if before is None or after is None or before == after:
        return instant_ms, "once"
    # The offset is larger in summer: it shrinks where an hour is repeated, and grows where one is left out.
    return instant_ms, "twice" if before > after else "never"


def _degrees(text: str, what: str, limits: tuple[float, float]) -> float:
    low, high = limits
    if not _DEGREES.fullmatch(text):
        raise _InvalidRowError(f'the {what} "{text}" is no number of degrees')
    value = float(text)
    if not low <= value <= high:
        raise _InvalidRowError(f"the {what} {text} is not in Kansas City, {low} to {high}")
    return value
