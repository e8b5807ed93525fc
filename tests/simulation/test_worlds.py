"""The small worlds: reproducible from their seeds, independent of order, and full of hard cases."""

from __future__ import annotations

import json
import random
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from tests.oracle.compare import differences
from tests.oracle.join import Verdict, judge
from tests.oracle.records import TOPICS, Value
from tests.worlds.small_world import World, world, write_archive

SEEDS = range(300)


@cache
def judged(seed: int) -> tuple[World, Verdict]:
    made = world(seed)
    return made, judge(made.archive, made.site, made.join)


def features(verdict: Verdict) -> Counter[str]:
    """How often each feature worth testing occurs in a world."""
    counts = Counter(f"dead {reason}" for _, _, reason in verdict.dead)
    for topic, outcomes in verdict.outcomes.items():
        counts.update({f"{topic} {name}": n for name, n in outcomes.items()})
    for topic, choices in verdict.possible.items():
        counts[f"{topic} may be forgotten"] += sum(n for names, n in choices.items() if len(names) > 1)
    for incident in verdict.incidents.values():
        counts.update(features_of(incident))
    return counts


def features_of(incident: Value) -> list[str]:
    sightings, aside = incident["sightings"], incident["set_aside"]
    present = {
        "set aside": bool(aside),
        "some of each": bool(sightings and aside),
        "left out": incident["left_out_from_ms"] is not None,
        "review": bool(incident["review"]),
        "full review": len(incident["review"]) == 50,
        "lookalike": any(sighting["match"] == "lookalike" for sighting in sightings),
        "speed undefined": any(sighting["required_speed_mps"] is None for sighting in aside),
    }
    always = [incident["status"], f"zone {incident['zone_id']}", f"vehicle {incident['vehicle']['status']}"]
    return [
        *always,
        f"shot {incident['shot']['status']}",
        *(name for name, is_present in present.items() if is_present),
    ]


# How often each feature must occur, at least, in all worlds together.
EXPECTED = {
    **dict.fromkeys(("open", "zone city", "zone north", "zone south", "lookalike"), 60),
    **dict.fromkeys(("retracted", "set aside", "review"), 40),
    **dict.fromkeys(("some of each", "vehicle cancelled", "vehicle recovered"), 12),
    **dict.fromkeys(("left out", "shot dismissed"), 8),
    **dict.fromkeys(("full review", "speed undefined"), 2),
    **{f"dead {reason}": 40 for reason in ("not_json", "schema", "plate", "placeholder", "unknown_ramp")},
    **{f"dead {reason}": 100 for reason in ("future", "late")},
    **{f"{topic} {outcome}": 100 for topic in TOPICS for outcome in ("used", "duplicate", "conflict", "dead")},
    **{f"{topic} superseded": 60 for topic in TOPICS[:2]},
    **{f"{topic} may be forgotten": 20 for topic in TOPICS},
}


def test_every_hard_feature_occurs_often_enough_in_the_worlds() -> None:
    counts = sum((features(judged(seed)[1]) for seed in SEEDS), Counter[str]())
    assert {name: counts[name] for name, least in EXPECTED.items() if counts[name] < least} == {}


@pytest.mark.parametrize(
    ("setting", "step"),
    [
        *((name, 1) for name in ("before_ms", "after_ms", "hit_ttl_ms", "unknown_theft_lookback_ms")),
        *((name, 1) for name in ("read_retention_ms", "incident_retention_ms", "max_future_skew_ms")),
        *((name, 1) for name in ("max_distance_m", "reach_slack_m", "max_lookalikes")),
        ("min_confidence", 0.0001),
    ],
)
def test_a_setting_wrong_by_the_smallest_step_changes_some_incident(setting: str, step: float) -> None:
    def attached(verdict: Verdict) -> list[tuple[str, str, list[str], int]]:
        return [
            (name, what, [sighting["read_id"] for sighting in incident[what]], len(incident["review"]))
            for name, incident in sorted(verdict.incidents.items())
            for what in ("sightings", "set_aside")
        ]

    for change in (step, -step):
        changed = 0
        for seed in SEEDS:
            made, right = judged(seed)
            wrong = judge(made.archive, made.site, made.join | {setting: made.join[setting] + change})
            changed += attached(wrong) != attached(right)
            if changed == 2:
                break
        assert changed == 2, f"{setting} {change:+}"


def test_a_world_is_a_function_of_its_seed() -> None:
    assert all(world(seed) == world(seed) for seed in range(20))
    assert world(1) != world(2)


def test_lines_are_in_the_order_of_their_stamps() -> None:
    for seed in range(50):
        for lines in world(seed).archive.values():
            stamps = [line["timestamp_ms"] for line in lines if "timestamp_ms" in line]
            assert stamps == sorted(stamps)


def test_the_order_of_the_lines_changes_no_incident() -> None:
    for seed in range(100):
        made, right = judged(seed)
        rng = random.Random(seed)
        shuffled = {topic: rng.sample(lines, len(lines)) for topic, lines in made.archive.items()}
        other = judge(shuffled, made.site, made.join)
        assert other.incidents == right.incidents
        assert differences(right, other.incidents) == []
        assert sorted(reason for _, _, reason in other.dead) == sorted(reason for _, _, reason in right.dead)


def test_a_written_archive_reads_back_as_it_was(tmp_path: Path) -> None:
    for seed in range(20):
        made, folder = world(seed), tmp_path / str(seed)
        write_archive(made, folder)
        for topic, lines in made.archive.items():
            text = (folder / f"{topic}.jsonl").read_text(encoding="utf-8")
            assert [json.loads(line) for line in text.split("\n")[:-1]] == lines
        assert json.loads((folder / "site.geojson").read_text(encoding="utf-8")) == made.site
        assert tomllib.loads((folder / "config.toml").read_text(encoding="utf-8")) == {"join": made.join}
