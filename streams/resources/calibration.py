"""The calibration of the score: a file of numbers, and of what they were fitted to.

``rampwatch calibrate`` writes the file. A calibration fitted to other history replaces it in the
same place.
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


def read_calibration(path: Path) -> Fitted:
    """Return the content of a calibration file; raises `CalibrationError`."""
    remedy = "reinstall rampwatch, or write one with rampwatch calibrate"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Fitted)
    except OSError as error:
        raise CalibrationError(f"{path}: this calibration cannot be read ({error.strerror}); {remedy}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CalibrationError(f"{path}: this calibration cannot be used ({error}); {remedy}") from None


@cache
def load_calibration() -> Calibration:
    """Return the calibration that ships with rampwatch; raises `CalibrationError`."""
    return read_calibration(resource_path("calibration", FILE)).calibration
