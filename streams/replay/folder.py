"""Writes the files of an archive together, or not at all.

The files are written into a hidden folder beside their final place and moved when all are whole:
first a manifest that says "incomplete", then the files, at last the manifest. Whatever fails or is
killed before the move leaves what was there untouched. A kill during the move, which needs no
space, leaves an archive that says it is incomplete.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import msgspec

from streams.core.topics import INPUTS, OUTPUTS
from streams.replay.errors import ArchiveError, WriteError
from streams.replay.manifest import MANIFEST, Kind, Manifest, kind_of

_STAGING: Final = ".writing-"
_OUTCOMES: Final = "outcomes.json"


def check_target(folder: Path, kind: Kind) -> None:
    """Check, before any work, that an archive may be written to a folder.

    Only what rampwatch itself wrote is replaced: inputs by inputs, outcomes by outcomes. Raises
    `ArchiveError`.
    """
    with FolderWriter(folder, kind, ()):
        pass


class FolderWriter:
    """The files of an archive while they are written; use it as a context manager.

    Without a `commit`, nothing changes. Raises `ArchiveError` if the folder cannot be used, and
    `WriteError` if writing fails.
    """

    def __init__(self, folder: Path, kind: Kind, names: Sequence[str]) -> None:
        """``names``: of the files, with endings."""
        self._folder = folder
        self._kind = kind
        self._names = names
        self._files: dict[str, BinaryIO] = {}
        self._staging: Path | None = None
        self._created: list[Path] = []

    def __enter__(self) -> Self:
        _refuse_other_content(self._folder, self._kind)
        try:
            self._created = [path for path in (self._folder, *self._folder.parents) if not path.exists()]
            self._folder.mkdir(parents=True, exist_ok=True)
            for left_over in self._folder.glob(f"{_STAGING}*"):
                shutil.rmtree(left_over, ignore_errors=True)
            self._staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=self._folder))
            self._files = {name: (self._staging / name).open("wb") for name in self._names}
        except OSError as error:
            self._discard()
            raise ArchiveError(f"{self._folder}: cannot be written ({error.strerror}); name another folder") from None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._discard()

    def write(self, name: str, data: bytes) -> None:
        """Append to a file."""
        try:
            self._files[name].write(data)
        except OSError as error:
            raise self._failed(name, error) from None

    def commit(self, manifest: Manifest) -> None:
        """Move the files to their place, and the manifest last."""
        assert self._staging is not None
        for name in self._names:
            self._close(name)
        name = MANIFEST
        try:
            incomplete = self._staging / f"incomplete-{MANIFEST}"
            _write_json(self._staging / MANIFEST, manifest)
            _write_json(incomplete, msgspec.structs.replace(manifest, complete=False))
            incomplete.replace(self._folder / MANIFEST)
            for name in self._names:
                (self._staging / name).replace(self._folder / name)
                (self._folder / f"{name}.gz").unlink(missing_ok=True)  # the same topic, compressed later
            (self._staging / MANIFEST).replace(self._folder / MANIFEST)
        except OSError as error:
            raise self._failed(name, error) from None
        self._created = []

    def _close(self, name: str) -> None:
        try:
            self._files[name].close()  # writes what is still in memory
        except OSError as error:
            raise self._failed(name, error) from None

    def _failed(self, name: str, error: OSError) -> WriteError:
        return WriteError(
            f"{self._folder / name}: cannot be written ({error.strerror}); free some space or name another folder"
        )

    def _discard(self) -> None:
        for file in self._files.values():
            with suppress(OSError):
                file.close()
        if self._staging is not None:
            shutil.rmtree(self._staging, ignore_errors=True)
        for path in self._created:
            with suppress(OSError):
                path.rmdir()


def _write_json(file: Path, manifest: Manifest) -> None:
    file.write_bytes(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")


def _refuse_other_content(folder: Path, kind: Kind) -> None:
    if not folder.is_dir():
        return
    present = {path.name.removesuffix(".gz").removesuffix(".jsonl") for path in folder.iterdir()}
    of_inputs, of_outcomes = not present.isdisjoint(INPUTS), not present.isdisjoint(OUTPUTS)
    ours = kind_of(folder) or ("outcomes" if _OUTCOMES in present else None)
    if ours == kind and not (of_outcomes if kind == "inputs" else of_inputs):
        return
    if of_inputs or of_outcomes or ours is not None:
        holds = "outcomes" if of_outcomes or ours == "outcomes" else "inputs"
        whose = "" if ours else " that rampwatch did not write"
        raise ArchiveError(f"{folder}: holds an archive of {holds}{whose}; name another folder")
    if kind == "inputs" and any(not name.startswith(".") for name in present):
        raise ArchiveError(f"{folder}: holds other files; name a new folder, or the folder of a generated archive")
