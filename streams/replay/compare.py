"""Compares two archives of outcomes, to check that a replay gives the same results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from streams.core.counters.current_tallies import CurrentTallies
from streams.core.counters.events import SpikeAlert, Tally
from streams.core.topics import ALERTS, COUNTERS, DEAD_LETTERS, INCIDENTS, TALLIES
from streams.replay.archive import read_lines, topic_file, value_of
from streams.replay.errors import ArchiveError

Contents = dict[str, dict[str, Any]]
"""What is compared of an archive of outcomes: by topic and key, the last value."""


def differences(produced: Path, expected: Path) -> list[str]:
    """Return the differences between two archives of outcomes, as `differences_from`."""
    return differences_from(produced, read_contents(expected))


def read_contents(folder: Path) -> Contents:
    """Return what is compared of an archive of outcomes.

    Tallies, counters and alerts are left out if the archive has none, because archives of older
    versions do not. Raises `ArchiveError` if the archive cannot be read.
    """
    if not folder.is_dir():
        raise ArchiveError(f"{folder}: no such folder; name one that a replay has written")
    later = [topic for topic in (TALLIES, COUNTERS, ALERTS) if topic_file(folder, topic)]
    return {topic: _last_values(folder, topic) for topic in (INCIDENTS, DEAD_LETTERS, *later)}


def differences_from(produced: Path, expected: Contents) -> list[str]:
    """Return one line of text for each difference between two archives of outcomes.

    Only the last line of each key is compared; for alerts, the last line of each spike. These are
    not differences: revision numbers, headers, the stamp of an incident's vehicle, and how often an
    incident was tallied. An incident with no sightings, set aside or not, equals an absent one, and
    so does a withdrawn alert. Topics that were not expected are not compared. Raises `ArchiveError`
    if an archive cannot be read.
    """
    return [
        difference
        for topic, values in expected.items()
        for difference in _differences(topic, _last_values(produced, topic), values)
    ]


def _last_values(folder: Path, topic: str) -> dict[str, Any]:
    file = topic_file(folder, topic)
    if file is None:
        raise ArchiveError(f"{folder}: contains no {topic}.jsonl; name a folder that a replay has written")
    if topic == TALLIES:
        return _current_tallies(file)
    if topic == ALERTS:
        return _alerts(file)
    last = dict(_lines(file))
    if topic == INCIDENTS:
        contents = {key: _content(value, file) for key, value in last.items()}
        return {key: content for key, content in contents.items() if content["sightings"] or content["set_aside"]}
    if topic == COUNTERS:
        return {key: _decoded(value, dict[str, Any], file) for key, value in last.items()}
    return last


def _lines(file: Path) -> Iterator[tuple[str, bytes]]:
    for number, (_, line) in enumerate(read_lines(file), 1):
        if line is None or line.key is None:
            raise ArchiveError(f"{file}: line {number} is not a record with a key; write the archive again")
        yield line.key, value_of(line)


def _decoded(value: bytes, kind: Any, file: Path) -> Any:  # noqa: ANN401 - any JSON
    try:
        return msgspec.json.decode(value, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ArchiveError(f"{file}: contains an invalid value ({error}); write the archive again") from None


def _current_tallies(file: Path) -> dict[str, Any]:
    """Return the current tally of each event.

    Tallies of incidents are compared without their revisions, and only if the incident counts.
    """
    tallies = CurrentTallies()
    for _, value in _lines(file):
        tallies.replace(_decoded(value, Tally, file))
    contents: dict[str, Any] = {}
    for tally in tallies:
        content = msgspec.to_builtins(tally)
        if tally.kind == "linked_incidents":
            del content["revision"]
            if not tally.counts:
                continue
        contents[f"{tally.kind}/{tally.event_id}"] = content
    return contents


def _alerts(file: Path) -> dict[str, Any]:
    alerts = [_decoded(value, SpikeAlert, file) for _, value in _lines(file)]
    last = {alert.spike_id: msgspec.to_builtins(alert) for alert in alerts}
    for content in last.values():
        del content["revision"]
    return {key: content for key, content in last.items() if content["status"] != "withdrawn"}


def _content(value: bytes, file: Path) -> dict[str, Any]:
    try:
        incident: dict[str, Any] = msgspec.json.decode(value, type=dict[str, Any])
        # Incidents of other versions can be compared too: no other field is required.
        del incident["revision"], incident["vehicle"]["stamp_ms"]
        incident["sightings"], incident["set_aside"]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ArchiveError(
            f"{file}: contains a value that is not a linked incident ({error}); write the archive again"
        ) from None
    return incident


def _differences(topic: str, produced: dict[str, Any], expected: dict[str, Any]) -> Iterator[str]:
    for key in sorted(expected.keys() - produced.keys()):
        yield f"{topic} {key}: expected, not produced"
    for key in sorted(produced.keys() - expected.keys()):
        yield f"{topic} {key}: produced, not expected"
    for key in sorted(produced.keys() & expected.keys()):
        if produced[key] != expected[key]:
            yield f"{topic} {key}: differs{_where(produced[key], expected[key])}"


def _where(produced: Any, expected: Any) -> str:  # noqa: ANN401 - any JSON
    if not isinstance(produced, dict):
        return ""
    fields = sorted(f for f in produced.keys() | expected.keys() if produced.get(f) != expected.get(f))
    return f" in {', '.join(fields)}"
