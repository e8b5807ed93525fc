"""The command ``check``."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Table

from streams.cli.options import Config, SiteName, print_table, screen, settings_of, site_of
from streams.settings import Settings, warnings


def check(
    *,
    site_name: SiteName = None,
    json: Annotated[bool, Parameter(help="print what was found as one JSON object")] = False,
    config: Config = None,
) -> None:
    """Check settings, site file and calibration, and print the memory a worker needs; no broker.

    `rampwatch topics check` checks the broker's topics.
    """
    import msgspec

    settings = settings_of(config, site_name)
    found = _found(settings)
    if json:
        print(msgspec.json.encode(found).decode())
    else:
        print_table(_table(found))
    for warning in found["warnings"]:
        screen.print(warning, style="yellow")


def _found(settings: Settings) -> dict[str, Any]:
    """Load everything that the settings name, and describe it; raises `RampwatchError`."""
    from streams.core.digest import results_digest
    from streams.core.memory_ceiling import memory_ceiling_bytes
    from streams.kafka.connection import connection
    from streams.resources.calibration import digest, load_calibration

    site = site_of(settings)
    calibration = load_calibration(settings.calibration)
    connection(settings)  # reads certificates and keys, and connects to nothing
    per_partition_bytes = memory_ceiling_bytes(settings.join)
    return {
        "site": {
            "name": site.name,
            "title": site.title,
            "time_zone": site.time_zone,
            "ramps": len(site.ramps),
            "zones": len(site.zones),
            "approximate": site.approximate,
            "digest": site.digest[:16],
        },
        "calibration": {"file": settings.calibration or None, "digest": digest(calibration)},
        "results_digest": results_digest(site, settings.join, calibration),
        "partitions": settings.partitions,
        "memory_bytes_max": {
            "per_partition": per_partition_bytes,
            "all_partitions": per_partition_bytes * settings.partitions,
        },
        "warnings": list(warnings(settings)),
    }


def _table(found: dict[str, Any]) -> Table:
    site, calibration, memory = found["site"], found["calibration"], found["memory_bytes_max"]
    title = f" ({site['title']})" if site["title"] else ""
    approximate = ", positions approximate" if site["approximate"] else ""
    table = Table("what", "value", "digest")
    table.add_row("site", site["name"] + title, site["digest"])
    table.add_row("ramps, zones", f"{site['ramps']:,} ramps{approximate}; {site['zones']:,} zones", "")
    table.add_row("time zone", site["time_zone"], "")
    table.add_row("calibration", calibration["file"] or "the shipped one", calibration["digest"])
    table.add_row("header rampwatch-digest", "site, rules and calibration", found["results_digest"])
    table.add_row("reads kept in memory", f"at most {memory['per_partition']:,} bytes a partition", "")
    partitions = f"{found['partitions']:,} partition{'s' * (found['partitions'] != 1)}"
    table.add_row("", f"at most {memory['all_partitions']:,} bytes in all {partitions}", "")
    return table
