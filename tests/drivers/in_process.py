"""The command line in this process, for tests that run it hundreds of times."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from streams.cli.main import main

Run = Callable[..., tuple[int, str, str]]
"""Takes arguments, and variables by name; returns the exit code, the output and the errors."""


def runner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs the command line."""
    for name in ("COLUMNS", "TERM", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str, **variables: str) -> tuple[int, str, str]:
        code: object = 0
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["rampwatch", *arguments])
            for name, text in variables.items():
                patch.setenv(name, text)
            try:
                main()
            except SystemExit as ended:
                code = ended.code or 0
        captured = capsys.readouterr()
        assert isinstance(code, int)
        return code, captured.out, captured.err

    return run


def assert_one_sentence(errors: str, *names: str) -> None:
    """Check that one message was printed, printable, and has one of the names."""
    assert errors.count("\n") == 1, errors[:2_000]
    assert len(errors) < 5_000, "it echoes everything"
    assert errors.startswith("rampwatch: ")
    assert any(name in errors for name in names), errors[:2_000]
    assert "Traceback" not in errors
    assert all(character.isprintable() for character in errors.rstrip("\n")), ascii(errors)
