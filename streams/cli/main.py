"""The command line: all commands, and the exit codes for errors."""

from __future__ import annotations

import logging
import os
import sys

from cyclopts import App

import streams
from streams.cli import bench, counters, demo, replay, score, worker
from streams.cli.options import screen
from streams.core.errors import RampwatchError
from streams.log_format import configure_logging

app = App(
    name="rampwatch",
    help="Link gunfire to stolen cars: join gunshot alerts, stolen-vehicle hits and ramp plate reads on Kafka.",
    version=streams.__version__,
)
app.command(worker.topics_app)
for command in (
    worker.worker,
    worker.acls,
    worker.broker,
    demo.demo,
    replay.replay,
    replay.generate,
    counters.counters,
    counters.scan,
    counters.false_alarms,
    score.calibrate,
    score.evaluate,
    bench.bench,
):
    app.command(command)


def main() -> None:
    """Run the command line; print a `RampwatchError` as one message and exit with code 2."""
    configure_logging()
    # aiokafka logs errors that it retries itself; if it cannot recover, it raises an exception.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output, such as head, has ended; discard what is still in the buffer.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except RampwatchError as error:
        screen.print(f"rampwatch: {error}", style="red", markup=False)
        sys.exit(2)
