"""The tables of an evaluation in Markdown, and their place between two markers in a document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from streams.calibrate.evaluate import Evaluation, RankingResult, ScoreBand, SettingResult
from streams.core.errors import RampwatchError
from streams.replay.errors import WriteError
from streams.resources.files import FileError, check_writable, write_bytes

BEGIN: Final = "<!-- written by rampwatch evaluate: from here -->"
END: Final = "<!-- to here -->"


def markdown(evaluation: Evaluation) -> str:
    """Return the tables of an evaluation."""
    first, last = evaluation.seeds
    setting_first, setting_last = evaluation.setting_seeds
    parts = [
        f"{evaluation.site.capitalize()}, simulated weeks with seeds {first} to {last}, all held out of the fit;\n"
        f"calibration `{evaluation.calibration}`.",
        "**With lookalikes** (a plate may differ in one character from the same lookalike class):",
        _rankings(evaluation.with_lookalikes),
        "**Without lookalikes**:",
        _rankings(evaluation.without_lookalikes),
        "**Share of true incidents by score**, with lookalikes:",
        _bands(evaluation.bands),
        f"**Other settings of the simulated city** (seeds {setting_first} to {setting_last}; AP is average precision):",
        _settings(evaluation.settings),
    ]
    return "\n\n".join(parts) + "\n"


def write_tables(tables: str, path: Path) -> None:
    """Write the tables between the markers of a document, or into a new file.

    Raises `RampwatchError` if the document has no markers, or `WriteError`.
    """
    head, tail = around_markers(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, f"{head}{BEGIN}\n\n{tables}\n{END}{tail}".encode())
    except (OSError, FileError) as error:
        raise WriteError(f"{path}: cannot be written ({error}); free some space or name another file") from None


def check_document(path: Path) -> None:
    """Raise `RampwatchError` if `write_tables` would, as far as can be seen before."""
    around_markers(path)
    try:
        if path.parent.exists():
            check_writable(path)
    except FileError as error:
        raise RampwatchError(f"{path}: cannot be written ({error}); name another file") from None


def around_markers(path: Path) -> tuple[str, str]:
    """Return the text before and after the markers of a document.

    Raises `RampwatchError` if the document cannot be read or has no markers.
    """
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else f"{BEGIN}{END}\n"
    except (OSError, UnicodeDecodeError) as error:
        raise RampwatchError(f"{path}: cannot be read ({error}); name another file") from None
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise RampwatchError(
            f'{path}: has no line "{BEGIN}" with "{END}" after it, so nothing was replaced; '
            "add both lines where the tables belong, or name a new file"
        )
    return head, tail


def _rankings(rankings: Iterable[RankingResult]) -> str:
    return _table(
        ["ranking", "proposed", "correct", "true links", "precision", "recall", "average precision"],
        (
            [
                ranking.name,
                str(ranking.quality.proposed),
                str(ranking.quality.correct),
                str(ranking.quality.true_links),
                f"{ranking.quality.precision:.2f}",
                f"{ranking.quality.recall:.2f}",
                "" if ranking.average_precision is None else f"{ranking.average_precision:.2f} ± {ranking.error:.2f}",
            ]
            for ranking in rankings
        ),
    )


def _bands(bands: Iterable[ScoreBand]) -> str:
    return _table(["score", "incidents", "true", "share true"], (_band(band) for band in bands))


def _band(band: ScoreBand) -> list[str]:
    share = f"{band.correct / band.incidents:.2f}" if band.incidents else ""
    return [f"{band.from_score:.1f} to {band.from_score + 0.1:.1f}", str(band.incidents), str(band.correct), share]


def _settings(settings: Iterable[SettingResult]) -> str:
    heading = [
        "setting",
        "true links",
        "incidents",
        "recall",
        "AP unscored",
        "AP by score",
        "high: precision",
        "high: recall",
    ]
    return _table(
        heading,
        (
            [
                f"**{setting.name}**" if setting.is_default else setting.name,
                str(setting.true_links),
                str(setting.unscored.proposed),
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
