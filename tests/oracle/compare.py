"""How the product's results differ from the oracle's verdict, one sentence per difference."""

from __future__ import annotations

import math
from typing import Any

from tests.oracle.join import Verdict
from tests.oracle.records import Value


def differences(verdict: Verdict, produced: dict[str, Value]) -> list[str]:
    """How the produced incidents (the last revision of each) differ from the verdict."""
    sentences = []
    for name in sorted({*verdict.incidents, *produced}):
        expected, actual = verdict.incidents.get(name), produced.get(name)
        if expected is None and actual is not None:
            if actual["status"] == "open" or actual["sightings"] or actual["set_aside"]:
                sentences.append(f"Incident {name} was produced ({actual['status']}) and should not be.")
        elif actual is None:
            sentences.append(f"Incident {name} is missing.")
        else:
            sentences += [f"Incident {name}: {text}" for text in _unlike("", expected, actual)]
    return sentences


def _unlike(path: str, expected: Any, actual: Any) -> list[str]:
    if isinstance(expected, dict) and isinstance(actual, dict):
        absent = object()
        pairs = [(f"{path}.{name}".lstrip("."), expected[name], actual.get(name, absent)) for name in expected]
        return [f"{at} is absent." if b is absent else text for at, a, b in pairs for text in _unlike(at, a, b)]
    if isinstance(expected, list) and isinstance(actual, list):
        names = [[(v.get("read_id") or v.get("action_id")) for v in values] for values in (expected, actual)]
        if names[0] != names[1]:
            return [f"{path} lists {names[1]}, should list {names[0]}."]
        pairs_of_items = enumerate(zip(expected, actual, strict=True))
        return [text for n, (a, b) in pairs_of_items for text in _unlike(f"{path}[{n}]", a, b)]
    numbers = isinstance(expected, float) and isinstance(actual, int | float)
    if numbers and path.endswith("required_speed_mps") and math.isclose(expected, actual, rel_tol=1e-9, abs_tol=1e-9):
        return []
    same = expected == actual and isinstance(expected, bool) == isinstance(actual, bool)
    return [] if same else [f"{path} is {actual!r}, should be {expected!r}."]


def outcome_differences(verdict: Verdict, produced: dict[str, dict[str, int]]) -> list[str]:
    """Which counts of outcomes, by topic, are not what the contract allows."""
    sentences = []
    for topic, choices in verdict.possible.items():
        counted = {name: n for name, n in produced.get(topic, {}).items() if n}
        for name in sorted({*counted, *(name for names in choices for name in names)}):
            low, high = verdict.bounds(topic, name)
            if not low <= counted.get(name, 0) <= high:
                sentences.append(f"{topic}: {counted.get(name, 0)} records ended as {name}, should be {low} to {high}.")
        if sum(counted.values()) != sum(choices.values()):
            sentences.append(f"{topic}: outcomes add up to {sum(counted.values())} of {sum(choices.values())} records.")
    return sentences
