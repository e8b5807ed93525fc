"""The console that everything is printed with, and the display of progress.

Rich would read ``[bold]`` in a text as markup and ``:car:`` as an emoji. What is printed here
contains names of files, sites and zones that people chose, so a text is always only a text. Rich's
own consoles, status lines and progress bars are used nowhere else; a test holds that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

Report = Callable[[str, float], None]
"""Takes what is being done, and the share of all the work that is done, from 0 to 1."""


def part_of(report: Report, begin: float, end: float) -> Report:
    """Return the report of one step of the work, which is from ``begin`` to ``end`` of all."""
    return lambda doing, share: report(doing, begin + share * (end - begin))


def counted(report: Report, done_so_far: str, total: int, unit: str) -> Callable[[int], None]:
    """Return a function that takes how many of ``total`` are done: ``read 5 of 20 bytes``."""
    return lambda done: report(f"{done_so_far} {done:,} of {total:,} {unit}", done / total if total else 1.0)


def text_console(*, stderr: bool = False, soft_wrap: bool = False) -> Console:
    """Return a console that prints texts as they are, also in the cells of tables."""
    return Console(stderr=stderr, soft_wrap=soft_wrap, highlight=False, markup=False, emoji=False)


@contextmanager
def progress(console: Console, what: str) -> Iterator[Report]:
    """Show what is being done, percent and the time left while the block runs.

    Only on a terminal; elsewhere nothing is printed.
    """
    with _bar(console, BarColumn(), TaskProgressColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task(what, total=1.0)

        def report(doing: str, share: float) -> None:
            bar.update(task, description=doing, completed=share)

        yield report


@contextmanager
def activity(console: Console, what: str) -> Iterator[None]:
    """Show what is being done while the block runs, where nobody knows how long it takes."""
    with _bar(console) as bar:
        bar.add_task(what)
        yield


def _bar(console: Console, *columns: BarColumn | TaskProgressColumn | TimeRemainingColumn) -> Progress:
    description = TextColumn("{task.description}", markup=False)
    hidden = not console.is_terminal
    return Progress(SpinnerColumn(), description, *columns, console=console, transient=True, disable=hidden)
