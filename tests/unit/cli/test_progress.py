"""The progress bar: what moves it, and that it shows only on a terminal."""

from __future__ import annotations

import pytest
from rich.progress import Progress

from streams.cli.progress import ProgressBar, progress_bar


def shown(*texts: str) -> list[tuple[str, float, float | None]]:
    """Description, completed and total after each text."""
    progress = Progress(disable=True)
    bar = ProgressBar(progress, progress.add_task("begin", total=None))
    states = []
    for text in texts:
        bar.update(text)
        task = progress.tasks[0]
        states.append((task.description, task.completed, task.total))
    return states


def test_a_text_with_a_part_of_a_whole_moves_the_bar() -> None:
    assert shown("read 0 of 2,000 bytes", "read 1,500 of 2,000 bytes") == [
        ("read 0 of 2,000 bytes", 0, 2000),
        ("read 1,500 of 2,000 bytes", 1500, 2000),
    ]


def test_the_next_step_restarts_the_bar_and_a_text_without_numbers_leaves_it() -> None:
    assert shown("week 30 of 40: one", "sorting", "week 0 of 40: two", "joined 7 of 9 records")[1:] == [
        ("sorting", 30, 40),
        ("week 0 of 40: two", 0, 40),
        ("joined 7 of 9 records", 7, 9),
    ]


def test_nothing_is_shown_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("working") as bar:
        bar.update("1 of 2 things")
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""
