"""The command line in a process of its own: the one place where tests start ``rampwatch``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE
from typing import IO

COMMAND = [sys.executable, "-m", "streams.cli"]
WAIT_S_MAX = 120.0
"""How long a command may take unless a test says otherwise."""
STOP_S_MAX = 20.0
"""How long an orderly exit may take."""

UNSET = ("RAMPWATCH_", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "COLUMNS", "TERM")


def environment(**variables: str) -> dict[str, str]:
    """``variables`` and our own environment without settings of rampwatch or the terminal."""
    return {name: text for name, text in os.environ.items() if not name.startswith(UNSET)} | variables


def rampwatch(
    *arguments: str, cwd: Path | None = None, timeout_s: float = WAIT_S_MAX, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@contextmanager
def started(
    *arguments: str,
    cwd: Path | None = None,
    stdout: int | IO[bytes] = PIPE,
    stderr: int | IO[bytes] = PIPE,
    command: Sequence[str] = COMMAND,
    **variables: str,
) -> Iterator[subprocess.Popen[str]]:
    """A running command; it is killed at the end of the block if it still runs."""
    process = subprocess.Popen(
        [*command, *arguments],
        cwd=cwd,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()
