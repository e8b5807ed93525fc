"""Moments on the command line."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from streams.cli.moments import moment_ms
from streams.core.errors import RampwatchError


def at(*fields: int) -> int:
    return round(datetime(*fields, tzinfo=UTC).timestamp() * 1000)  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("2026-06-05", at(2026, 6, 6, 4)),
        ("2026-03-08", at(2026, 3, 9, 4)),
        ("2026-06-05T18:00", at(2026, 6, 5, 22)),
        ("2026-06-05 18:00", at(2026, 6, 5, 22)),
        ("2026-06-05T18:00Z", at(2026, 6, 5, 18)),
        ("2026-06-05T18:00:00.250+02:00", at(2026, 6, 5, 16) + 250),
        ("1780704000123", 1780704000123),
    ],
)
def test_a_date_means_its_end_and_a_time_without_offset_is_local(text, means):
    assert moment_ms(text, "America/New_York", "--as-of") == means


@pytest.mark.parametrize("text", ["", "today", "2026-02-30", "1960-01-01", "9999999999999999", "5"])
def test_an_invalid_moment_is_reported_with_the_valid_notations(text):
    with pytest.raises(RampwatchError, match=f"^--as-of '{text}': expected a moment .* a date such as 2026-06-05"):
        moment_ms(text, "America/New_York", "--as-of")


@pytest.mark.parametrize("text", ["20260605", "2026-W23-5", "2026W235", "2026-W23", "20260605T18:00", "202606051800"])
def test_another_date_notation_is_rejected_rather_than_read_as_midnight(text):
    with pytest.raises(RampwatchError, match="a date such as 2026-06-05"):
        moment_ms(text, "America/New_York", "--as-of")


@pytest.mark.parametrize("text", ["1750003200", "1750003200000000", "999999999999"])
def test_digits_that_are_not_milliseconds_are_rejected(text):
    with pytest.raises(RampwatchError, match=r"13 digits; append 000 to seconds"):
        moment_ms(text, "America/New_York", "--as-of")


@pytest.mark.parametrize(
    "text", ["9999-12-31", "9999-12-31T23:59", "0001-01-01T00:00+23:59", "9" * 5_000, "x" * 100_000]
)
def test_an_absurd_moment_is_reported_and_shortened(text):
    with pytest.raises(RampwatchError, match=r"^--as-of '") as reported:
        moment_ms(text, "Pacific/Kiritimati", "--as-of")
    assert len(str(reported.value)) < 300
