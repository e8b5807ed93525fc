"""Writes a file of results whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from streams.replay.errors import ArchiveError, WriteError


def check_writable(file: Path) -> None:
    """Check, before any work, that a file can be written; raises `RampwatchError`."""
    reason = None
    if file.is_dir():
        reason = "it is a folder"
    elif not file.parent.is_dir():
        reason = "there is no such folder"
    elif not os.access(file if file.exists() else file.parent, os.W_OK):
        reason = "no permission"
    if reason is not None:
        raise ArchiveError(f"{file}: cannot be written ({reason}); name another file")


def write_whole(file: Path, data: bytes) -> None:
    """Write a file; if that fails, the file is as it was before. Raises `WriteError`.

    Devices and pipes, such as /dev/stdout, are written directly.
    """
    staged = file.with_name(f".{file.name}.partial")
    try:
        if file.exists() and not file.is_file():
            file.write_bytes(data)
        else:
            staged.write_bytes(data)
            staged.replace(file)
    except OSError as error:
        with suppress(OSError):
            staged.unlink()
        raise WriteError(
            f"{file}: cannot be written ({error.strerror}); free some space or name another file"
        ) from None
