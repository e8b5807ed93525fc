"""Where the tests find the checkout, and the data beside it that not every machine has."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
