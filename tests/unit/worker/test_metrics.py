"""The catalogue of metrics: complete from the first scrape, bounded, plate-free, and well named."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from itertools import product
from typing import get_args

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from streams.core.counters.engine import CounterEngine
from streams.core.counters.events import KINDS, PeriodName, Recent, Tally
from streams.core.counters.rules import CounterRules
from streams.core.effects import Effects
from streams.core.events import DeadReason, InvalidRecord, Outcome, Record
from streams.core.site import CITY, Site
from streams.core.topics import INPUTS, JOINED, READS
from streams.resources.sites import load_site
from streams.worker import metrics
from tests.drivers.promtool import promtool_complaints

DAY_MS = 86_400_000
NOW_MS = 1_780_000_000_000
HARTFORD = load_site("hartford")
SPIKE = "rampwatch_spike_"

Series = dict[tuple[tuple[str, str], ...], float]


@pytest.fixture(autouse=True)
def no_counters() -> Iterator[None]:
    metrics.clear_counters()
    yield
    metrics.clear_counters()


def page() -> str:
    return generate_latest(metrics.REGISTRY).decode()


def samples(name: str, **labels: str) -> Series:
    """The series of a metric with these labels, by their other labels."""
    found: Series = {}
    for family in text_string_to_metric_families(page()):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                found[tuple(sorted(sample.labels.items() - labels.items()))] = sample.value
    return found


def label_sets(name: str) -> set[tuple[str, ...]]:
    return {tuple(value for _, value in labels) for labels in samples(name)}


def test_every_counter_is_there_at_the_first_scrape() -> None:
    """In the order of their names, as the labels of a sample are sorted here."""
    assert label_sets("rampwatch_records_total") == set(product(get_args(Outcome), INPUTS))
    assert label_sets("rampwatch_dead_letters_total") == set(product(get_args(DeadReason), INPUTS))
    assert label_sets("rampwatch_rebuilt_records_total") == {(topic,) for topic in JOINED}
    assert label_sets("rampwatch_incidents_published_total") == set(
        product(("open", "retracted"), ("low", "medium", "high"))
    )


FIRST_PAGE = """
from prometheus_client import generate_latest
from streams.worker import metrics
print(generate_latest(metrics.REGISTRY).decode())
"""


def test_what_is_not_known_yet_is_not_a_number() -> None:
    """In a fresh process: other tests may have set these gauges."""
    ended = subprocess.run([sys.executable, "-c", FIRST_PAGE], capture_output=True, text=True, timeout=60, check=True)
    shown = ended.stdout
    for topic in JOINED:
        assert f'rampwatch_lag_records{{topic="{topic}"}} NaN' in shown
    assert "rampwatch_watermark_timestamp_seconds NaN" in shown
    assert "_created" not in shown
    assert [line for line in shown.splitlines() if line.startswith(SPIKE)] == []


def test_the_first_dead_letter_is_an_increase() -> None:
    dead = Effects()
    dead.reject(Record(READS, 0, 0, NOW_MS, b"{"), InvalidRecord("not_json", "", "is no JSON"))
    before = samples("rampwatch_dead_letters_total", topic=READS, reason="not_json")[()]
    series = label_sets("rampwatch_dead_letters_total")
    metrics.count_outcomes(dead)
    assert samples("rampwatch_dead_letters_total", topic=READS, reason="not_json")[()] == before + 1
    assert label_sets("rampwatch_dead_letters_total") == series


# ---------------------------------------------------------------------- spike counters


def tally(n: int, kind: str, zone_id: str, days_ago: int) -> Tally:
    return Tally(kind, f"E{n}", 0, zone_id, NOW_MS - days_ago * DAY_MS - 1, "unreviewed", True)  # type: ignore[arg-type]


def counted(site: Site, tallies: list[Tally], rules: CounterRules | None = None) -> CounterEngine:
    engine = CounterEngine(site, rules or CounterRules())
    for each in tallies:
        engine.apply(each)
    engine.advance(NOW_MS)
    return engine


def everywhere(site: Site) -> list[Tally]:
    """Events of every kind in every zone and in none, of this and of last year."""
    places = [*(zone.zone_id for zone in site.zones), CITY, "a zone that the site has no longer"]
    return [
        tally(n, kind, zone_id, days_ago)
        for n, (kind, (at, zone_id), days_ago) in enumerate(
            product(KINDS, enumerate(places), (0, 0, 3, 30, 40, 365, 380, 400))
        )
        if (n + at) % 3
    ]


@pytest.mark.parametrize("site", [HARTFORD, Site("bare", "UTC", {})], ids=["hartford", "no zones"])
def test_a_sum_over_zones_is_the_citys_total(site: Site) -> None:
    engine = counted(site, everywhere(site))
    metrics.set_counters(engine.changes(include_unchanged=True).counters)
    compared = 0
    for suffix, kind in product(("events", "comparison_events", "recent_events"), KINDS):
        by_zone = samples(SPIKE + suffix, kind=kind)
        city = samples(f"{SPIKE}city_{suffix}", kind=kind)
        sums = dict.fromkeys(city, 0.0)
        for labels, value in by_zone.items():
            sums[tuple(label for label in labels if label[0] != "zone")] += value
        assert sums == city
        compared += sum(value > 0 for value in city.values())
    assert compared > 15
    assert ("zone", CITY) not in {label for labels in samples(SPIKE + "events") for label in labels}


def test_events_in_no_zone_follow_when_only_some_counters_change() -> None:
    engine = counted(HARTFORD, everywhere(HARTFORD))
    metrics.set_counters(engine.changes(include_unchanged=True).counters)
    labels = {"kind": "shots", "period": "last_28d_vs_prior_28d"}
    before = samples(SPIKE + "events", **labels)
    engine.apply(tally(10_001, "shots", CITY, 1))
    engine.apply(tally(10_002, "shots", HARTFORD.zones[0].zone_id, 1))
    changed = engine.changes().counters
    assert {counter.zone_id for counter in changed} == {CITY, HARTFORD.zones[0].zone_id}
    metrics.set_counters(changed)
    after = samples(SPIKE + "events", **labels)
    assert {zone for zone in after if after[zone] != before[zone]} == {
        (("zone", metrics.IN_NO_ZONE),),
        (("zone", HARTFORD.zones[0].zone_id),),
    }


def test_what_cannot_be_compared_is_absent() -> None:
    engine = counted(HARTFORD, everywhere(HARTFORD), CounterRules(shots_since=date(2026, 5, 1)))
    metrics.set_counters(engine.changes(include_unchanged=True).counters)
    periods = {
        value for name in ("", "city_") for (_, value), *_ in samples(f"{SPIKE}{name}comparison_events", kind="shots")
    }
    assert "ytd_vs_last_year" not in periods
    metrics.clear_counters()
    assert [line for line in page().splitlines() if line.startswith(SPIKE)] == []


# ---------------------------------------------------------------------- labels and names


def test_every_label_has_a_closed_set_of_values_none_of_which_comes_from_a_record() -> None:
    site = HARTFORD
    metrics.set_counters(counted(site, everywhere(site)).changes(include_unchanged=True).counters)
    allowed = {
        "topic": set(INPUTS),
        "outcome": set(get_args(Outcome)),
        "reason": set(get_args(DeadReason)),
        "status": {"open", "retracted"},
        "strength": {"low", "medium", "high"},
        "kind": set(KINDS),
        "zone": {metrics.IN_NO_ZONE, *(zone.zone_id for zone in site.zones)},
        "period": set(get_args(PeriodName)),
        "window": set(Recent.__struct_fields__),
        "bound": {"", "low", "high"},
    }
    seen: set[str] = set()
    for family in text_string_to_metric_families(page()):
        assert family.name.startswith("rampwatch_")
        assert family.documentation.endswith(".")
        for sample in family.samples:
            seen |= sample.labels.keys()
            assert all(value in allowed[label] for label, value in sample.labels.items()), sample
    assert seen == allowed.keys()


def test_promtool_has_no_complaint() -> None:
    metrics.set_counters(counted(HARTFORD, everywhere(HARTFORD)).changes(include_unchanged=True).counters)
    assert promtool_complaints(page()) == ""
    assert '"_count" suffix' in promtool_complaints("# HELP a_count B.\n# TYPE a_count gauge\na_count 1\n")
