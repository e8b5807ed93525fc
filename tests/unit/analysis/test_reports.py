"""Reports on the counters: what is read, printed and drawn, clusters that are found, and how often alarms are false."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from streams.analysis.chart import picture
from streams.analysis.scan import ScanPlan, clusters
from streams.analysis.sources import Counted, Place, counted, folded
from streams.analysis.table import alarms, change, ratio, tables
from streams.core.counters.ears import C2Alarm, c2_alarms
from streams.core.counters.engine import CounterEngine
from streams.core.counters.events import Period, Tally
from streams.core.counters.rules import CounterRules
from streams.core.errors import RampwatchError
from streams.core.rules import JoinRules
from streams.core.site import Site, Zone
from streams.replay.archive import write_archive
from streams.replay.run import replay
from streams.resources.sites import load_site
from tests.paths import SHARED

ACTIVATIONS = SHARED / "data" / "kansas-city" / "activations.csv"
KANSAS_CITY = load_site("kansas-city")
DAY = 86_400_000
NOON = 1_780_675_200_000  # 2026-06-05 12:00 in New York


def square(zone_id: str, west: float) -> Zone:
    corners = ((west, 41.7), (west + 0.05, 41.7), (west + 0.05, 41.8), (west, 41.8), (west, 41.7))
    return Zone(zone_id, zone_id.title(), ((corners,),))


SITE = Site("example", "America/New_York", {}, (square("west", -72.70), square("east", -72.65)), title="Example")


@pytest.fixture(scope="module")
def kansas_city() -> Counted:
    if not ACTIVATIONS.exists():
        pytest.skip(f"the activations are not beside the checkout: {ACTIVATIONS}")
    return counted(ACTIVATIONS, KANSAS_CITY, JoinRules(), 12)


def rampwatch(*arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "streams.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


# --- in words


def period(count: int, then: int | None, **more: Any) -> Period:
    percent = 100 * (count - then) / then if then else None
    difference = None if then is None else count - then
    numbers = dict.fromkeys(("rate_ratio", "rate_ratio_low", "rate_ratio_high", "p_value")) | more
    return Period(0, 1, count, then, 28.0, 28.0, difference, percent, **numbers)


@pytest.mark.parametrize(
    ("told", "words"),
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
def test_a_change_is_said_as_people_say_it(told, words):
    assert change(told) == words


def test_the_articles_figures_are_printed():
    told = period(180, 117, rate_ratio=1.53846, rate_ratio_low=1.21226, rate_ratio_high=1.95866)
    assert (change(told), ratio(told)) == ("+63, +54 %", "1.54 (1.21 to 1.96)")


def test_an_interval_that_says_nothing_is_not_printed():
    numbers = {"rate_ratio": 1.0, "rate_ratio_low": 0.01, "rate_ratio_high": 78.5}
    assert ratio(period(1, 1, **numbers)) == ratio(period(40, 4, **numbers)) == "too few to compare"
    assert ratio(period(5, 5, **numbers)) == "1.00 (0.01 to 78.50)"
    assert ratio(period(5, 0)) == ""


# --- five years of Kansas City


def test_five_years_of_real_activations_are_replayed_in_seconds_with_their_alarms(kansas_city, tmp_path):
    rows = [
        ("shot-spotter-alerts", place["occurred_at_ms"], place["alert_id"], json.dumps(place).encode())
        for place in real_alerts()
    ]
    write_archive(tmp_path / "archive", rows, {})
    began_s = time.monotonic()
    made = rampwatch("replay", str(tmp_path / "archive"), "--site", "kansas-city", "--out", str(tmp_path / "out"))
    took_s = time.monotonic() - began_s
    assert made.returncode == 0, made.stderr
    counters = lines(tmp_path / "out" / "spike-counters.jsonl")
    assert len(counters) == 3 * (len(KANSAS_CITY.zones) + 1)
    alerts = [line["value"] for line in lines(tmp_path / "out" / "spike-alerts.jsonl")]
    assert 15 <= len(alerts) <= 40
    assert Counter(alert["status"] for alert in alerts) == {"ended": len(alerts)}
    # the rise of 2020, over the city and in Oak Park; and no night of 31 December, however wild
    assert {"city", "oak-park-northwest"} <= {a["zone_id"] for a in alerts if a["first_crossing"][:7] == "2020-06"}
    assert [a for a in alerts if a["first_crossing"][5:] in ("12-31", "01-01")] == []
    assert len(lines(tmp_path / "out" / "ears-c2.jsonl")) > 5 * len(alerts)
    assert len(lines(tmp_path / "out" / "tallies.jsonl")) == len(rows) == 9_649
    assert took_s < 5 * slowness()


def slowness() -> float:
    """How much slower this machine is just now than a quiet one: tests share it with others."""
    began_s = time.monotonic()
    sum(n * n for n in range(3_000_000))
    return max(1.0, (time.monotonic() - began_s) / 0.25)


def real_alerts() -> list[dict[str, Any]]:
    from streams.importers.kansas_city import load_activations

    return load_activations(ACTIVATIONS).alerts


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_bytes().splitlines()]


def test_a_tally_costs_the_same_whatever_the_history(kansas_city):
    def seconds_a_tally(tallies: list[Tally]) -> float:
        fold = CounterEngine(KANSAS_CITY, CounterRules())
        for tally in tallies:
            fold.feed(tally)
        fold.advance(tallies[-1].at_ms + 1)
        more = [late(tallies[-1], n) for n in range(3_000)]
        began_s = time.process_time()
        for tally in more:
            fold.feed(tally)
        return (time.process_time() - began_s) / len(more)

    def late(tally: Tally, number: int) -> Tally:
        return Tally("shots", f"late-{number}", 0, tally.zone_id, tally.at_ms - number, "unreviewed", True)

    tallies = kansas_city.tallies
    short, long = (min(seconds_a_tally(tallies[-many:]) for _ in range(5)) for many in (1_000, len(tallies)))
    assert long < 4 * short  # ten times the history


def test_the_rise_of_a_zone_has_its_sentence(kansas_city):
    alerts = folded(kansas_city, KANSAS_CITY, CounterRules()).alerts()
    sentences = [alert.sentence for alert in alerts if alert.zone_id == "ivanhoe-northeast"]
    assert len(sentences) == 1
    assert sentences[0].startswith("Ivanhoe Northeast: ")
    assert " before; as large by chance " in sentences[0]


def test_one_old_entry_before_the_five_years_leaves_their_alarms_as_they_are(kansas_city):
    rules = CounterRules(alarms_since=date(2000, 1, 1))
    stray = Tally("shots", "typo", 0, "city", 1_165_000_000_000, "unreviewed", True)  # of 2006
    with_stray = structs.replace(kansas_city, tallies=[*kansas_city.tallies, stray])
    found, told = (folded(one, KANSAS_CITY, rules).alerts() for one in (kansas_city, with_stray))
    assert len(found) == 25
    assert told == found


# --- where tallies come from


def archive_of(folder: Path, shots: list[tuple[int, float, float]]) -> Path:
    rows = []
    for n, (at_ms, lat, lon) in enumerate(shots):
        value = {"alert_id": f"S{n}", "kind": "single_gunshot", "occurred_at_ms": at_ms, "lat": lat, "lon": lon}
        rows.append(("shot-spotter-alerts", at_ms, f"S{n}", json.dumps(value).encode()))
    write_archive(folder, rows, {})
    return folder


def test_inputs_and_the_outcomes_of_their_replay_are_counted_alike(tmp_path):
    from streams.replay.archive import read_archive

    archive = archive_of(tmp_path / "archive", [(NOON - n * DAY, 41.75, -72.68 + 0.05 * (n % 3)) for n in range(90)])
    replay(read_archive(archive, 12), SITE, JoinRules(), tmp_path / "out", 12, lambda _: None)
    folds = [folded(counted(s, SITE, JoinRules(), 12), SITE, CounterRules()) for s in (archive, tmp_path / "out")]
    assert folds[0].counters() == folds[1].counters()
    assert folds[0].things == 90


def test_the_outcomes_of_a_replay_are_reported_as_of_the_time_that_it_was_told(tmp_path):
    archive = archive_of(tmp_path / "archive", [(NOON - n * DAY, 41.75, -72.68) for n in range(90)])
    for told in ((), ("--counters-as-of", "2026-05-20"), ("--counters-as-of", "2026-06-20")):
        assert rampwatch("replay", str(archive), "--out", str(tmp_path / "out"), *told).returncode == 0
        replayed = [line["value"] for line in lines(tmp_path / "out" / "spike-counters.jsonl")]
        reported = json.loads(rampwatch("counters", str(tmp_path / "out"), "--json").stdout)
        assert reported["counters"] == replayed
        assert reported["as_of_ms"] == replayed[0]["as_of_ms"]
    as_of = json.loads(rampwatch("counters", str(tmp_path / "out"), "--json", "--as-of", "2026-05-30").stdout)
    assert as_of["as_of_ms"] == NOON - 6 * DAY + DAY // 2


@pytest.mark.parametrize("name", ["tallies", "shot-spotter-alerts"])
def test_a_source_without_anything_is_told(tmp_path, name):
    (tmp_path / f"{name}.jsonl").write_text("")
    with pytest.raises(RampwatchError, match="holds no"):
        counted(tmp_path, SITE, JoinRules(), 12)


def test_a_spoilt_counter_is_named_with_its_line(tmp_path):
    tally = (
        b'{"kind":"shots","event_id":"a","revision":0,"zone_id":"city","at_ms":1,"status":"unreviewed","counts":true}'
    )
    (tmp_path / "tallies.jsonl").write_bytes(b'{"value":' + tally + b"}\n")
    (tmp_path / "spike-counters.jsonl").write_text('{"value":{"as_of_ms":"noon"}}\n')
    with pytest.raises(RampwatchError, match="line 1 holds no counter"):
        counted(tmp_path, SITE, JoinRules(), 12)


def test_a_spoilt_tally_is_named_with_its_line(tmp_path):
    (tmp_path / "tallies.jsonl").write_text('{"value":{"kind":"shots"}}\n')
    with pytest.raises(RampwatchError, match="line 1 holds no tally"):
        counted(tmp_path, SITE, JoinRules(), 12)


# --- what is printed and drawn


def rising() -> CounterEngine:
    fold = CounterEngine(SITE, CounterRules())
    for day in range(200):
        for n in range(1 + 3 * (day > 185)):
            zone = ("west", "east")[day % 2] if day <= 185 else "west"
            at_ms = NOON + (day - 199) * DAY + n
            fold.feed(Tally("shots", f"{day}-{n}", 0, zone, at_ms, "unreviewed", True))
    fold.advance(NOON + DAY)
    return fold


def table_lines(fold: CounterEngine, c2: list[C2Alarm], most: int | None = None) -> list[str]:
    (table,) = tables(fold.counters(), SITE, c2, most)
    return table.plain.splitlines()


def zones_in(told: list[str]) -> list[str]:
    return [line for line in told[2:] if not line.startswith((" ", "C2: "))]


def test_the_table_has_the_city_first_then_what_alarms_and_as_many_zones_as_wanted():
    told = table_lines(rising(), [])
    assert zones_in(told) == ["Example: everything, also what lies in no zone", "West", "East"]
    assert zones_in(table_lines(rising(), [], most=1)) == zones_in(told)[:1]
    assert max(map(len, told)) <= 80


def test_an_alarm_that_is_up_stands_in_its_zones_row_with_its_reason():
    told = table_lines(rising(), [])
    why = " ".join(line.strip() for line in told[told.index("West") + 1 : told.index("East")])
    assert re.match(r"▲ ALARM since 2026-0\d-\d\d: \d+ shots in \d+ days, \d+ before; as large by chance ", why)


def test_a_row_tells_reviews_and_last_year_where_it_was_counted():
    fold = CounterEngine(SITE, CounterRules())
    for n, status in enumerate(("unreviewed", "confirmed", "confirmed", "dismissed")):
        fold.feed(Tally("shots", f"now-{n}", 0, "west", NOON - n * DAY, status, status != "dismissed"))
        fold.feed(Tally("shots", f"then-{n}", 0, "west", NOON - (365 + n) * DAY, "confirmed", True))
    fold.advance(NOON + 1)
    told = table_lines(fold, [])
    assert "24 h: 1, 7 d: 3; 28 d: 1 unreviewed, 2 confirmed, 1 dismissed" in told[-1]
    (last_year,) = [line for line in told[told.index("West") :] if "28 days, same last year" in line]
    assert last_year.split()[5:] == ["3", "4", "-1", "too", "few", "to", "compare"]
    since = CounterRules(shots_since=date(2026, 1, 1))
    young = CounterEngine(SITE, since)
    young.feed(Tally("shots", "a", 0, "west", NOON, "unreviewed", True))
    young.advance(NOON + 1)
    assert not any("28 days, same last year" in line for line in table_lines(young, []))


def test_what_c2_is_stands_below_a_table_that_names_it():
    fold = rising()
    note = "C2: days of the last 28 above 3 deviations of the 28 days before (EARS C2)"
    told = table_lines(fold, c2_alarms(fold))
    assert any(re.search(r"; C2: \d+$", line) for line in told)
    assert told[-1] == note
    assert note not in table_lines(fold, [])


def test_alarms_that_are_up_come_first_then_the_last_ten_that_ended_the_most_recent_first():
    alert = rising().alerts()[0]
    ended = [structs.replace(alert, status="ended", first_crossing=f"2026-01-{day:02}") for day in range(1, 13)]
    told = [line for line in alarms([*ended, structs.replace(alert, status="raised")]) if not line.startswith("    ")]
    assert told[0] == "Alarms up: 1"
    assert told[1].startswith(f"  ▲ since {alert.first_crossing}  ")
    assert told[2] == "Alarms ended: 12, the last 10 (--json: all)"
    assert [line.split()[0] for line in told[3:]] == [f"2026-01-{day:02}" for day in range(12, 2, -1)]


def panels_of(fold: CounterEngine, panels: int) -> list[ElementTree.Element]:
    drawn = ElementTree.fromstring(picture(fold, SITE, CounterRules(), "shots", c2_alarms(fold), panels))
    return [element for element in drawn if element.tag.endswith("}g")]


def texts(panel: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in panel.iter() if element.tag.endswith("}text")]


def test_a_panel_has_the_curve_what_was_expected_and_the_alarm_line_by_name():
    for panel in panels_of(rising(), 3):
        kinds = Counter(element.tag.rpartition("}")[2] for element in panel.iter())
        assert kinds["polyline"] == 3
        assert [len([t for t in texts(panel) if t.startswith(name)]) for name in ("now", "expected", "alarm at")] == [
            1
        ] * 3
        assert "Apr 2026" in texts(panel)


def test_a_zone_whose_alarm_is_up_has_a_panel_however_few_are_wanted_and_whatever_is_busier():
    fold = rising()
    for n in range(2_000):
        fold.feed(Tally("shots", f"busy-{n}", 0, "east", NOON - (n % 190 + 9) * DAY, "unreviewed", True))
    assert [c.zone_id for c in fold.counters() if c.kind == "shots" and c.alarm] == ["west"]
    assert [texts(panel)[0] for panel in panels_of(fold, 1)] == ["Example", "West"]
    shown = panels_of(fold, 3)
    assert [texts(panel)[0] for panel in shown] == ["Example", "West", "East"]
    assert [any(text.startswith("▲ ALARM UP since") for text in texts(panel)) for panel in shown] == [
        False,
        True,
        False,
    ]


def test_a_wild_night_is_marked_and_does_not_rule_the_axis():
    fold = rising()
    for n in range(300):
        fold.feed(Tally("shots", f"wild-{n}", 0, "east", NOON - 60 * DAY, "unreviewed", True))
    (east,) = [panel for panel in panels_of(fold, 3) if texts(panel)[0] == "East"]
    counts = [int(text) for text in texts(east) if text.isdecimal()]
    assert counts.count(301) == 1  # its mark: there is another shot of that day
    assert max(count for count in counts if count != 301) < 150


def test_without_enough_days_the_picture_says_so():
    fold = CounterEngine(SITE, CounterRules())
    assert "nothing to draw" in picture(fold, SITE, CounterRules(), "shots", [], 3)


def test_ears_c2_tells_the_days_it_alarms_on():
    fold = rising()
    found = c2_alarms(fold)
    assert found
    assert {alarm.kind for alarm in found} == {"shots"}
    assert min(alarm.day for alarm in found) >= date.fromordinal(date(2026, 6, 5).toordinal() - 14).isoformat()
    assert all(alarm.statistic > 3 for alarm in found)


def test_the_command_prints_tables_alerts_and_json_and_draws(tmp_path):
    archive = archive_of(tmp_path / "archive", [(NOON - n * DAY, 41.763, -72.68) for n in range(90)])
    told = rampwatch("counters", str(archive), "--picture", str(tmp_path / "p.svg"))
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("as of Fri 2026-06-05 12:00:00\nShots")
    assert (tmp_path / "p.svg").read_text().startswith("<svg ")
    as_json = json.loads(rampwatch("counters", str(archive), "--json", "--as-of", "2026-06-04").stdout)
    assert as_json.keys() == {"as_of_ms", "counters", "alerts", "ears_c2"}
    city = next(c for c in as_json["counters"] if (c["kind"], c["zone_id"]) == ("shots", "city"))
    assert city["periods"]["last_28d_vs_prior_28d"]["count"] == 28


# --- clusters


def scattered(seed: int, many: int = 300) -> list[Place]:
    generator = np.random.default_rng(seed)
    spots = zip(generator.uniform(0, 100, many), generator.random(many), generator.random(many), strict=True)
    return [Place(NOON - round(age * DAY), 41.7 + lat * 0.1, -72.7 + lon * 0.1) for age, lat, lon in spots]


QUICK = ScanPlan(days=101, permutations=99, cluster_days=14)


def test_a_cluster_across_a_zones_border_is_found_with_its_place_days_and_zones():
    border = [Place(NOON - n * DAY // 3, 41.75 + n * 1e-4, -72.65 + (-1) ** n * 0.001) for n in range(15)]
    first, *others = clusters([*scattered(1), *border], SITE, NOON + 1, QUICK, lambda _: None)
    assert first.p_value == 0.01
    assert first.zone_ids == ["east", "west"]
    assert abs(first.lat - 41.75) < 0.01
    assert abs(first.lon + 72.65) < 0.01
    assert 4 <= first.days <= 7
    assert first.count >= 14 > 3 * first.expected
    assert all(other.log_likelihood_ratio <= first.log_likelihood_ratio for other in others)


def test_where_nothing_clusters_the_p_value_is_small_as_seldom_as_it_says():
    p_values = []
    for seed in range(20):
        found = clusters(scattered(seed, 120), SITE, NOON + 1, QUICK, lambda _: None)
        p_values.append(found[0].p_value)
    assert sum(p <= 0.05 for p in p_values) <= 4
    assert 0.25 < float(np.mean(p_values)) < 0.75


def brute_force(places: list[Place], plan: ScanPlan) -> float:
    """The heaviest cylinder, by trying each without any cleverness."""
    from math import log

    from streams.core.geo import distance_m

    ages = [(NOON + 12 * DAY // 24 - 1 - place.at_ms) // DAY for place in places]
    heaviest, total = 0.0, len(places)
    for centre in places:
        away = [distance_m(centre.lat, centre.lon, place.lat, place.lon) for place in places]
        for radius in sorted({m for m in away if m <= plan.radius_m}):
            inside = [age for age, m in zip(ages, away, strict=True) if m <= radius]
            if len(inside) > total / 2:
                continue
            for days in range(1, plan.cluster_days + 1):
                n, expected = sum(age < days for age in inside), len(inside) * sum(a < days for a in ages) / total
                if n > expected:
                    weight = n * log(n / expected)
                    if n < total:
                        weight += (total - n) * log((total - n) / (total - expected))
                    heaviest = max(heaviest, weight)
    return heaviest


@pytest.mark.parametrize("seed", range(5))
def test_the_heaviest_cylinder_is_that_of_brute_force(seed):
    places = scattered(seed, 40)
    first = clusters(places, SITE, NOON + 12 * DAY // 24, QUICK, lambda _: None)[0]
    assert first.log_likelihood_ratio == pytest.approx(brute_force(places, QUICK), abs=0.001)


def test_too_few_shots_are_told():
    with pytest.raises(RampwatchError, match="too few to scan"):
        clusters(scattered(1, 1), SITE, NOON + 1, QUICK, lambda _: None)
