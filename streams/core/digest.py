"""The digest of what results depend on besides the log (header ``rampwatch-digest``)."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from streams.core.events import LinkedIncident
from streams.core.rules import JoinRules
from streams.core.scoring import Calibration
from streams.core.site import Site

_PROSE: Final = frozenset({"description", "title"})
"""Keywords of a JSON Schema that explain and constrain nothing."""


def schema_digest(kind: Any) -> str:  # noqa: ANN401 - a type or anything else that msgspec decodes to
    """Return 16 hexadecimal digits that differ if the JSON Schema of a type does.

    Descriptions do not count: a reworded docstring is not another schema.
    """
    schema = _without_prose(msgspec.json.schema(kind))
    return hashlib.sha256(msgspec.json.encode(schema, order="sorted")).hexdigest()[:16]


def results_digest(site: Site, rules: JoinRules, calibration: Calibration) -> str:
    """Return 16 hexadecimal digits that differ if the site, the rules or the calibration do.

    They also differ between versions of rampwatch whose incidents have another schema.
    """
    parts = msgspec.json.encode([schema_digest(LinkedIncident), site.digest, rules, calibration], order="sorted")
    return hashlib.sha256(parts).hexdigest()[:16]


def _without_prose(schema: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a schema without its prose; the names of properties are not keywords."""
    if isinstance(schema, list):
        return [_without_prose(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _without_prose(each) for name, each in value.items()}
        if key in ("properties", "$defs")
        else _without_prose(value)
        for key, value in schema.items()
        if key not in _PROSE
    }
