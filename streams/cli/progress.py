"""Progress on a terminal: what is being done, the percentage and the time left."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from streams.cli.options import screen

_PARTS: Final = re.compile(r"([\d,]+) of ([\d,]+)")


class ProgressBar:
    """The bar of one command; the steps of its work follow each other in it."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task
        self._done = 0
        self._total: int | None = None

    def update(self, text: str) -> None:
        """Show a text; one such as "20 of 80 records" moves the bar.

        The next step of the work has another total, or begins below the last: it restarts the bar.
        """
        parts = _PARTS.search(text)
        if parts is None:
            self._progress.update(self._task, description=text)
            return
        done, total = (int(part.replace(",", "")) for part in parts.groups())
        if total != self._total or done < self._done:
            self._progress.reset(self._task, total=total)
        self._done, self._total = done, total
        self._progress.update(self._task, description=text, completed=done)


@contextmanager
def progress_bar(text: str) -> Iterator[ProgressBar]:
    """Show progress on standard error while the block runs; nothing if that is not a terminal."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        yield ProgressBar(progress, progress.add_task(text, total=None))
