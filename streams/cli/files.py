"""Writes the file that an option names, whole or not at all."""

from __future__ import annotations

from pathlib import Path

from streams.replay.errors import ArchiveError, WriteError
from streams.resources import files
from streams.resources.files import FileError, write_bytes


def check_writable(option: str, file: Path) -> None:
    """Check, before any work, that a file can be written; raises `ArchiveError`."""
    try:
        files.check_writable(file)
    except FileError as error:
        raise ArchiveError(f"{option} {file}: cannot be written ({error}); name another file") from None


def write_whole(option: str, file: Path, content: bytes) -> None:
    """Write a file; if that fails, the file is as it was before, and `WriteError` is raised."""
    try:
        write_bytes(file, content)
    except FileError as error:
        raise WriteError(
            f"{option} {file}: cannot be written ({error}); free some space or name another file"
        ) from None
