"""Loads sites: built-in ones by name, others by the path of a GeoJSON file."""

from __future__ import annotations

from pathlib import Path

from streams.core.site import Site, SiteError, read_site
from streams.resources.files import FileError, read_bytes
from streams.resources.paths import resource_path
from streams.secret import shortened

_SUFFIX = ".geojson"
_BYTES_MAX = 64 * 2**20
"""A city with every bend of every border drawn has a few million bytes."""


def site_names() -> list[str]:
    """Return the names of the built-in sites, sorted."""
    return sorted(path.name.removesuffix(_SUFFIX) for path in resource_path("sites").glob(f"*{_SUFFIX}"))


def load_site(name_or_path: str) -> Site:
    """Return a built-in site by name (``hartford``), or the site in a file (``my/city.geojson``).

    A string that contains a slash or ends in ``.geojson`` or ``.json`` is a path. Raises SiteError
    if there is no such site, or if the file cannot be read or is invalid.
    """
    if _is_path(name_or_path):
        path, remedy = Path(name_or_path), "check the path and its permissions"
    elif name_or_path in site_names():
        path, remedy = resource_path("sites", name_or_path + _SUFFIX), "reinstall rampwatch"
    else:
        raise SiteError(
            f'site "{shortened(name_or_path)}": not built in; use one of {", ".join(site_names())}, or the path of '
            f"a GeoJSON file that ends in {_SUFFIX}"
        )
    try:
        raw = read_bytes(path, _BYTES_MAX)
    except FileError as error:
        shown = shortened(name_or_path, 400)  # the name of the file is at the end of its path
        raise SiteError(f"{shown}: this site file cannot be read ({error}); {remedy}") from None
    return read_site(raw, name_or_path)


def _is_path(name_or_path: str) -> bool:
    return "/" in name_or_path or "\\" in name_or_path or name_or_path.endswith((_SUFFIX, ".json"))
