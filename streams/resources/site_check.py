"""Refuses events that belong to another site than the one in use, with the remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from streams.core.errors import RampwatchError
from streams.core.site import Site
from streams.core.site_fit import Place, sample, shots_elsewhere, unknown_ramps, unknown_zones
from streams.resources.sites import load_site, site_names


class WrongSiteError(RampwatchError):
    """Events of one site were to be used with another; the message names both and the remedy."""


def label_of(site: Site) -> str:
    """Return the name of a site for people and manifests: of a file, without its folder."""
    return Path(site.name).name


def option_for(label: str) -> str:
    """Return the option that selects the site with a label."""
    return f"--site {label}" if label in site_names() else f"--site and the path of {label}"


def check_shots(source: str, places: Sequence[Place], site: Site, max_distance_m: int) -> None:
    """Raise `WrongSiteError` if most shots of a source lie in no zone and near no ramp."""
    places = sample(places)
    elsewhere = shots_elsewhere(site, places, max_distance_m)
    if elsewhere:
        raise WrongSiteError(
            f"{source}: {elsewhere:,} of {len(places):,} shots lie in no zone and more than {max_distance_m:,} m from "
            f"every ramp of site {label_of(site)}; "
            + _remedy(site, lambda other: not shots_elsewhere(other, places, max_distance_m))
        )


def check_ramps(source: str, ramp_ids: Sequence[str], site: Site) -> None:
    """Raise `WrongSiteError` if most reads of a source are from ramps that the site lacks."""
    ramp_ids = sample(ramp_ids)
    unknown = unknown_ramps(site, ramp_ids)
    if unknown:
        raise WrongSiteError(
            f"{source}: {unknown:,} of {len(ramp_ids):,} reads are from ramps that site {label_of(site)} does not "
            f"have; " + _remedy(site, lambda other: not unknown_ramps(other, ramp_ids))
        )


def check_zones(source: str, zone_ids: Iterable[str], site: Site) -> None:
    """Raise `WrongSiteError` if most zones that a source names are not in the site."""
    named = set(zone_ids)
    unknown = unknown_zones(site, named)
    if unknown:
        raise WrongSiteError(
            f"{source}: has counts of {unknown:,} zones that site {label_of(site)} does not have; "
            + _remedy(site, lambda other: not unknown_zones(other, named))
        )


def _remedy(site: Site, fits: Callable[[Site], bool]) -> str:
    fitting = [name for name in site_names() if name != site.name and fits(load_site(name))]
    if fitting:
        return f"use {' or '.join(map(option_for, fitting))}"
    return "name their own site with --site, or add its zones and ramps to the site file"
