"""The score's calibration as it travels with rampwatch: numbers in a file, with what they were fitted on.

``rampwatch calibrate`` writes the file. Whoever calibrates on history of their own writes it to the same place.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec
from msgspec import Struct

from streams.core.errors import RampwatchError
from streams.core.scoring import Calibration
from streams.resources.paths import resource_path

FILE = "score.json"


class CalibrationError(RampwatchError):
    """A calibration that cannot be used; the message says which file, why, and what to do."""


class Fitted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a calibration file holds: the numbers, and what they rest on."""

    about: str
    site: str
    seeds: tuple[int, int]
    """The first and the last seed of the worlds that it was fitted on."""
    incidents: int
    linked: int
    """How many of those incidents were true."""
    precision: dict[str, float]
    """Of ``high``, and of ``medium`` or better, on those worlds."""
    recall: dict[str, float]
    check: str
    """A digest of what comes of the first few seeds alone: a test fits those again, to see that the file is not old."""
    calibration: Calibration


def read_calibration(path: Path) -> Fitted:
    """Return what a calibration file holds; raises `CalibrationError` where it cannot be read or used."""
    remedy = "install rampwatch again, or write one with rampwatch calibrate"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Fitted)
    except OSError as error:
        raise CalibrationError(f"The calibration {path} cannot be read ({error.strerror}): {remedy}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CalibrationError(f"The calibration {path} cannot be used ({error}): {remedy}.") from None


@cache
def load_calibration() -> Calibration:
    """Return the calibration that travels with rampwatch; raises `CalibrationError` where it is missing or broken."""
    return read_calibration(resource_path("calibration", FILE)).calibration
