"""The paths of the files that ship with rampwatch.

A wheel contains them in ``streams/_data``. A source checkout, and so an editable install, has them
in ``schemas/`` and ``deploy/``.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
_SOURCE = {
    "schemas": "schemas",
    "sites": "deploy/sites",
    "kafka": "deploy/kafka",
    "samples": "deploy/samples",
    "calibration": "deploy/calibration",
}


def resource_path(kind: str, name: str = "") -> Path:
    """Return the path of a file that ships with rampwatch; without a name, of the folder of a kind.

    ``kind`` is one of ``schemas``, ``sites``, ``kafka``, ``samples``, ``calibration``. The path may
    not exist; the caller must handle that.
    """
    packaged = _PACKAGE / "_data" / kind
    folder = packaged if packaged.is_dir() else _PACKAGE.parent / _SOURCE[kind]
    return folder / name if name else folder
