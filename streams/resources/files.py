"""Reads files that people write, such as settings and sites, within bounds; writes files whole."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


class FileError(Exception):
    """A file that cannot be read or written; the message is the reason in a few words."""


def read_bytes(path: Path, bytes_max: int) -> bytes:
    """Return the content of a file of at most ``bytes_max`` bytes; raises `FileError`.

    A larger file costs no more time or memory than a file of that size.
    """
    try:
        with path.open("rb") as file:
            content = file.read(bytes_max + 1)
    except OSError as error:
        raise FileError(error.strerror or type(error).__name__) from None
    except ValueError as error:  # a NUL in the path
        raise FileError(str(error)) from None
    except MemoryError:
        raise FileError("not enough memory") from None
    if len(content) > bytes_max:
        raise FileError(f"larger than {bytes_max:,} bytes")
    return content


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: nobody ever sees a part of it; raises `FileError`."""
    try:
        # A device or a pipe, such as /dev/stdout, is written as it is.
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            return
        target = path.resolve()  # a link stays, and the file that it names is replaced
        mode = target.stat().st_mode & 0o7777 if target.exists() else 0o666 & ~_umask()
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name[:100]}.", delete=False) as part:
            try:
                part.write(content)
                part.close()
                os.chmod(part.name, mode)
                os.replace(part.name, target)
            except BaseException:
                os.unlink(part.name)
                raise
    except OSError as error:
        raise FileError(error.strerror or type(error).__name__) from None
    except ValueError as error:  # a NUL in the path
        raise FileError(str(error)) from None


def check_writable(path: Path) -> None:
    """Raise `FileError` if `write_bytes` would, as far as can be seen before; changes nothing."""
    try:
        if path.is_dir():
            raise FileError("it is a folder")
        if path.exists() and not os.access(path, os.W_OK):
            raise FileError("permission denied")
        if not path.exists() or path.is_file():
            with tempfile.TemporaryFile(dir=path.resolve().parent):
                pass
    except OSError as error:
        raise FileError(error.strerror or type(error).__name__) from None
    except ValueError as error:
        raise FileError(str(error)) from None


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
