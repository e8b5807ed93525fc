"""What an answer depends on besides the log: told in each output's header ``rampwatch-digest``."""

from __future__ import annotations

import hashlib

import msgspec

from streams.core.rules import JoinRules
from streams.core.scoring import Calibration
from streams.core.site import Site


def answers_digest(site: Site, rules: JoinRules, calibration: Calibration) -> str:
    """Return 16 hexadecimal digits that differ where the site, the join's rules or the score's calibration do."""
    parts = msgspec.json.encode([site.digest, rules, calibration], order="sorted")
    return hashlib.sha256(parts).hexdigest()[:16]
