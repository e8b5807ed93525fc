"""What every test run ends with: a loud word where real Kafka was not tested."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [report for report in terminalreporter.getreports("skipped") if "NO KAFKA" in str(report.longrepr)]
    if skipped:
        terminalreporter.section("KAFKA WAS NOT TESTED", sep="!", red=True, bold=True)
        terminalreporter.line(f"{len(skipped)} tests need a real Kafka and were skipped; the reason is in the summary.")
