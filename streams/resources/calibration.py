"""The calibration of the score: a file of numbers, and of what they were fitted to.

``rampwatch calibrate`` writes such a file. One ships with rampwatch; the setting ``calibration``
names another, fitted to another site or other history.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import msgspec
from msgspec import Struct

from streams.core.errors import RampwatchError
from streams.core.scoring import Calibration
from streams.resources.files import FileError, read_bytes
from streams.resources.paths import resource_path
from streams.secret import shortened

FILE = "score.json"
_BYTES_MAX = 1_000_000


class CalibrationError(RampwatchError):
    """A calibration that cannot be used; the message gives the file, the problem and the remedy."""


class Fitted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of a calibration file: the numbers, and what they were fitted to."""

    about: str
    site: str
    seeds: tuple[int, int]
    """The first and the last seed of the simulated weeks that the calibration was fitted to."""
    incidents: int
    """The number of incidents in those weeks."""
    linked: int
    """The number of those incidents that were true."""
    precision: dict[str, float]
    """On those weeks, for ``high``, and for ``medium`` or better."""
    recall: dict[str, float]
    """The same for recall."""
    check: str
    """A digest of the calibration fitted to the first few seeds alone.

    A test repeats that fit, to detect an outdated file.
    """
    calibration: Calibration


def read_calibration(path: Path, name: str = "this calibration") -> Fitted:
    """Return the content of a calibration file, called ``name`` in messages.

    Raises `CalibrationError`.
    """
    remedy = "write one with rampwatch calibrate --out FILE, or use the shipped one by unsetting calibration"
    if path == shipped_path():
        remedy = "reinstall rampwatch, or write one with rampwatch calibrate --out FILE"
    shown = shortened(str(path), 300)
    try:
        return msgspec.json.decode(read_bytes(path, _BYTES_MAX), type=Fitted)
    except FileError as error:
        raise CalibrationError(f"{shown}: {name} cannot be read ({error}); {remedy}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CalibrationError(f"{shown}: {name} cannot be used ({shortened(str(error))}); {remedy}") from None


def shipped_path() -> Path:
    """Return the path of the calibration that ships with rampwatch."""
    return resource_path("calibration", FILE)


@cache
def load_calibration(path: str = "") -> Calibration:
    """Return the calibration that the setting ``calibration`` names; without one, the shipped one.

    Raises `CalibrationError`.
    """
    if path:
        return read_calibration(Path(path), "the file that the setting calibration names").calibration
    return read_calibration(shipped_path()).calibration


def digest(calibration: Calibration) -> str:
    """Return 16 hexadecimal digits that identify the numbers of a calibration."""
    return hashlib.sha256(msgspec.json.encode(calibration, order="sorted")).hexdigest()[:16]
