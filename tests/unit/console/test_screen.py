"""What users chose to name things is printed as it is, and progress appears on terminals only."""

from __future__ import annotations

import ast
import io
import re
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from streams.console.screen import activity, counted, part_of, progress, text_console
from tests.paths import ROOT

NAMES = ["[/bar]", "[bold]city[/bold]", ":car:", "host:-1", "[link=x]", "\\[x]"]
HOME = "streams/console/screen.py"


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def console_into_text() -> Console:
    console = text_console(soft_wrap=True)
    console.file = io.StringIO()
    return console


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_printed_as_it_is_alone_and_in_a_table(name: str) -> None:
    console = console_into_text()
    console.print(f"written to {name}", style="dim")
    assert printed(console) == f"written to {name}\n"
    table = Table("what", name)
    table.add_row("site", name)
    console.print(table)
    assert printed(console).count(name) == 3


@pytest.mark.parametrize("name", NAMES)
def test_progress_shows_a_name_as_it_is_with_percent_and_the_time_left(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    console = console_into_text()
    console.width = 100
    with progress(console, name) as report:
        report(f"week of {name}", 0.25)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed(console))
    assert f"week of {name}" in shown
    assert "25%" in shown
    assert re.search(r"-:--:--|0:00:\d\d", shown)


def test_without_a_terminal_progress_prints_nothing() -> None:
    console = console_into_text()
    with progress(console, "work") as report:
        report("half of it", 0.5)
    with activity(console, "more work"):
        pass
    assert printed(console) == ""


def test_a_step_of_the_work_moves_the_bar_within_its_part() -> None:
    reported: list[tuple[str, float]] = []

    def report(doing: str, share: float) -> None:
        reported.append((doing, share))

    read, joined = part_of(report, 0.0, 0.25), part_of(report, 0.25, 1.0)
    for done in (0, 1_500, 3_000):
        counted(read, "read", 3_000, "bytes")(done)
    for done in (0, 2, 4):
        counted(joined, "joined", 4, "records")(done)
    counted(report, "joined", 0, "records")(0)
    assert reported == [
        ("read 0 of 3,000 bytes", 0.0),
        ("read 1,500 of 3,000 bytes", 0.125),
        ("read 3,000 of 3,000 bytes", 0.25),
        ("joined 0 of 4 records", 0.25),
        ("joined 2 of 4 records", 0.625),
        ("joined 4 of 4 records", 1.0),
        ("joined 0 of 0 records", 1.0),
    ]


SOURCES = sorted((ROOT / "streams").rglob("*.py"))


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_only_one_module_makes_consoles_and_none_reads_markup_in_a_text(file: Path) -> None:
    if file.relative_to(ROOT).as_posix() == HOME:
        return
    for call in (node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Call)):
        name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
        assert name not in ("Console", "from_markup", "Status", "print_json"), f"line {call.lineno}"
        if name in ("status", "TextColumn"):
            assert isinstance(call.args[0], ast.Constant), f"line {call.lineno}: a text that is not ours"
        assert not [key for key in call.keywords if key.arg in ("markup", "emoji") and _is_true(key.value)]


def _is_true(value: ast.expr) -> bool:
    return not (isinstance(value, ast.Constant) and value.value is False)
