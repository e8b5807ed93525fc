"""Finding site files: the ones that travel with rampwatch, by name, and anybody's own, by path."""

from __future__ import annotations

from pathlib import Path

from streams.core.site import Site, SiteError, read_site
from streams.resources.paths import resource_path

_SUFFIX = ".geojson"


def site_names() -> list[str]:
    """Return the names of the sites that travel with rampwatch, sorted."""
    return sorted(path.name.removesuffix(_SUFFIX) for path in resource_path("sites").glob(f"*{_SUFFIX}"))


def load_site(name_or_path: str) -> Site:
    """Return a shipped site by its name (``hartford``) or the site in a file (``my/city.geojson``).

    What contains a slash or ends in ``.geojson`` or ``.json`` is a file. Raises SiteError where there is no
    such site, where the file cannot be read, and where its content does not fit.
    """
    if _is_path(name_or_path):
        path, remedy = Path(name_or_path), "check the path and that you may read it"
    elif name_or_path in site_names():
        path, remedy = resource_path("sites", name_or_path + _SUFFIX), "install rampwatch again"
    else:
        raise SiteError(
            f'There is no site "{name_or_path}": the shipped ones are {", ".join(site_names())}; '
            f"name one of them, or a file of your own that ends in {_SUFFIX}."
        )
    try:
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SiteError(f"The site file {name_or_path} cannot be read ({reason}): {remedy}.") from error
    return read_site(raw, name_or_path)


def _is_path(name_or_path: str) -> bool:
    return "/" in name_or_path or "\\" in name_or_path or name_or_path.endswith((_SUFFIX, ".json"))
