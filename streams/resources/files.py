"""Reads files that people write, such as settings and sites: whole, but never without bound."""

from __future__ import annotations

from pathlib import Path


class FileError(Exception):
    """A file that cannot be read; the message is the reason in a few words."""


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
