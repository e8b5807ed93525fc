"""The commands for a worker and its broker: ``worker``, ``topics``, ``acls``, ``broker``."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import App, Parameter
from rich.table import Table

from streams.cli.options import Config, Prefix, SiteName, print_table, screen, settings_of, site_of, whole
from streams.core.errors import RampwatchError

topics_app = App(name="topics", help="Create or check the topics.")


def worker(
    *,
    wait: Annotated[
        bool,
        Parameter(
            negative="",
            help="wait for the broker, the topics and the rights instead of failing at once; default: the setting wait",
        ),
    ] = False,
    config: Config = None,
    site_name: SiteName = None,
    prefix: Prefix = None,
) -> None:
    """Run a worker that joins the topics on RAMPWATCH_BROKER, until SIGINT or SIGTERM."""
    from streams.worker.app import run  # imports Faust, which takes a second, and no other command needs it
    from streams.worker.log_throttle import throttle_repeated_logs

    settings = settings_of(config, site_name, prefix)
    if wait:
        settings = msgspec.structs.replace(settings, wait=True)
    site = site_of(settings)
    log = logging.getLogger("rampwatch")
    log.setLevel(logging.INFO)
    logging.getLogger("aiokafka").setLevel(logging.ERROR)  # the operator must see that a worker waits for its broker
    throttle_repeated_logs("aiokafka")
    try:
        asyncio.run(run(settings, site, lambda: log.info("worker up: site %s, broker %s", site.name, settings.broker)))
    except RampwatchError as error:
        log.error("%s", error)
        sys.exit(2)


@topics_app.command(name="create")
def topics_create(*, config: Config = None, prefix: Prefix = None) -> None:
    """Create the missing topics and print their names."""
    from streams.kafka import topics

    created = asyncio.run(topics.create(settings_of(config, prefix=prefix)))
    for name in created:
        print(name)
    screen.print(f"topics created: {len(created)}" if created else "all topics already exist")


@topics_app.command(name="check")
def topics_check(*, config: Config = None, prefix: Prefix = None) -> None:
    """Check that the topics are as a worker needs them; exit with code 1 if not."""
    from streams.kafka import topics

    problems = asyncio.run(topics.check(settings_of(config, prefix=prefix)))
    for problem in problems:
        print(problem)
    if problems:
        sys.exit(1)
    screen.print("the topics are as a worker needs them")


def acls(
    component: Annotated[str | None, Parameter(help="component to list; default: all")] = None,
    *,
    user: Annotated[
        str | None, Parameter(help="the component's user on the broker; default: rampwatch-COMPONENT")
    ] = None,
    script: Annotated[bool, Parameter(help="print a shell script that grants the rights with kafka-acls.sh")] = False,
    json: Annotated[bool, Parameter(help="print the rights as JSON")] = False,
    config: Config = None,
    prefix: Prefix = None,
) -> None:
    """List the least rights that each component needs on a secured broker; works without one."""
    from streams.kafka import acls as table_of_rights

    if user is not None and component is None:
        raise RampwatchError(f"--user {user}: needs a component; name one, as in rampwatch acls worker --user {user}")
    rights = table_of_rights.rights(settings_of(config, prefix=prefix), component)
    if script:
        print(table_of_rights.script(rights, user))
    elif json:
        print(msgspec.json.encode(rights).decode())
    else:
        table = Table("component", "resource", "operations", "reason")
        for row in table_of_rights.rows(rights, "\n"):
            table.add_row(*row)
        print_table(table)


def broker(
    *,
    port: Annotated[
        int | None, Parameter(converter=whole, help="port to listen on, on 127.0.0.1; default: any free port")
    ] = None,
    data: Annotated[
        Path | None, Parameter(help="folder that keeps the topics; default: they are deleted when the broker stops")
    ] = None,
) -> None:
    """Run a real Apache Kafka on this machine, for trying things out; needs rampwatch[broker]."""
    from streams.local_broker.broker import run_broker

    run_broker(port, data, screen.print)
