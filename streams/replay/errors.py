"""Errors of archives."""

from __future__ import annotations

from streams.core.errors import RampwatchError


class ArchiveError(RampwatchError):
    """An archive cannot be read or written; the message names the file and the remedy."""


class WriteError(ArchiveError):
    """Writing failed half-way, for example on a full disk; nothing half-written is left."""

    exit_code = 1
