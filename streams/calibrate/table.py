"""An evaluation as Markdown, put into a document between two marks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from streams.calibrate.evaluating import Band, Evaluation, Line, Setting
from streams.core.errors import RampwatchError

BEGIN: Final = "<!-- written by rampwatch evaluate: from here -->"
END: Final = "<!-- to here -->"


def markdown(evaluation: Evaluation) -> str:
    """Return the tables of an evaluation."""
    first, last = evaluation.seeds
    few_first, few_last = evaluation.few_seeds
    parts = [
        f"{evaluation.site.capitalize()}, simulated weeks with the seeds {first} to {last}, none of them fitted to; "
        f"numbers of the calibration `{evaluation.calibration}`.",
        "**Lookalikes on** (plates of one character's difference within a class count):",
        _rankings(evaluation.with_lookalikes),
        "**Lookalikes off**:",
        _rankings(evaluation.without),
        "**What a score means**, lookalikes on:",
        _bands(evaluation.bands),
        f"**When the city is otherwise** (seeds {few_first} to {few_last}; AP is average precision):",
        _settings(evaluation.settings),
    ]
    return "\n\n".join(parts) + "\n"


def put(table: str, path: Path) -> None:
    """Put the tables into a document, between the marks, or into a new file; `RampwatchError` where neither can be."""
    head, tail = around(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{head}{BEGIN}\n\n{table}\n{END}{tail}", encoding="utf-8")
    except OSError as error:
        raise RampwatchError(f"{path}: cannot be written ({error.strerror}); name another file") from None


def around(path: Path) -> tuple[str, str]:
    """Return what a document holds before and after the marks; raises `RampwatchError` where it has none."""
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else f"{BEGIN}{END}\n"
    except (OSError, UnicodeDecodeError) as error:
        raise RampwatchError(f"{path}: cannot be read ({error}); name another file") from None
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise RampwatchError(
            f'{path}: holds no line "{BEGIN}" with "{END}" after it, so nothing in it is replaced; '
            "add them where the tables belong, or name a new file"
        )
    return head, tail


def _rankings(lines: Iterable[Line]) -> str:
    return _table(
        ["ranking", "put forward", "true", "of", "precision", "recall", "average precision"],
        (
            [
                line.what,
                str(line.quality.named),
                str(line.quality.right),
                str(line.quality.to_find),
                f"{line.quality.precision:.2f}",
                f"{line.quality.recall:.2f}",
                "" if line.average_precision is None else f"{line.average_precision:.2f} ± {line.error:.2f}",
            ]
            for line in lines
        ),
    )


def _bands(bands: Iterable[Band]) -> str:
    return _table(["score", "incidents", "true", "share true"], (_band(band) for band in bands))


def _band(band: Band) -> list[str]:
    share = f"{band.right / band.named:.2f}" if band.named else ""
    return [f"{band.from_score:.1f} to {band.from_score + 0.1:.1f}", str(band.named), str(band.right), share]


def _settings(settings: Iterable[Setting]) -> str:
    heading = [
        "setting",
        "to find",
        "incidents",
        "found",
        "AP unscored",
        "AP by score",
        "high: precision",
        "high: recall",
    ]
    return _table(
        heading,
        (
            [
                f"**{setting.what}**" if setting.usual else setting.what,
                str(setting.to_find),
                str(setting.unscored.named),
                f"{setting.unscored.recall:.2f}",
                f"{setting.unscored_average_precision:.2f}",
                f"{setting.average_precision:.2f}",
                f"{setting.high.precision:.2f}",
                f"{setting.high.recall:.2f}",
            ]
            for setting in settings
        ),
    )


def _table(heading: list[str], rows: Iterable[list[str]]) -> str:
    def lines() -> Iterator[str]:
        yield "| " + " | ".join(heading) + " |"
        yield "|---|" + "---:|" * (len(heading) - 1)
        for row in rows:
            yield "| " + " | ".join(row) + " |"

    return "\n".join(lines())
