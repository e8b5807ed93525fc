"""Where the files that travel with rampwatch are: sites, schemas, the local broker's settings, samples.

In a wheel they lie in ``streams/_data``; in a source checkout (also an editable install) they are read from
where they are kept, ``schemas/`` and ``deploy/``.
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
    """Return the path of a shipped file or, without a name, of the folder of its kind.

    ``kind`` is one of ``schemas``, ``sites``, ``kafka``, ``samples``, ``calibration``. The path may not exist: the
    caller says what it was looking for.
    """
    packed = _PACKAGE / "_data" / kind
    folder = packed if packed.is_dir() else _PACKAGE.parent / _SOURCE[kind]
    return folder / name if name else folder
