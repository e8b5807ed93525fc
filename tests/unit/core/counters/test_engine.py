"""The counters' fold: what is counted where and when, what is corrected, which alarms stand, what is published."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest

from streams.core.counters.alarms import Episode, data_begin
from streams.core.counters.alerts import AlertBook, Told
from streams.core.counters.engine import CounterEngine
from streams.core.counters.events import (
    KINDS,
    SpikeAlert,
    SpikeCounter,
    Tally,
    counter_key,
    tally_key,
    tally_of_hit,
    tally_of_incident,
    tally_of_shot,
)
from streams.core.counters.rules import CounterRules
from streams.core.counters.thresholds import Threshold
from streams.core.events import LinkedIncident, ShotAlert, VehicleHit
from streams.core.site import Site, Zone
from tests.paths import ROOT

HOUR, DAY = 3_600_000, 86_400_000


def square(zone_id: str, west: float) -> Zone:
    corners = ((west, 0.0), (west + 1, 0.0), (west + 1, 1.0), (west, 1.0), (west, 0.0))
    return Zone(zone_id, zone_id.title(), ((corners,),))


SITE = Site("example", "America/New_York", {}, (square("west", 0.0), square("east", 1.0)), title="Example")
EVERY_KEY = {f"{kind}/{zone}" for kind in KINDS for zone in ("west", "east", "city")}


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def shot(event_id: str, when: str | int, zone: str = "west", revision: int = 0, status: Any = "unreviewed") -> Tally:
    at_ms = at(when) if isinstance(when, str) else when
    return Tally("shots", event_id, revision, zone, at_ms, status, status != "dismissed")


def fold_of(*tallies: Tally, as_of: str | int, rules: CounterRules | None = None) -> CounterEngine:
    fold = CounterEngine(SITE, rules or CounterRules())
    for tally in tallies:
        fold.feed(tally)
    fold.advance(at(as_of) if isinstance(as_of, str) else as_of)
    return fold


def of(fold: CounterEngine, key: str) -> SpikeCounter:
    return next(counter for counter in fold.counters() if counter_key(counter) == key)


def last_28(fold: CounterEngine, key: str = "shots/west") -> int:
    return of(fold, key).periods.last_28d_vs_prior_28d.count


NOON = "2026-06-05T16:00:00"


# --- what is counted


def test_a_shot_counts_in_its_zone_and_the_city_and_one_in_no_zone_in_the_city_alone():
    fold = fold_of(shot("a", "2026-06-05T12:00:00"), shot("b", "2026-06-05T12:00:00", "city"), as_of=NOON)
    assert {counter_key(c): c.periods.ytd_vs_last_year.count for c in fold.counters()} == dict.fromkeys(
        EVERY_KEY, 0
    ) | {"shots/west": 1, "shots/city": 2}


def test_a_zone_that_the_site_does_not_have_counts_in_the_city():
    fold = fold_of(shot("a", "2026-06-05T12:00:00", "north"), as_of=NOON)
    assert last_28(fold, "shots/city") == 1


def test_the_highest_revision_counts_and_then_the_greatest_canonical_json():
    one, other = shot("a", NOON, "east"), shot("a", NOON, "west")
    for tallies in ([one, other], [other, one]):
        fold = fold_of(*tallies, as_of="2026-06-05T17:00:00")
        assert (last_28(fold, "shots/east"), last_28(fold, "shots/west")) == (0, 1)
        fold.feed(shot("a", NOON, "east", revision=1))
        assert (last_28(fold, "shots/east"), last_28(fold, "shots/west")) == (1, 0)


def test_a_dismissed_alert_leaves_its_day_and_is_told_apart():
    fold = fold_of(shot("a", "2026-05-20T12:00:00"), shot("b", "2026-05-20T12:00:00"), as_of=NOON)
    assert last_28(fold) == 2
    fold.feed(shot("a", "2026-05-20T12:00:00", revision=1, status="dismissed"))
    fold.feed(shot("b", "2026-05-20T12:00:00", revision=1, status="confirmed"))
    counter = of(fold, "shots/west")
    assert counter.periods.last_28d_vs_prior_28d.count == 1
    assert msgspec.to_builtins(counter.by_status) == {"unreviewed": 0, "confirmed": 1, "dismissed": 1}
    fold.feed(shot("a", "2026-05-20T12:00:00", revision=2))
    assert last_28(fold) == 2


def test_a_corrected_time_moves_to_the_day_it_belongs_to():
    fold = fold_of(shot("a", "2026-06-05T12:00:00"), as_of=NOON)
    fold.feed(shot("a", "2026-05-01T12:00:00", revision=1))
    period = of(fold, "shots/west").periods.last_28d_vs_prior_28d
    assert (period.count, period.comparison_count) == (0, 1)
    assert of(fold, "shots/west").recent.d7 == 0


def test_what_lies_after_now_waits_for_its_time():
    fold = fold_of(shot("a", NOON), as_of=NOON)
    assert last_28(fold) == 0
    fold.advance(fold.as_of_ms + 1)
    assert last_28(fold) == 1


def test_what_waits_and_is_dismissed_or_moved_meanwhile_does_not_count():
    fold = fold_of(shot("a", NOON), shot("b", NOON), as_of=at(NOON) - HOUR)
    fold.feed(shot("a", NOON, revision=1, status="dismissed"))
    fold.feed(shot("b", at(NOON) + HOUR, revision=1))
    fold.advance(at(NOON) + 1)
    assert last_28(fold) == 0
    fold.advance(at(NOON) + HOUR + 1)
    assert last_28(fold) == 1


def test_time_does_not_go_back():
    fold = fold_of(shot("a", NOON), as_of=at(NOON) + 1)
    fold.advance(at(NOON) - DAY)
    assert (fold.as_of_ms, last_28(fold)) == (at(NOON) + 1, 1)


def test_recent_counts_slide_while_nothing_happens():
    fold = fold_of(shot("a", NOON), as_of=at(NOON) + HOUR)
    seen = []
    for more in (0, 1, 23 * HOUR - 1, 1, 6 * DAY - 1, 1):
        fold.advance(fold.as_of_ms + more)
        recent = of(fold, "shots/west").recent
        seen.append((recent.h1, recent.h24, recent.d7))
    assert seen == [(1, 1, 1), (0, 1, 1), (0, 1, 1), (0, 0, 1), (0, 0, 1), (0, 0, 0)]


def test_times_that_no_calendar_holds_harm_nothing():
    fold = fold_of(shot("a", -(2**53)), shot("b", 2**53), as_of=2**53)
    assert last_28(fold) == 0


# --- how it compares


def many(prefix: str, count: int, when: str) -> list[Tally]:
    return [shot(f"{prefix}{n}", when) for n in range(count)]


def test_the_articles_figures_at_the_end_of_a_day():
    tallies = [*many("then", 117, "2025-03-01T12:00:00"), *many("now", 180, "2026-03-01T12:00:00")]
    period = of(fold_of(*tallies, as_of="2026-06-06T04:00:00"), "shots/city").periods.ytd_vs_last_year
    assert (period.count, period.comparison_count, period.difference) == (180, 117, 63)
    assert f"{period.percent:.0f}" == "54"
    ratios = (period.rate_ratio, period.rate_ratio_low, period.rate_ratio_high)
    assert [f"{ratio:.2f}" for ratio in ratios] == ["1.54", "1.21", "1.96"]
    assert (period.exposure_days, period.comparison_days) == (156.0, 156.0)
    assert period.to_ms == at("2026-06-06T04:00:00")
    assert period.from_ms == at("2026-01-01T05:00:00")


def test_today_counts_as_far_as_it_has_come_also_when_it_has_23_hours():
    spring = of(fold_of(as_of="2026-03-08T16:00:00"), "shots/city").periods.last_28d_vs_prior_28d
    assert spring.exposure_days == 27 + 11 / 23
    autumn = of(fold_of(as_of="2026-11-01T17:00:00"), "shots/city").periods.last_28d_vs_prior_28d
    assert autumn.exposure_days == 27 + 13 / 25


def test_nothing_is_five_times_nothing():
    period = of(fold_of(*many("now", 5, "2026-06-05T12:00:00"), as_of=NOON), "shots/west").periods.ytd_vs_last_year
    assert (period.difference, period.percent, period.rate_ratio) == (5, None, None)
    assert period.p_value == pytest.approx((1 / 2) ** 5 / 2, rel=0.02)
    empty = of(fold_of(as_of=NOON), "shots/west").periods.ytd_vs_last_year
    assert (empty.count, empty.comparison_count, empty.p_value) == (0, 0, None)


def test_what_was_not_counted_then_is_not_compared():
    rules = CounterRules(shots_since=date(2026, 4, 11))
    counter = of(fold_of(*many("now", 5, "2026-06-05T12:00:00"), as_of=NOON, rules=rules), "shots/west")
    assert counter.periods.last_28d_vs_prior_28d.comparison_count == 0
    later = CounterRules(shots_since=date(2026, 4, 12))
    counter = of(fold_of(*many("now", 5, "2026-06-05T12:00:00"), as_of=NOON, rules=later), "shots/west")
    for name in counter.periods.__struct_fields__:
        period = getattr(counter.periods, name)
        told = (period.comparison_count, period.difference, period.percent, period.rate_ratio, period.p_value)
        assert told == (None,) * 5
        assert period.count == 5


# --- tallies


def test_a_tally_says_what_happened_where_and_holds_no_plate():
    event = ShotAlert("S", "single_gunshot", 5, 0.5, 1.5, revision=2, status="dismissed")
    assert tally_of_shot(event, SITE) == Tally("shots", "S", 2, "east", 5, "dismissed", False)
    hit = VehicleHit("H", "SIMB01", 7)
    assert tally_of_hit(hit, SITE) == Tally("stolen_vehicle_hits", "H", 0, "city", 7, "active", True)
    placed = VehicleHit("H", "SIMB01", 7, status="cancelled", lat=0.5, lon=0.5)
    assert tally_of_hit(placed, SITE) == Tally("stolen_vehicle_hits", "H", 0, "west", 7, "cancelled", False)
    assert b"SIMB01" not in msgspec.json.encode(tally_of_hit(hit, SITE)) + tally_key(tally_of_hit(hit, SITE)).encode()


def test_an_incident_is_tallied_at_its_shot():
    example = ROOT / "schemas/examples/linked-incidents/good/open.json"
    open_incident = msgspec.json.decode(example.read_bytes(), type=LinkedIncident)
    tally = tally_of_incident(open_incident)
    assert (tally.kind, tally.event_id, tally.status, tally.counts) == (
        "linked_incidents",
        open_incident.incident_id,
        "open",
        True,
    )
    assert (tally.at_ms, tally.zone_id) == (open_incident.shot.occurred_at_ms, open_incident.zone_id)
    retracted = msgspec.structs.replace(open_incident, status="retracted")
    assert tally_of_incident(retracted).counts is False


def test_the_key_of_a_tally_differs_with_its_content():
    keys = {tally_key(shot("a", NOON)), tally_key(shot("a", NOON, "east")), tally_key(shot("a", NOON, revision=1))}
    assert len(keys) == 3
    assert tally_key(shot("a", NOON)) == tally_key(shot("a", NOON))


# --- alarms


QUIET = [shot(f"q{day}", at("2025-06-01T16:00:00") + day * DAY, ("west", "east")[day % 2]) for day in range(0, 200, 2)]
RISE_FROM = at("2025-12-10T16:00:00")
RISE = [shot(f"r{day}-{n}", RISE_FROM + day * DAY + n, "west") for day in range(10) for n in range(3)]
DURING = RISE_FROM + 10 * DAY


def test_a_rise_raises_one_alarm_which_stays_up_for_seven_days_without_a_crossing():
    fold = fold_of(*QUIET, *RISE, as_of=DURING)
    raised = [alert for alert in fold.changes().alerts if alert.zone_id == "west"]
    assert [alert.status for alert in raised] == ["raised"]
    alert = raised[0]
    assert alert.first_crossing >= "2025-12-10"
    assert alert.count > alert.expected
    assert alert.statistic >= alert.threshold
    assert alert.sentence.startswith("West: ")
    assert of(fold, "shots/west").alarm.sentence == alert.sentence
    since = date.fromordinal(date.fromisoformat(alert.first_crossing).toordinal() + 1).isoformat()
    assert of(fold, "shots/west").alarm.since_ms == at(f"{since}T05:00:00")
    last = date.fromisoformat(alert.last_crossing).toordinal()
    ends = date.fromordinal(last + 8).isoformat()
    fold.advance(at(f"{ends}T05:00:00") - 1)
    assert of(fold, "shots/west").alarm is not None
    fold.advance(at(f"{ends}T05:00:00"))
    ended = [alert for alert in fold.changes().alerts if alert.zone_id == "west"]
    assert [(a.spike_id, a.revision, a.status) for a in ended] == [(alert.spike_id, alert.revision + 1, "ended")]
    assert of(fold, "shots/west").alarm is None


def test_an_alarm_that_no_longer_holds_is_withdrawn_and_returns_with_a_higher_revision():
    fold = fold_of(*QUIET, *RISE, as_of=DURING)
    first = {alert.zone_id: alert for alert in fold.changes().alerts}
    for tally in RISE:
        fold.feed(msgspec.structs.replace(tally, revision=1, status="dismissed", counts=False))
    withdrawn = {alert.zone_id: alert for alert in fold.changes().alerts}
    assert withdrawn["west"] == msgspec.structs.replace(first["west"], status="withdrawn", revision=2)
    assert of(fold, "shots/west").alarm is None
    for tally in RISE:
        fold.feed(msgspec.structs.replace(tally, revision=2))
    again = {alert.zone_id: alert for alert in fold.changes().alerts}
    assert again["west"] == msgspec.structs.replace(first["west"], revision=3)


def test_an_alarm_does_not_depend_on_later_days():
    early = fold_of(*QUIET, *RISE, as_of=DURING).alerts()
    late = fold_of(*QUIET, *RISE, as_of=DURING + 400 * DAY).alerts()
    assert [(a.first_crossing, a.statistic, a.threshold, a.count) for a in early] == [
        (a.first_crossing, a.statistic, a.threshold, a.count) for a in late
    ]


def test_there_is_no_alarm_before_56_days_of_data():
    begin = at("2025-06-01T16:00:00")
    burst = [shot(f"b{day}-{n}", begin + day * DAY + n) for day in range(60) for n in range(1 + 20 * (day > 40))]
    assert fold_of(*burst, as_of=begin + 56 * DAY).alerts() == []


def test_one_night_is_no_rise():
    night = [shot(f"n{n}", RISE_FROM + n) for n in range(150)]
    assert fold_of(*QUIET, *night, as_of=DURING).alerts() == []


def test_a_stray_of_an_earlier_year_changes_no_alert():
    without = fold_of(*QUIET, *RISE, *second_rise(120), as_of=DURING + 120 * DAY)
    assert len(without.alerts()) >= 2
    strays = [shot("typo", "2024-01-01T16:00:00"), shot("old", "2016-03-01T16:00:00", "east")]
    fold = fold_of(*QUIET, *RISE, *second_rise(120), *strays, as_of=DURING + 120 * DAY)
    assert fold.alerts() == without.alerts()
    counted = of(fold, "shots/west").periods.ytd_vs_last_year
    assert counted == of(without, "shots/west").periods.ytd_vs_last_year


def test_a_quiet_time_after_a_stray_raises_nothing():
    """The floor of a threshold, measured on days without anything, would be crossed again and again."""
    usual = [shot(f"u{day}-{n}", at("2025-06-01T16:00:00") + day * DAY + n) for day in range(150) for n in range(2)]
    assert fold_of(*usual, shot("typo", "2024-01-01T16:00:00"), as_of="2025-10-29T05:00:00").alerts() == []


@pytest.mark.parametrize(
    ("events", "begin"),
    [
        ({}, None),
        ({7: 1}, 7),
        ({7: 1, 64: 101}, 64),  # 56 days without any between them
        ({7: 1, 63: 101}, 7),  # 55
        ({7: 1, 64: 100}, 7),  # 1 % is no stray
        ({7: 1, 64: 1, 121: 101}, 121),
        ({7: 1, 64: 2, 121: 101}, 64),
        ({7: 1, 30: 1, 121: 201}, 121),
        ({7: 50, 64: 1_000, 200: 1_000}, 7),  # a time of trial is a beginning
        ({7: 1, 64: 500, 900: 1}, 64),
    ],
)
def test_the_data_begin_after_strays(events, begin):
    assert data_begin(events) == begin
    assert data_begin(dict(reversed(events.items()))) == begin


# --- what is published


def test_only_what_differs_is_said_again():
    fold = fold_of(*QUIET, as_of=NOON)
    assert {counter_key(counter) for counter in fold.changes().counters} == EVERY_KEY
    assert fold.changes().counters == []
    fold.advance(fold.as_of_ms + 60_000)
    assert fold.changes().counters == []
    assert {counter_key(counter) for counter in fold.changes(everything=True).counters} == EVERY_KEY
    fold.feed(shot("new", fold.as_of_ms - 1, "east"))
    assert {counter_key(counter) for counter in fold.changes().counters} == {"shots/east", "shots/city"}
    fold.advance(fold.as_of_ms + HOUR)
    assert {counter_key(counter) for counter in fold.changes().counters} == {"shots/east", "shots/city"}


def test_a_new_day_is_said_by_all():
    fold = fold_of(as_of="2026-06-06T04:00:00")
    fold.changes()
    fold.advance(fold.as_of_ms + 1)
    assert {counter_key(counter) for counter in fold.changes().counters} == EVERY_KEY


def wire(thing: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(thing), type=type(thing))


def restored(fold: CounterEngine, counters: list[SpikeCounter], alerts: list[SpikeAlert]) -> CounterEngine:
    for thing in (*counters, *alerts):
        fold.restore(wire(thing))
    return fold


def test_a_fold_that_begins_where_another_was_says_nothing_anew():
    said = fold_of(*QUIET, *RISE, as_of=DURING).changes()
    fold = restored(fold_of(*QUIET, *RISE, as_of=DURING), said.counters, said.alerts)
    again = fold.changes()
    assert (again.counters, again.alerts) == ([], [])


def test_a_fold_that_begins_later_puts_right_what_differs():
    said = fold_of(*QUIET, *RISE, as_of=DURING).changes()
    fold = restored(fold_of(*QUIET, as_of=DURING), said.counters, said.alerts)
    corrected = fold.changes()
    assert {alert.status for alert in corrected.alerts} == {"withdrawn"}
    assert {alert.spike_id for alert in corrected.alerts} == {alert.spike_id for alert in said.alerts}
    assert {counter_key(counter) for counter in corrected.counters} == {"shots/west", "shots/city"}


def second_rise(after_days: int) -> list[Tally]:
    return [msgspec.structs.replace(t, event_id="again" + t.event_id, at_ms=t.at_ms + after_days * DAY) for t in RISE]


def test_of_what_compaction_left_the_older_alarms_are_not_said_again():
    everything = [*QUIET, *RISE, *second_rise(120)]
    fold = fold_of(*everything, as_of=DURING + 120 * DAY)
    in_west = [alert for alert in fold.changes().alerts if alert.zone_id == "west"]
    assert [alert.status for alert in in_west] == ["ended", "raised"]
    newest = in_west[-1]
    again = restored(fold_of(*everything, as_of=DURING + 120 * DAY), [], [newest]).changes()
    assert [alert for alert in again.alerts if alert.zone_id == "west"] == []


def test_where_an_older_alarm_is_corrected_the_newest_is_said_last_all_the_same():
    fold = fold_of(*QUIET, *RISE, *second_rise(120), as_of=DURING + 120 * DAY)
    older, _ = [alert for alert in fold.changes().alerts if alert.zone_id == "west"]
    for tally in RISE:
        fold.feed(msgspec.structs.replace(tally, revision=1, status="dismissed", counts=False))
    said = [alert for alert in fold.changes().alerts if alert.zone_id == "west"]
    assert (said[0].spike_id, said[0].status) == (older.spike_id, "withdrawn")
    standing = [alert for alert in fold.alerts() if alert.zone_id == "west"]
    assert said[-1] == msgspec.structs.replace(standing[-1], revision=2)
    assert said[-1].status == "raised"


def test_without_any_tally_nothing_is_withdrawn():
    said = fold_of(*QUIET, *RISE, as_of=DURING).changes()
    fold = restored(fold_of(as_of=DURING), [], said.alerts)
    assert fold.changes().alerts == []


def test_asking_what_stands_is_not_saying_it():
    fold = fold_of(*QUIET, *RISE, as_of=DURING)
    fold.counters()
    standing = fold.alerts()
    assert standing
    assert fold.changes().alerts == standing


# --- an owner that takes over


LATE = [shot(f"l{day}-{n}", RISE_FROM + day * DAY + n) for day in range(-2, 1) for n in range(9)]
"""Shots that come late and move the first crossing of the rise to an earlier day."""


def last_said(alerts: list[SpikeAlert]) -> dict[str, SpikeAlert]:
    return {alert.spike_id: msgspec.structs.replace(alert, revision=0) for alert in alerts}


@pytest.mark.parametrize("when", ["before the late records", "after them"])
def test_an_alarm_that_late_records_move_is_said_by_one_that_took_over_as_by_one_that_stayed(when):
    stays = fold_of(*QUIET, *RISE, as_of=DURING)
    said = stays.changes()
    takes_over = restored(fold_of(*QUIET, *RISE, as_of=DURING), said.counters, said.alerts)
    if when == "before the late records":
        assert takes_over.changes().alerts == []
    for fold in (stays, takes_over):
        for tally in LATE:
            fold.feed(tally)
    found, expected = takes_over.changes(), stays.changes()
    assert found == expected
    in_west = [alert for alert in found.alerts if alert.zone_id == "west"]
    assert [alert.status for alert in in_west] == ["raised", "withdrawn", "raised"]
    assert in_west[0].first_crossing < in_west[1].first_crossing
    assert of(takes_over, "shots/west").alarm.sentence == in_west[2].sentence


def test_an_older_alarm_that_compaction_took_is_withdrawn_where_it_no_longer_holds():
    everything = [*QUIET, *RISE, *second_rise(120)]
    stays = fold_of(*everything, as_of=DURING + 120 * DAY)
    said = stays.changes()
    newest = {alert.zone_id: alert for alert in said.alerts}
    takes_over = restored(fold_of(*everything, as_of=DURING + 120 * DAY), said.counters, list(newest.values()))
    assert takes_over.changes().alerts == []
    for fold in (stays, takes_over):
        for tally in RISE:
            fold.feed(msgspec.structs.replace(tally, revision=1, status="dismissed", counts=False))
    found, expected = takes_over.changes().alerts, stays.changes().alerts
    assert "withdrawn" in {alert.status for alert in found}
    assert last_said(found) == last_said(expected)


def test_an_alarm_of_days_that_a_stray_made_data_is_taken_back_by_whoever_is_there():
    """The stray's year is put right: the days before the rise are too few then."""
    begin = at("2025-06-01T16:00:00")
    rising = [shot(f"b{day}-{n}", begin + day * DAY + n) for day in range(50) for n in range(1 + 5 * (day > 43))]
    stays = fold_of(shot("typo", "2024-06-01T16:00:00"), *rising, as_of=begin + 50 * DAY)
    said = stays.changes()
    assert "raised" in {alert.status for alert in said.alerts}
    right = shot("typo", "2025-06-01T16:00:00", revision=1)
    takes_over = restored(fold_of(right, *rising, as_of=begin + 50 * DAY), said.counters, said.alerts)
    stays.feed(right)
    up = {alert.spike_id for alert in said.alerts if alert.status == "raised"}
    taken_back = {a.spike_id for a in takes_over.changes().alerts if a.status == "withdrawn"}
    assert up <= taken_back <= {a.spike_id for a in stays.changes().alerts if a.status == "withdrawn"}


def told(first: int, last: int, up: bool = False) -> Told:
    """An alarm in west that crossed from day ``first`` to day ``last``."""
    threshold = Threshold(56, 5.0, 80.0, {})
    episode = Episode(0, first - 3, first, last, up, 6.0, threshold, count=9, expected=2.0)
    return Told("shots", "west", "West", FIRST_DAY, episode, before=2)


FIRST_DAY = date(2025, 1, 1).toordinal()


def taken_over(left: list[SpikeAlert], *standing: Told) -> list[tuple[str, str]]:
    """What one that takes over says first: the first crossing and the status of each."""
    book = AlertBook("shots")
    for alert in left:
        book.restore(alert)
    book.stands(list(standing), FIRST_DAY)
    return [(alert.first_crossing, alert.status) for alert in book.changes()]


def day(number: int) -> str:
    return date.fromordinal(FIRST_DAY + number).isoformat()


def test_an_alarm_that_is_up_is_said_whatever_is_left_of_the_topic():
    """Also after another whose clock was ahead."""
    left = told(300, 300, up=True).alert(4)
    raised, withdrawn = (day(200), "raised"), (day(300), "withdrawn")
    assert taken_over([left], told(100, 100), told(200, 202, up=True)) == [raised, withdrawn, raised]


def test_an_ended_alarm_is_said_if_it_cannot_have_stood_beside_the_oldest_that_is_left():
    left = told(200, 202, up=True).alert(1)
    withdrawn = (day(200), "withdrawn")
    assert taken_over([left], told(195, 201)) == [(day(195), "ended"), withdrawn, (day(195), "ended")]
    assert taken_over([left], told(190, 193)) == [(day(190), "ended"), withdrawn, (day(190), "ended")]
    # this one can: it is said again only because it is the newest now
    assert taken_over([left], told(100, 102), told(189, 192)) == [withdrawn, (day(189), "ended")]


def test_where_all_that_is_left_was_withdrawn_everything_that_stands_is_said():
    left = msgspec.structs.replace(told(200, 202).alert(2), status="withdrawn")
    assert taken_over([left], told(100, 102), told(150, 150)) == [(day(100), "ended"), (day(150), "ended")]


def test_what_is_newer_than_the_oldest_that_is_left_and_not_there_is_said():
    left = [told(100, 102).alert(2), told(200, 202).alert(2)]
    standing = [told(50, 51), told(100, 102), told(150, 150), told(200, 202)]
    assert taken_over(left, *standing) == [(day(150), "ended"), (day(200), "ended")]
