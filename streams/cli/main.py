"""The command line. Every command reads its settings once; an error is one sentence and exit code 2."""

from __future__ import annotations

import logging
import os
import sys

from cyclopts import App

import streams
from streams.cli import bench, counters, demo, replay, score, worker
from streams.cli.options import screen
from streams.core.errors import RampwatchError

app = App(
    name="rampwatch",
    help="Links gunfire to stolen cars: shots, stolen-vehicle hits and ramp plate reads, joined on Kafka.",
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
    """Run the command line; what cannot go on ends with one sentence and exit code 2."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    # what aiokafka retries by itself is nothing to tell, even what it calls an error; what it cannot mend raises
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # whoever reads has enough, as head does; what is still in the buffer goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except RampwatchError as error:
        screen.print(f"rampwatch: {error}", style="red", markup=False)
        sys.exit(2)
