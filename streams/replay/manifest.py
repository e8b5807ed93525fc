"""The manifest of an archive: which site it is of, what it holds, and whether it is whole.

``streams/replay/ARCHIVES.md`` defines it. It is the last file of an archive to be written, so that
an archive whose writer was interrupted says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

import streams
from streams.core.site import Site
from streams.replay.errors import ArchiveError
from streams.resources.site_check import WrongSiteError, label_of, option_for

MANIFEST: Final = "manifest.json"
_FORMAT: Final = 1

Kind = Literal["inputs", "outcomes"]
Count = Annotated[int, Meta(ge=0)]


class Manifest(Struct, frozen=True, kw_only=True):
    """What an archive is. It holds no time and no path: the same archive has the same manifest."""

    format: Annotated[int, Meta(ge=1)] = _FORMAT
    kind: Kind
    complete: bool
    """False while the files are being replaced."""
    site: str
    """The name of the site; for a site file, its name without the folder."""
    site_digest: str
    digest: str | None
    """Of outcomes: the header ``rampwatch-digest`` of its records."""
    version: str
    """Of rampwatch."""
    records: dict[str, Count]
    """Lines of each file, by name without ending."""
    rejected: dict[str, dict[str, Count]] = {}
    """Of outcomes: how many records of each input topic became dead letters, by reason."""
    consumed: Count = 0
    """Of outcomes: how many records were replayed."""


def manifest_of(kind: Kind, site: Site, records: dict[str, int], digest: str | None = None) -> Manifest:
    """Return the manifest of a whole archive."""
    return Manifest(
        kind=kind,
        complete=True,
        site=label_of(site),
        site_digest=site.digest,
        digest=digest,
        version=streams.__version__,
        records=records,
    )


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of an archive, or None if it has none: it was not written by rampwatch.

    Raises `ArchiveError` if the archive is incomplete or the manifest cannot be read.
    """
    manifest = _read(folder / MANIFEST)
    if manifest is not None and not manifest.complete:
        raise ArchiveError(f"{folder}: incomplete, because writing it was interrupted; write it again")
    return manifest


def kind_of(folder: Path) -> Kind | None:
    """Return what an archive's manifest says it is, complete or not; None without a manifest."""
    manifest = _read(folder / MANIFEST)
    return None if manifest is None else manifest.kind


def _read(file: Path) -> Manifest | None:
    try:
        manifest = msgspec.json.decode(file.read_bytes(), type=Manifest)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ArchiveError(f"{file}: cannot be read ({error.strerror}); check its permissions") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArchiveError(f"{file}: not the manifest of an archive ({error}); write the archive again") from None
    if manifest.format > _FORMAT:
        raise ArchiveError(f"{file}: format {manifest.format} is newer than this rampwatch; use a newer version")
    return manifest


def check_manifest(folder: Path, manifest: Manifest, kind: Kind, site: Site) -> bool:
    """Check that an archive is of a kind and of the site in use; return whether that is certain.

    Inputs of a site with the same name and another content are not: the site file may have been
    corrected since. Raises `ArchiveError` and `WrongSiteError`.
    """
    if manifest.kind != kind:
        raise ArchiveError(f"{folder}: an archive of {manifest.kind}, not of {kind}; name another folder")
    if manifest.site_digest == site.digest:
        return True
    if manifest.site != label_of(site):
        raise WrongSiteError(
            f"{folder}: an archive of site {manifest.site}, not of {label_of(site)}; use {option_for(manifest.site)}"
        )
    if kind == "outcomes":
        raise WrongSiteError(
            f"{folder}: written with another version of site {manifest.site} (its zones, ramps or time zone have "
            "changed since); run the replay again"
        )
    return False


def check_counts(folder: Path, manifest: Manifest, found: dict[str, int]) -> None:
    """Raise `ArchiveError` if an archive does not hold as many records as its manifest says."""
    for name, count in found.items():
        written = manifest.records.get(name, 0)
        if written != count:
            raise ArchiveError(
                f"{folder}: has {count:,} records of {name}, but {written:,} were written; copy the archive again, or "
                f"remove {MANIFEST} if it was edited on purpose"
            )
