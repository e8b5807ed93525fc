"""The command line: all commands, and the exit codes for errors."""

from __future__ import annotations

import errno
import logging
import os
import sys
from typing import Final

from cyclopts import App

import streams
from streams.cli import bench, counters, demo, replay, score, worker
from streams.cli.options import screen
from streams.core.errors import RampwatchError

_UNWRITABLE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})

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
    """Run the command line; print a `RampwatchError` as one message and exit with its code."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    # aiokafka logs errors that it retries itself; if it cannot recover, it raises an exception.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        _discard_output()  # the reader of our output, such as head, has ended
        sys.exit(141)
    except RampwatchError as error:
        screen.print(f"rampwatch: {error}", style="red", markup=False)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in _UNWRITABLE or error.filename is not None:
            raise
        _discard_output()
        reason = f"standard output cannot be written ({error.strerror})"
        screen.print(f"rampwatch: {reason}; free some space or send it elsewhere", style="red", markup=False)
        sys.exit(1)


def _run() -> None:
    try:
        app()
    finally:
        # at the end of the process a full disk would go unnoticed
        sys.stdout.flush()


def _discard_output() -> None:
    """Discard what is still in the buffer of standard output: it cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
