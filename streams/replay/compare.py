"""Comparison of two archives of outcomes: what an engineer looks at to see whether a replay gives the same answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from streams.core.counters.current_tallies import CurrentTallies
from streams.core.counters.events import SpikeAlert, Tally
from streams.core.events import ALERTS, COUNTERS, DEAD_LETTERS, INCIDENTS, TALLIES
from streams.replay.archive import ArchiveError, read_lines, topic_file, value_of


def differences(produced: Path, expected: Path) -> list[str]:
    """Return a sentence for each difference in content between two archives of outcomes.

    The last line of a key counts, of alerts that of a spike; revisions, headers and the stamp of an incident's vehicle
    do not, an incident that is retracted with nothing in it equals one that is absent, and so does an alert withdrawn.
    How often an incident was tallied does not count either. Tallies, counters and alerts are compared where they are
    expected: an archive from before there were any has none. Raises `ArchiveError`.
    """
    return [
        sentence
        for topic in (INCIDENTS, DEAD_LETTERS, *(t for t in (TALLIES, COUNTERS, ALERTS) if topic_file(expected, t)))
        for sentence in _differences(topic, _last_values(produced, topic), _last_values(expected, topic))
    ]


def _last_values(folder: Path, topic: str) -> dict[str, Any]:
    file = topic_file(folder, topic)
    if file is None:
        raise ArchiveError(f"{folder}: holds no {topic}.jsonl; name a folder that a replay has written")
    if topic == TALLIES:
        return _facts(file)
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
            raise ArchiveError(f"{file}: line {number} is no record with a key; write that archive anew")
        yield line.key, value_of(line)


def _decoded(value: bytes, kind: Any, file: Path) -> Any:  # noqa: ANN401 - any JSON
    try:
        return msgspec.json.decode(value, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ArchiveError(f"{file}: holds a value that does not belong there ({error}); write it anew") from None


def _facts(file: Path) -> dict[str, Any]:
    """Of each thing the tally that counts; an incident's revision is no content, and a retracted one not there."""
    facts = CurrentTallies()
    for _, value in _lines(file):
        facts.replace(_decoded(value, Tally, file))
    found: dict[str, Any] = {}
    for tally in facts:
        content = msgspec.to_builtins(tally)
        if tally.kind == "linked_incidents":
            del content["revision"]
            if not tally.counts:
                continue
        found[f"{tally.kind}/{tally.event_id}"] = content
    return found


def _alerts(file: Path) -> dict[str, Any]:
    said = [_decoded(value, SpikeAlert, file) for _, value in _lines(file)]
    last = {alert.spike_id: msgspec.to_builtins(alert) for alert in said}
    for content in last.values():
        del content["revision"]
    return {key: content for key, content in last.items() if content["status"] != "withdrawn"}


def _content(value: bytes, file: Path) -> dict[str, Any]:
    try:
        incident: dict[str, Any] = msgspec.json.decode(value, type=dict[str, Any])
        # an incident of an older or newer version is compared by what both say: only these must be there
        del incident["revision"], incident["vehicle"]["stamp_ms"]
        incident["sightings"], incident["set_aside"]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ArchiveError(f"{file}: holds a value that is no linked incident ({error}); write it anew") from None
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
