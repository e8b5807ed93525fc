"""The digest of what results depend on besides the log (header ``rampwatch-digest``)."""

from __future__ import annotations

import hashlib

import msgspec

from streams.core.rules import JoinRules
from streams.core.scoring import Calibration
from streams.core.site import Site


def results_digest(site: Site, rules: JoinRules, calibration: Calibration) -> str:
    """Return 16 hexadecimal digits that differ if the site, the rules or the calibration do."""
    parts = msgspec.json.encode([site.digest, rules, calibration], order="sorted")
    return hashlib.sha256(parts).hexdigest()[:16]
