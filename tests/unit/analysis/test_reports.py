"""Reports on the counters: sources, tables, charts and clusters."""

from __future__ import annotations

import json
import re
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from streams.analysis.chart import draw_chart
from streams.analysis.scan import ScanPlan, clusters
from streams.analysis.sources import LocatedShot, SourceTallies, count_tallies, read_tallies
from streams.analysis.table import PERIOD_TITLES, alarm_lines, change_text, ratio_text, tables
from streams.core.counters.ears import C2Alarm, c2_alarms
from streams.core.counters.engine import CounterEngine
from streams.core.counters.events import Period, Periods, Tally
from streams.core.counters.rules import CounterRules
from streams.core.errors import RampwatchError
from streams.core.rules import JoinRules
from streams.core.site import Site, Zone
from streams.replay.archive import write_archive
from streams.replay.run import replay
from streams.resources.sites import load_site
from tests.drivers.command import rampwatch
from tests.paths import SHARED

ACTIVATIONS = SHARED / "data" / "kansas-city" / "activations.csv"
HARTFORD, KANSAS_CITY = load_site("hartford"), load_site("kansas-city")
DAY = 86_400_000
NOON = 1_780_675_200_000  # 2026-06-05 12:00 in New York


def square(zone_id: str, west: float) -> Zone:
    corners = ((west, 41.7), (west + 0.05, 41.7), (west + 0.05, 41.8), (west, 41.8), (west, 41.7))
    return Zone(zone_id, zone_id.title(), ((corners,),))


SITE = Site("example", "America/New_York", {}, (square("west", -72.70), square("east", -72.65)), title="Example")


@pytest.fixture(scope="module")
def kansas_city() -> SourceTallies:
    if not ACTIVATIONS.exists():
        pytest.skip(f"the activations are not beside the checkout: {ACTIVATIONS}")
    return read_tallies(ACTIVATIONS, KANSAS_CITY, JoinRules(), 12)


# --- texts


def period(count: int, then: int | None, **more: Any) -> Period:
    percent = 100 * (count - then) / then if then else None
    difference = None if then is None else count - then
    numbers = dict.fromkeys(("rate_ratio", "rate_ratio_low", "rate_ratio_high", "p_value")) | more
    return Period(0, 1, count, then, 28.0, 28.0, difference, percent, **numbers)


@pytest.mark.parametrize(
    ("compared", "text"),
    [
        (period(180, 117), "+63, +54 %"),
        (period(117, 180), "-63, -35 %"),
        (period(5, 5), "±0, ±0 %"),
        (period(4, 8), "-4"),
        (period(40, 4), "+36"),
        (period(5, 0), "5 new"),
        (period(0, 0), "none"),
        (period(5, None), "not counted then"),
    ],
)
def test_a_change_has_a_plain_text(compared, text):
    assert change_text(compared) == text


def test_the_articles_figures_are_printed():
    compared = period(180, 117, rate_ratio=1.53846, rate_ratio_low=1.21226, rate_ratio_high=1.95866)
    assert (change_text(compared), ratio_text(compared)) == ("+63, +54 %", "1.54 (1.21 to 1.96)")


def test_an_interval_of_small_counts_is_not_printed():
    numbers = {"rate_ratio": 1.0, "rate_ratio_low": 0.01, "rate_ratio_high": 78.5}
    assert ratio_text(period(1, 1, **numbers)) == ratio_text(period(40, 4, **numbers)) == "too few to compare"
    assert ratio_text(period(5, 5, **numbers)) == "1.00 (0.01 to 78.50)"
    assert ratio_text(period(5, 0)) == ""


# --- five years of Kansas City


def test_five_years_of_real_activations_replay_in_seconds_and_raise_the_expected_alarms(kansas_city, tmp_path):
    rows = [
        ("shot-spotter-alerts", place["occurred_at_ms"], place["alert_id"], json.dumps(place).encode())
        for place in real_alerts()
    ]
    write_archive(tmp_path / "archive", rows, {}, KANSAS_CITY)
    began_s = time.monotonic()
    ended = rampwatch("replay", str(tmp_path / "archive"), "--site", "kansas-city", "--out", str(tmp_path / "out"))
    took_s = time.monotonic() - began_s
    assert ended.returncode == 0, ended.stderr
    counters = lines(tmp_path / "out" / "spike-counters.jsonl")
    assert len(counters) == 3 * (len(KANSAS_CITY.zones) + 1)
    alerts = [line["value"] for line in lines(tmp_path / "out" / "spike-alerts.jsonl")]
    assert 15 <= len(alerts) <= 40
    assert Counter(alert["status"] for alert in alerts) == {"ended": len(alerts)}
    # the rise of 2020, citywide and in Oak Park, but no New Year's Eve, however extreme
    assert {"city", "oak-park-northwest"} <= {a["zone_id"] for a in alerts if a["first_crossing"][:7] == "2020-06"}
    assert [a for a in alerts if a["first_crossing"][5:] in ("12-31", "01-01")] == []
    assert len(lines(tmp_path / "out" / "ears-c2.jsonl")) > 5 * len(alerts)
    assert len(lines(tmp_path / "out" / "tallies.jsonl")) == len(rows) == 9_649
    assert took_s < 5 * slowness()


def slowness() -> float:
    """How much slower this machine is now than an idle one: other jobs share it."""
    began_s = time.monotonic()
    sum(n * n for n in range(3_000_000))
    return max(1.0, (time.monotonic() - began_s) / 0.25)


def real_alerts() -> list[dict[str, Any]]:
    from streams.importers.kansas_city import load_activations

    return load_activations(ACTIVATIONS).alerts


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_bytes().splitlines()]


def test_the_cost_of_a_tally_does_not_grow_with_the_history(kansas_city):
    def seconds_a_tally(tallies: list[Tally]) -> float:
        engine = CounterEngine(KANSAS_CITY, CounterRules())
        for tally in tallies:
            engine.apply(tally)
        engine.advance(tallies[-1].at_ms + 1)
        more = [late(tallies[-1], n) for n in range(3_000)]
        began_s = time.process_time()
        for tally in more:
            engine.apply(tally)
        return (time.process_time() - began_s) / len(more)

    def late(tally: Tally, number: int) -> Tally:
        return Tally("shots", f"late-{number}", 0, tally.zone_id, tally.at_ms - number, "unreviewed", True)

    tallies = kansas_city.tallies
    short, long = (min(seconds_a_tally(tallies[-many:]) for _ in range(5)) for many in (1_000, len(tallies)))
    assert long < 4 * short  # ten times the history


def test_the_alarm_of_a_zone_is_explained_in_a_sentence(kansas_city):
    alerts = count_tallies(kansas_city, KANSAS_CITY, CounterRules()).alerts()
    sentences = [alert.sentence for alert in alerts if alert.zone_id == "ivanhoe-northeast"]
    assert len(sentences) == 1
    assert sentences[0].startswith("Ivanhoe Northeast: ")
    assert " before; as large by chance " in sentences[0]


def test_an_isolated_entry_before_the_five_years_changes_no_alarm(kansas_city):
    rules = CounterRules(alarms_since=date(2000, 1, 1))
    isolated = Tally("shots", "typo", 0, "city", 1_165_000_000_000, "unreviewed", True)  # of 2006
    with_isolated = structs.replace(kansas_city, tallies=[*kansas_city.tallies, isolated])
    without, with_it = (count_tallies(one, KANSAS_CITY, rules).alerts() for one in (kansas_city, with_isolated))
    assert len(without) == 25
    assert with_it == without


# --- where tallies come from


def archive_of(folder: Path, shots: list[tuple[int, float, float]], site: Site = SITE) -> Path:
    rows = []
    for n, (at_ms, lat, lon) in enumerate(shots):
        value = {"alert_id": f"S{n}", "kind": "single_gunshot", "occurred_at_ms": at_ms, "lat": lat, "lon": lon}
        rows.append(("shot-spotter-alerts", at_ms, f"S{n}", json.dumps(value).encode()))
    write_archive(folder, rows, {}, site)
    return folder


def test_inputs_and_the_outcomes_of_their_replay_give_the_same_counters(tmp_path):
    from streams.replay.archive import read_archive

    archive = archive_of(tmp_path / "archive", [(NOON - n * DAY, 41.75, -72.68 + 0.05 * (n % 3)) for n in range(90)])
    replay(read_archive(archive, 12), SITE, JoinRules(), tmp_path / "out", 12, lambda _: None)
    engines = [
        count_tallies(read_tallies(s, SITE, JoinRules(), 12), SITE, CounterRules()) for s in (archive, tmp_path / "out")
    ]
    assert engines[0].counters() == engines[1].counters()
    assert engines[0].event_count == 90


def test_the_outcomes_of_a_replay_are_reported_as_of_the_time_of_its_counters(tmp_path):
    archive = archive_of(tmp_path / "archive", [(NOON - n * DAY, 41.75, -72.68) for n in range(90)], HARTFORD)
    for options in ((), ("--counters-as-of", "2026-05-20"), ("--counters-as-of", "2026-06-20")):
        assert rampwatch("replay", str(archive), "--out", str(tmp_path / "out"), *options).returncode == 0
        replayed = [line["value"] for line in lines(tmp_path / "out" / "spike-counters.jsonl")]
        reported = json.loads(rampwatch("counters", str(tmp_path / "out"), "--json").stdout)
        assert reported["counters"] == replayed
        assert reported["as_of_ms"] == replayed[0]["as_of_ms"]
    as_of = json.loads(rampwatch("counters", str(tmp_path / "out"), "--json", "--as-of", "2026-05-30").stdout)
    assert as_of["as_of_ms"] == NOON - 6 * DAY + DAY // 2


@pytest.mark.parametrize("name", ["tallies", "shot-spotter-alerts"])
def test_a_source_without_events_is_an_error(tmp_path, name):
    (tmp_path / f"{name}.jsonl").write_text("")
    with pytest.raises(RampwatchError, match="has no"):
        read_tallies(tmp_path, SITE, JoinRules(), 12)


def test_an_invalid_counter_is_named_with_its_line(tmp_path):
    tally = (
        b'{"kind":"shots","event_id":"a","revision":0,"zone_id":"city","at_ms":1,"status":"unreviewed","counts":true}'
    )
    (tmp_path / "tallies.jsonl").write_bytes(b'{"value":' + tally + b"}\n")
    (tmp_path / "spike-counters.jsonl").write_text('{"value":{"as_of_ms":"noon"}}\n')
    with pytest.raises(RampwatchError, match="line 1 is not a counter"):
        read_tallies(tmp_path, SITE, JoinRules(), 12)


def test_an_invalid_tally_is_named_with_its_line(tmp_path):
    (tmp_path / "tallies.jsonl").write_text('{"value":{"kind":"shots"}}\n')
    with pytest.raises(RampwatchError, match="line 1 is not a tally"):
        read_tallies(tmp_path, SITE, JoinRules(), 12)


# --- what is printed and drawn


def rising() -> CounterEngine:
    engine = CounterEngine(SITE, CounterRules())
    for day in range(200):
        for n in range(1 + 3 * (day > 185)):
            zone = ("west", "east")[day % 2] if day <= 185 else "west"
            at_ms = NOON + (day - 199) * DAY + n
            engine.apply(Tally("shots", f"{day}-{n}", 0, zone, at_ms, "unreviewed", True))
    engine.advance(NOON + DAY)
    return engine


def table_lines(engine: CounterEngine, c2: list[C2Alarm], most: int | None = None) -> list[str]:
    (table,) = tables(engine.counters(), SITE, c2, most)
    return table.plain.splitlines()


def test_a_table_has_a_title_for_every_period():
    assert PERIOD_TITLES.keys() == set(Periods.__struct_fields__), "complete PERIOD_TITLES in streams/analysis/table.py"


def zones_in(shown: list[str]) -> list[str]:
    return [line for line in shown[2:] if not line.startswith((" ", "C2: "))]


def test_a_table_has_the_city_first_then_zones_with_an_alarm_up_to_the_limit():
    shown = table_lines(rising(), [])
    assert zones_in(shown) == ["Example: everything, including outside all zones", "West", "East"]
    assert zones_in(table_lines(rising(), [], most=1)) == zones_in(shown)[:1]
    assert max(map(len, shown)) <= 80


def test_an_active_alarm_is_shown_in_the_row_of_its_zone_with_its_reason():
    shown = table_lines(rising(), [])
    why = " ".join(line.strip() for line in shown[shown.index("West") + 1 : shown.index("East")])
    assert re.match(r"▲ ALARM since 2026-0\d-\d\d: \d+ shots in \d+ days, \d+ before; as large by chance ", why)


def test_a_row_shows_reviews_and_last_year_if_it_was_counted():
    engine = CounterEngine(SITE, CounterRules(shots_since=date(2025, 5, 1)))
    for n, status in enumerate(("unreviewed", "confirmed", "confirmed", "dismissed")):
        engine.apply(Tally("shots", f"now-{n}", 0, "west", NOON - n * DAY, status, status != "dismissed"))
        engine.apply(Tally("shots", f"then-{n}", 0, "west", NOON - (365 + n) * DAY, "confirmed", True))
    engine.advance(NOON + 1)
    shown = table_lines(engine, [])
    assert "24 h: 1, 7 d: 3; 28 d: 1 unreviewed, 2 confirmed, 1 dismissed" in shown[-1]
    (last_year,) = [line for line in shown[shown.index("West") :] if "28 days, same last year" in line]
    assert last_year.split()[5:] == ["3", "4", "-1", "too", "few", "to", "compare"]
    since = CounterRules(shots_since=date(2026, 1, 1))
    young = CounterEngine(SITE, since)
    young.apply(Tally("shots", "a", 0, "west", NOON, "unreviewed", True))
    young.advance(NOON + 1)
    assert not any("28 days, same last year" in line for line in table_lines(young, []))


def test_a_table_with_c2_explains_it_below():
    engine = rising()
    note = "C2: days of the last 28 more than 3 deviations above their baseline (EARS C2)"
    shown = table_lines(engine, c2_alarms(engine))
    assert any(re.search(r"; C2: \d+$", line) for line in shown)
    assert shown[-1] == note
    assert note not in table_lines(engine, [])


def test_active_alarms_come_first_then_the_ten_most_recently_ended():
    alert = rising().alerts()[0]
    ended = [structs.replace(alert, status="ended", first_crossing=f"2026-01-{day:02}") for day in range(1, 13)]
    shown = [
        line for line in alarm_lines([*ended, structs.replace(alert, status="raised")]) if not line.startswith("    ")
    ]
    assert shown[0] == "Alarms up: 1"
    assert shown[1].startswith(f"  ▲ since {alert.first_crossing}  ")
    assert shown[2] == "Alarms ended: 12, the last 10 (--json: all)"
    assert [line.split()[0] for line in shown[3:]] == [f"2026-01-{day:02}" for day in range(12, 2, -1)]


def panels_of(engine: CounterEngine, panels: int) -> list[ElementTree.Element]:
    drawn = ElementTree.fromstring(draw_chart(engine, SITE, CounterRules(), "shots", c2_alarms(engine), panels))
    return [element for element in drawn if element.tag.endswith("}g")]


def texts(panel: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in panel.iter() if element.tag.endswith("}text")]


def test_a_panel_has_labelled_lines_for_the_count_the_expected_count_and_the_alarm():
    for panel in panels_of(rising(), 3):
        kinds = Counter(element.tag.rpartition("}")[2] for element in panel.iter())
        assert kinds["polyline"] == 3
        assert [len([t for t in texts(panel) if t.startswith(name)]) for name in ("now", "expected", "alarm at")] == [
            1
        ] * 3
        assert "Apr 2026" in texts(panel)


def test_a_zone_with_an_active_alarm_always_has_a_panel():
    engine = rising()
    for n in range(2_000):
        engine.apply(Tally("shots", f"busy-{n}", 0, "east", NOON - (n % 190 + 9) * DAY, "unreviewed", True))
    assert [c.zone_id for c in engine.counters() if c.kind == "shots" and c.alarm] == ["west"]
    assert [texts(panel)[0] for panel in panels_of(engine, 1)] == ["Example", "West"]
    shown = panels_of(engine, 3)
    assert [texts(panel)[0] for panel in shown] == ["Example", "West", "East"]
    assert [any(text.startswith("▲ ALARM UP since") for text in texts(panel)) for panel in shown] == [
        False,
        True,
        False,
    ]


def test_an_extreme_night_is_marked_and_does_not_set_the_scale():
    engine = rising()
    for n in range(300):
        engine.apply(Tally("shots", f"extreme-{n}", 0, "east", NOON - 60 * DAY, "unreviewed", True))
    (east,) = [panel for panel in panels_of(engine, 3) if texts(panel)[0] == "East"]
    counts = [int(text) for text in texts(east) if text.isdecimal()]
    assert counts.count(301) == 1  # its mark; the day already had one other shot
    assert max(count for count in counts if count != 301) < 150


def test_a_chart_without_enough_days_states_that_there_is_nothing_to_draw():
    engine = CounterEngine(SITE, CounterRules())
    assert "nothing to draw" in draw_chart(engine, SITE, CounterRules(), "shots", [], 3)


def test_ears_c2_lists_the_days_of_its_alarms():
    engine = rising()
    found = c2_alarms(engine)
    assert found
    assert {alarm.kind for alarm in found} == {"shots"}
    assert min(alarm.day for alarm in found) >= date.fromordinal(date(2026, 6, 5).toordinal() - 14).isoformat()
    assert all(alarm.statistic > 3 for alarm in found)


def test_the_command_prints_tables_or_json_and_writes_a_chart(tmp_path):
    archive = archive_of(tmp_path / "archive", [(NOON - n * DAY, 41.763, -72.68) for n in range(90)], HARTFORD)
    shown = rampwatch("counters", str(archive), "--picture", str(tmp_path / "p.svg"))
    assert shown.returncode == 0, shown.stderr
    since = "Shots: counted since 2026-03-08, no comparison with earlier days"
    assert shown.stdout.startswith(f"as of Fri 2026-06-05 12:00:00\n{since}\nShots  ")
    assert (tmp_path / "p.svg").read_text().startswith("<svg ")
    as_json = json.loads(rampwatch("counters", str(archive), "--json", "--as-of", "2026-06-04").stdout)
    assert as_json.keys() == {"as_of_ms", "counted_since", "rejected", "counters", "alerts", "ears_c2"}
    assert as_json["counted_since"] == {
        "shots": "2026-03-08",
        "stolen_vehicle_hits": None,
        "linked_incidents": None,
    }
    city = next(c for c in as_json["counters"] if (c["kind"], c["zone_id"]) == ("shots", "city"))
    assert city["periods"]["last_28d_vs_prior_28d"]["count"] == 28


# --- clusters


def scattered(seed: int, many: int = 300) -> list[LocatedShot]:
    generator = np.random.default_rng(seed)
    spots = zip(generator.uniform(0, 100, many), generator.random(many), generator.random(many), strict=True)
    return [LocatedShot(NOON - round(age * DAY), 41.7 + lat * 0.1, -72.7 + lon * 0.1) for age, lat, lon in spots]


QUICK = ScanPlan(days=101, permutations=99, cluster_days=14)


def test_a_cluster_across_a_zone_border_is_found_with_its_location_days_and_zones():
    border = [LocatedShot(NOON - n * DAY // 3, 41.75 + n * 1e-4, -72.65 + (-1) ** n * 0.001) for n in range(15)]
    first, *others = clusters([*scattered(1), *border], SITE, NOON + 1, QUICK, lambda *_: None)
    assert first.p_value == 0.01
    assert first.zone_ids == ["east", "west"]
    assert abs(first.lat - 41.75) < 0.01
    assert abs(first.lon + 72.65) < 0.01
    assert 4 <= first.days <= 7
    assert first.count >= 14 > 3 * first.expected
    assert all(other.log_likelihood_ratio <= first.log_likelihood_ratio for other in others)


def test_p_values_are_calibrated_when_there_are_no_clusters():
    p_values = []
    for seed in range(20):
        found = clusters(scattered(seed, 120), SITE, NOON + 1, QUICK, lambda *_: None)
        p_values.append(found[0].p_value)
    assert sum(p <= 0.05 for p in p_values) <= 4
    assert 0.25 < float(np.mean(p_values)) < 0.75


def brute_force(places: list[LocatedShot], plan: ScanPlan) -> float:
    """The greatest log-likelihood ratio, by trying every cylinder."""
    from math import log

    from streams.core.geo import distance_m

    ages = [(NOON + 12 * DAY // 24 - 1 - place.at_ms) // DAY for place in places]
    greatest, total = 0.0, len(places)
    for centre in places:
        away = [distance_m(centre.lat, centre.lon, place.lat, place.lon) for place in places]
        for radius in sorted({m for m in away if m <= plan.radius_m}):
            inside = [age for age, m in zip(ages, away, strict=True) if m <= radius]
            if len(inside) > total / 2:
                continue
            for days in range(1, plan.cluster_days + 1):
                n, expected = sum(age < days for age in inside), len(inside) * sum(a < days for a in ages) / total
                if n > expected:
                    ratio = n * log(n / expected)
                    if n < total:
                        ratio += (total - n) * log((total - n) / (total - expected))
                    greatest = max(greatest, ratio)
    return greatest


@pytest.mark.parametrize("seed", range(5))
def test_the_strongest_cylinder_matches_a_brute_force_search(seed):
    places = scattered(seed, 40)
    first = clusters(places, SITE, NOON + 12 * DAY // 24, QUICK, lambda *_: None)[0]
    assert first.log_likelihood_ratio == pytest.approx(brute_force(places, QUICK), abs=0.001)


def test_too_few_shots_are_an_error():
    with pytest.raises(RampwatchError, match="too few to scan"):
        clusters(scattered(1, 1), SITE, NOON + 1, QUICK, lambda *_: None)
