"""Settings of every test run."""

from __future__ import annotations

import signal

import pytest

from tests.paths import ROOT


def pytest_configure() -> None:
    # A shell starts background jobs with SIGINT ignored, and every process that tests start would
    # inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Slow folders first: modules are handed out to processes in this order, so that no process is
    # left with a long one at the end.
    slow_first = [ROOT / "tests" / name for name in ("kafka", "house")]
    items.sort(key=lambda item: [not item.path.is_relative_to(folder) for folder in slow_first])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a conspicuous note if real Kafka or promtool was missing."""
    for tool, need in (("KAFKA", "a real Kafka"), ("PROMTOOL", "promtool")):
        skipped = [r for r in terminalreporter.getreports("skipped") if f"NO {tool}" in str(r.longrepr)]
        if skipped:
            terminalreporter.section(f"{tool} WAS NOT TESTED", sep="!", red=True, bold=True)
            terminalreporter.line(f"{len(skipped)} tests need {need} and were skipped; the reason is in the summary.")
