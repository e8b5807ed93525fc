"""Prometheus's own check of a metrics page."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest


def promtool_complaints(page: str) -> str:
    """What ``promtool check metrics`` says of a page: nothing, or a line for each fault.

    Skips the test where promtool is missing; with REQUIRE_PROMTOOL=1 the test fails instead.
    """
    promtool = shutil.which("promtool")
    if promtool is None:
        reason = "NO PROMTOOL, so the metrics page was not checked: install Debian's package prometheus"
        if os.environ.get("REQUIRE_PROMTOOL") == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=page, capture_output=True, text=True, timeout=30, check=False
    )
    complaints = checked.stdout + checked.stderr
    assert bool(complaints) == bool(checked.returncode), f"promtool ended with {checked.returncode}: {complaints}"
    return complaints
