"""The plan of the topics: for how long each must be retained, and which settings need that."""

from __future__ import annotations

import pytest

from streams.core.rules import JoinRules
from streams.core.topics import ACTIONS, ALERTS, COUNTERS, DEAD_LETTERS, HITS, INCIDENTS, READS, SHOTS, TALLIES
from streams.kafka.topics import plan
from streams.settings import Settings

DAY_MS = 86_400_000
SKEW_MS = JoinRules().max_future_skew_ms


def retained(settings: Settings, topic: str) -> tuple[int | None, str]:
    (planned,) = (one for one in plan(settings) if one.topic.name == topic)
    if planned.retention is None:
        return None, planned.config["retention.ms"]
    assert planned.config["retention.ms"] == str(planned.retention.at_least_ms)
    return planned.retention.at_least_ms, planned.retention.needed_by


def test_the_default_settings_need_no_more_than_the_table_of_topics_says() -> None:
    days = {SHOTS: 1_095, HITS: 45, ACTIONS: 90, INCIDENTS: 14, TALLIES: 1_095, ALERTS: 1_460}
    found = {topic: retained(Settings(), topic) for topic in days}
    assert found == {topic: (n * DAY_MS, f"{n} days, whatever the settings") for topic, n in days.items()}
    reads = (2 * DAY_MS, "read_retention_ms + allowed_outage_ms")
    assert (retained(Settings(), READS), retained(Settings(), DEAD_LETTERS)) == (reads, reads)
    assert retained(Settings(), COUNTERS) == (None, "-1")


LONG = JoinRules(
    read_retention_ms=3 * DAY_MS,
    incident_retention_ms=100 * DAY_MS,
    shot_memory_ms=2_000 * DAY_MS,
    hit_ttl_ms=60 * DAY_MS,
)


@pytest.mark.parametrize(
    ("topic", "needed_ms", "terms"),
    [
        (READS, 3 * DAY_MS, "read_retention_ms"),
        (DEAD_LETTERS, 3 * DAY_MS, "read_retention_ms"),
        (
            HITS,
            163 * DAY_MS + SKEW_MS,
            "hit_ttl_ms + incident_retention_ms + read_retention_ms + max_future_skew_ms",
        ),
        (SHOTS, 2_000 * DAY_MS + SKEW_MS, "shot_memory_ms + max_future_skew_ms"),
        (ACTIONS, 100 * DAY_MS, "incident_retention_ms"),
        (INCIDENTS, 100 * DAY_MS, "incident_retention_ms"),
    ],
)
def test_longer_settings_need_longer_topics_and_are_named(topic: str, needed_ms: int, terms: str) -> None:
    settings = Settings(join=LONG, allowed_outage_ms=2 * DAY_MS)
    assert retained(settings, topic) == (needed_ms + 2 * DAY_MS, f"{terms} + allowed_outage_ms")
