"""The command line: all commands, and the exit codes for errors."""

from __future__ import annotations

import errno
import logging
import os
import sys
from typing import Final, NoReturn

from cyclopts import App, CycloptsError, UnknownOptionError, UnusedCliTokensError

import streams
from streams.cli import bench, check, counters, demo, examples, replay, score, worker
from streams.cli.options import passwords, screen
from streams.core.errors import RampwatchError
from streams.given_settings import PREFIX
from streams.log_format import configure_logging
from streams.secret import hide_secrets, printable, secrets_in, shortened

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
    check.check,
    demo.demo,
    replay.replay,
    replay.generate,
    examples.examples,
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
    configure_logging()
    # aiokafka logs errors that it retries itself; if it cannot recover, it raises an exception.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        try:
            app(sys.argv[1:], print_error=False, exit_on_error=False)
        finally:
            sys.stdout.flush()  # at the end of the process a full disk would go unnoticed
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        _discard_output()  # its reader, such as head, has ended
        sys.exit(141)
    except CycloptsError as error:
        _fail(_usage_message(error), RampwatchError.exit_code)
    except RampwatchError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        if error.filename is not None or error.errno not in _UNWRITABLE:
            raise
        _discard_output()
        _fail(f"standard output cannot be written ({error.strerror}); free some space or send it elsewhere", 1)


def _fail(message: str, exit_code: int) -> NoReturn:
    """Print a message without the passwords that are known, and exit."""
    secrets = secrets_in({name: text for name, text in os.environ.items() if name.startswith(PREFIX)})
    lines = [printable(line) for line in hide_secrets(message, secrets | passwords).split("\n")]
    screen.print("rampwatch: " + "\n".join(lines), style="red")
    sys.exit(exit_code)


def _usage_message(error: CycloptsError) -> str:
    """Return what is wrong with a command line.

    An argument that no command expects is not shown: it may be a password.
    """
    error.verbose = False
    command = " ".join(["rampwatch", *(error.command_chain or ())])
    match error:
        case UnusedCliTokensError():
            return f"{command}: unexpected argument; see {command} --help"
        case UnknownOptionError(token=token) if not (token.keyword or token.value).startswith("--"):
            return f"{command}: unknown option {(token.keyword or token.value)[:2]}; see {command} --help"
    return shortened(str(error), 400)


def _discard_output() -> None:
    """Drop what is still in the buffer, so that Python does not try again to write it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
