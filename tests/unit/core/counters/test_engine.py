"""The counter engine: counts by zone and day, corrections, alarms, and what is published."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any, get_args

import msgspec
import pytest

from streams.core.counters.alarms import Episode, data_begin
from streams.core.counters.alerts import AlarmReport, AlertBook
from streams.core.counters.calendar import periods
from streams.core.counters.engine import CounterEngine
from streams.core.counters.events import (
    KINDS,
    PeriodName,
    Periods,
    SpikeAlert,
    SpikeCounter,
    Tally,
    alert_key,
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
PERIODS = Periods.__struct_fields__
EVERY_KEY = {f"{kind}/{zone}" for kind in KINDS for zone in ("west", "east", "city")}


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def shot(event_id: str, when: str | int, zone: str = "west", revision: int = 0, status: Any = "unreviewed") -> Tally:
    at_ms = at(when) if isinstance(when, str) else when
    return Tally("shots", event_id, revision, zone, at_ms, status, status != "dismissed")


def engine_of(*tallies: Tally, as_of: str | int, rules: CounterRules | None = None) -> CounterEngine:
    engine = CounterEngine(SITE, rules or CounterRules())
    for tally in tallies:
        engine.apply(tally)
    engine.advance(at(as_of) if isinstance(as_of, str) else as_of)
    return engine


def of(engine: CounterEngine, key: str) -> SpikeCounter:
    return next(counter for counter in engine.counters() if counter_key(counter) == key)


def last_28(engine: CounterEngine, key: str = "shots/west") -> int:
    return of(engine, key).periods.last_28d_vs_prior_28d.count


NOON = "2026-06-05T16:00:00"


# --- what is counted


def test_a_shot_counts_in_its_zone_if_it_has_one_and_always_in_the_city():
    engine = engine_of(shot("a", "2026-06-05T12:00:00"), shot("b", "2026-06-05T12:00:00", "city"), as_of=NOON)
    assert {counter_key(c): c.periods.ytd_vs_last_year.count for c in engine.counters()} == dict.fromkeys(
        EVERY_KEY, 0
    ) | {"shots/west": 1, "shots/city": 2}


def test_a_shot_in_an_unknown_zone_counts_in_the_city():
    engine = engine_of(shot("a", "2026-06-05T12:00:00", "north"), as_of=NOON)
    assert last_28(engine, "shots/city") == 1


def test_the_highest_revision_counts_and_ties_do_not_depend_on_the_order():
    one, other = shot("a", NOON, "east"), shot("a", NOON, "west")
    for tallies in ([one, other], [other, one]):
        engine = engine_of(*tallies, as_of="2026-06-05T17:00:00")
        assert (last_28(engine, "shots/east"), last_28(engine, "shots/west")) == (0, 1)
        engine.apply(shot("a", NOON, "east", revision=1))
        assert (last_28(engine, "shots/east"), last_28(engine, "shots/west")) == (1, 0)


def test_a_dismissed_alert_is_removed_from_its_day_and_counted_by_status():
    engine = engine_of(shot("a", "2026-05-20T12:00:00"), shot("b", "2026-05-20T12:00:00"), as_of=NOON)
    assert last_28(engine) == 2
    engine.apply(shot("a", "2026-05-20T12:00:00", revision=1, status="dismissed"))
    engine.apply(shot("b", "2026-05-20T12:00:00", revision=1, status="confirmed"))
    counter = of(engine, "shots/west")
    assert counter.periods.last_28d_vs_prior_28d.count == 1
    assert msgspec.to_builtins(counter.by_status) == {"unreviewed": 0, "confirmed": 1, "dismissed": 1}
    engine.apply(shot("a", "2026-05-20T12:00:00", revision=2))
    assert last_28(engine) == 2


def test_an_event_with_a_corrected_time_moves_to_the_right_day():
    engine = engine_of(shot("a", "2026-06-05T12:00:00"), shot("first", "2026-04-01T12:00:00"), as_of=NOON)
    engine.apply(shot("a", "2026-05-01T12:00:00", revision=1))
    period = of(engine, "shots/west").periods.last_28d_vs_prior_28d
    assert (period.count, period.comparison_count) == (0, 1)
    assert of(engine, "shots/west").recent.d7 == 0


def test_a_future_event_is_counted_once_its_time_has_passed():
    engine = engine_of(shot("a", NOON), as_of=NOON)
    assert last_28(engine) == 0
    engine.advance(engine.as_of_ms + 1)
    assert last_28(engine) == 1


def test_a_future_event_that_is_dismissed_or_moved_before_its_time_does_not_count():
    engine = engine_of(shot("a", NOON), shot("b", NOON), as_of=at(NOON) - HOUR)
    engine.apply(shot("a", NOON, revision=1, status="dismissed"))
    engine.apply(shot("b", at(NOON) + HOUR, revision=1))
    engine.advance(at(NOON) + 1)
    assert last_28(engine) == 0
    engine.advance(at(NOON) + HOUR + 1)
    assert last_28(engine) == 1


def test_time_does_not_go_back():
    engine = engine_of(shot("a", NOON), as_of=at(NOON) + 1)
    engine.advance(at(NOON) - DAY)
    assert (engine.as_of_ms, last_28(engine)) == (at(NOON) + 1, 1)


def test_recent_counts_expire_without_new_events():
    engine = engine_of(shot("a", NOON), as_of=at(NOON) + HOUR)
    seen = []
    for more in (0, 1, 23 * HOUR - 1, 1, 6 * DAY - 1, 1):
        engine.advance(engine.as_of_ms + more)
        recent = of(engine, "shots/west").recent
        seen.append((recent.h1, recent.h24, recent.d7))
    assert seen == [(1, 1, 1), (0, 1, 1), (0, 1, 1), (0, 0, 1), (0, 0, 1), (0, 0, 0)]


def test_times_outside_the_calendar_are_not_counted():
    engine = engine_of(shot("a", -(2**53)), shot("b", 2**53), as_of=2**53)
    assert last_28(engine) == 0


# --- comparisons


def many(prefix: str, count: int, when: str) -> list[Tally]:
    return [shot(f"{prefix}{n}", when) for n in range(count)]


def test_the_articles_figures_are_reproduced_at_the_end_of_a_day():
    tallies = [*many("then", 117, "2025-03-01T12:00:00"), *many("now", 180, "2026-03-01T12:00:00")]
    rules = CounterRules(shots_since=date(2025, 1, 1))
    period = of(engine_of(*tallies, as_of="2026-06-06T04:00:00", rules=rules), "shots/city").periods.ytd_vs_last_year
    assert (period.count, period.comparison_count, period.difference) == (180, 117, 63)
    assert f"{period.percent:.0f}" == "54"
    ratios = (period.rate_ratio, period.rate_ratio_low, period.rate_ratio_high)
    assert [f"{ratio:.2f}" for ratio in ratios] == ["1.54", "1.21", "1.96"]
    assert (period.exposure_days, period.comparison_days) == (156.0, 156.0)
    assert period.to_ms == at("2026-06-06T04:00:00")
    assert period.from_ms == at("2026-01-01T05:00:00")


def test_today_contributes_its_elapsed_fraction_even_on_days_of_23_and_25_hours():
    spring = of(engine_of(as_of="2026-03-08T16:00:00"), "shots/city").periods.last_28d_vs_prior_28d
    assert spring.exposure_days == 27 + 11 / 23
    autumn = of(engine_of(as_of="2026-11-01T17:00:00"), "shots/city").periods.last_28d_vs_prior_28d
    assert autumn.exposure_days == 27 + 13 / 25


def test_a_comparison_count_of_zero_gives_no_percentage_and_no_ratio():
    since = CounterRules(shots_since=date(2025, 1, 1))
    engine = engine_of(*many("now", 5, "2026-06-05T12:00:00"), as_of=NOON, rules=since)
    period = of(engine, "shots/west").periods.ytd_vs_last_year
    assert (period.difference, period.percent, period.rate_ratio) == (5, None, None)
    assert period.p_value == pytest.approx((1 / 2) ** 5 / 2, rel=0.02)
    empty = of(engine_of(as_of=NOON, rules=since), "shots/west").periods.ytd_vs_last_year
    assert (empty.count, empty.comparison_count, empty.p_value) == (0, 0, None)


def test_a_period_before_counting_began_is_not_compared():
    rules = CounterRules(shots_since=date(2026, 4, 11))
    counter = of(engine_of(*many("now", 5, "2026-06-05T12:00:00"), as_of=NOON, rules=rules), "shots/west")
    assert counter.periods.last_28d_vs_prior_28d.comparison_count == 0
    later = CounterRules(shots_since=date(2026, 4, 12))
    counter = of(engine_of(*many("now", 5, "2026-06-05T12:00:00"), as_of=NOON, rules=later), "shots/west")
    for name in counter.periods.__struct_fields__:
        period = getattr(counter.periods, name)
        compared = (period.comparison_count, period.difference, period.percent, period.rate_ratio, period.p_value)
        assert compared == (None,) * 5
        assert period.count == 5


def test_without_the_setting_a_kind_is_counted_from_the_first_day_of_its_data():
    """Data that begin yesterday are compared with nothing, and never reported as so many new."""
    yesterday = engine_of(*many("now", 64, "2026-06-04T12:00:00"), as_of=NOON)
    assert yesterday.counted_since("shots") == date(2026, 6, 4)
    assert yesterday.counted_since("linked_incidents") is None
    for name in PERIODS:
        period = getattr(of(yesterday, "shots/west").periods, name)
        assert (period.count, period.comparison_count, period.difference, period.percent) == (64, None, None, None)
        assert (period.rate_ratio, period.p_value) == (None, None)
    # the 28 days before the last 28 begin on 2026-04-11
    for first, compared in (("2026-04-12T16:00:00", None), ("2026-04-11T16:00:00", 1), ("2026-04-01T16:00:00", 0)):
        engine = engine_of(*many("now", 5, "2026-06-04T12:00:00"), shot("first", first), as_of=NOON)
        for zone in ("west", "city"):
            assert of(engine, f"shots/{zone}").periods.last_28d_vs_prior_28d.comparison_count == compared


def test_a_mistyped_year_does_not_begin_the_data():
    engine = engine_of(*many("now", 101, "2026-06-04T12:00:00"), shot("typo", "2006-06-04T12:00:00"), as_of=NOON)
    assert engine.counted_since("shots") == date(2026, 6, 4)


def test_an_earlier_event_that_arrives_late_makes_counters_comparable_and_publishes_them():
    engine = engine_of(*many("now", 5, "2026-06-04T12:00:00"), as_of=NOON)
    assert len(engine.changes().counters) == len(EVERY_KEY)
    assert engine.changes().counters == []
    engine.apply(shot("first", "2026-04-01T16:00:00", "east"))
    changed = {counter_key(c): c.periods.last_28d_vs_prior_28d.comparison_count for c in engine.changes().counters}
    assert changed == {"shots/west": 0, "shots/east": 0, "shots/city": 0}


# --- tallies


def test_a_tally_has_time_and_zone_and_no_plate():
    event = ShotAlert("S", "single_gunshot", 5, 0.5, 1.5, revision=2, status="dismissed")
    digest = tally_of_shot(event, SITE).content_digest
    assert tally_of_shot(event, SITE) == Tally("shots", "S", 2, "east", 5, "dismissed", False, digest)
    hit = VehicleHit("H", "SIMB01", 7)
    digest = tally_of_hit(hit, SITE).content_digest
    assert tally_of_hit(hit, SITE) == Tally("stolen_vehicle_hits", "H", 0, "city", 7, "active", True, digest)
    placed = VehicleHit("H", "SIMB01", 7, status="cancelled", lat=0.5, lon=0.5)
    digest = tally_of_hit(placed, SITE).content_digest
    assert tally_of_hit(placed, SITE) == Tally("stolen_vehicle_hits", "H", 0, "west", 7, "cancelled", False, digest)
    assert b"SIMB01" not in msgspec.json.encode(tally_of_hit(hit, SITE)) + tally_key(tally_of_hit(hit, SITE)).encode()


def test_the_digest_of_a_tally_does_not_reveal_the_plate():
    one, other = (tally_of_hit(VehicleHit("H", plate, 7), SITE) for plate in ("SIMB01", "SIMB02"))
    assert one == other, "a digest over the plate can be searched for the plate"


def test_an_incident_is_tallied_at_the_time_and_zone_of_its_shot():
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


def test_a_rise_raises_one_alarm_which_ends_after_seven_days_without_a_crossing():
    engine = engine_of(*QUIET, *RISE, as_of=DURING)
    raised = [alert for alert in engine.changes().alerts if alert.zone_id == "west"]
    assert [alert.status for alert in raised] == ["raised"]
    alert = raised[0]
    assert alert.first_crossing >= "2025-12-10"
    assert alert.count > alert.expected
    assert alert.statistic >= alert.threshold
    assert alert.sentence.startswith("West: ")
    assert of(engine, "shots/west").alarm.sentence == alert.sentence
    since = date.fromordinal(date.fromisoformat(alert.first_crossing).toordinal() + 1).isoformat()
    assert of(engine, "shots/west").alarm.since_ms == at(f"{since}T05:00:00")
    last = date.fromisoformat(alert.last_crossing).toordinal()
    ends = date.fromordinal(last + 8).isoformat()
    engine.advance(at(f"{ends}T05:00:00") - 1)
    assert of(engine, "shots/west").alarm is not None
    engine.advance(at(f"{ends}T05:00:00"))
    ended = [alert for alert in engine.changes().alerts if alert.zone_id == "west"]
    assert [(a.spike_id, a.revision, a.status) for a in ended] == [(alert.spike_id, alert.revision + 1, "ended")]
    assert of(engine, "shots/west").alarm is None


def test_an_alarm_that_no_longer_holds_is_withdrawn_and_returns_with_a_higher_revision():
    engine = engine_of(*QUIET, *RISE, as_of=DURING)
    first = {alert.zone_id: alert for alert in engine.changes().alerts}
    for tally in RISE:
        engine.apply(msgspec.structs.replace(tally, revision=1, status="dismissed", counts=False))
    withdrawn = {alert.zone_id: alert for alert in engine.changes().alerts}
    assert withdrawn["west"] == msgspec.structs.replace(first["west"], status="withdrawn", revision=2)
    assert of(engine, "shots/west").alarm is None
    for tally in RISE:
        engine.apply(msgspec.structs.replace(tally, revision=2))
    again = {alert.zone_id: alert for alert in engine.changes().alerts}
    assert again["west"] == msgspec.structs.replace(first["west"], revision=3)


def test_an_alarm_does_not_depend_on_later_days():
    early = engine_of(*QUIET, *RISE, as_of=DURING).alerts()
    late = engine_of(*QUIET, *RISE, as_of=DURING + 400 * DAY).alerts()
    assert [(a.first_crossing, a.statistic, a.threshold, a.count) for a in early] == [
        (a.first_crossing, a.statistic, a.threshold, a.count) for a in late
    ]


def test_no_alarm_is_raised_before_56_days_of_data():
    begin = at("2025-06-01T16:00:00")
    burst = [shot(f"b{day}-{n}", begin + day * DAY + n) for day in range(60) for n in range(1 + 20 * (day > 40))]
    assert engine_of(*burst, as_of=begin + 56 * DAY).alerts() == []


def test_one_night_is_not_a_rise():
    night = [shot(f"n{n}", RISE_FROM + n) for n in range(150)]
    assert engine_of(*QUIET, *night, as_of=DURING).alerts() == []


def test_an_isolated_event_in_an_earlier_year_changes_no_alert():
    without = engine_of(*QUIET, *RISE, *second_rise(120), as_of=DURING + 120 * DAY)
    assert len(without.alerts()) >= 2
    isolated = [shot("typo", "2024-01-01T16:00:00"), shot("old", "2016-03-01T16:00:00", "east")]
    engine = engine_of(*QUIET, *RISE, *second_rise(120), *isolated, as_of=DURING + 120 * DAY)
    assert engine.alerts() == without.alerts()
    counted = of(engine, "shots/west").periods.ytd_vs_last_year
    assert counted == of(without, "shots/west").periods.ytd_vs_last_year


def test_the_quiet_period_after_an_isolated_event_raises_no_alarm():
    """A threshold fitted to empty days would be at its minimum and crossed repeatedly."""
    usual = [shot(f"u{day}-{n}", at("2025-06-01T16:00:00") + day * DAY + n) for day in range(150) for n in range(2)]
    assert engine_of(*usual, shot("typo", "2024-01-01T16:00:00"), as_of="2025-10-29T05:00:00").alerts() == []


@pytest.mark.parametrize(
    ("events", "begin"),
    [
        ({}, None),
        ({7: 1}, 7),
        ({7: 1, 64: 101}, 64),  # 56 days without events between them
        ({7: 1, 63: 101}, 7),  # 55
        ({7: 1, 64: 100}, 7),  # 1 % is not isolated
        ({7: 1, 64: 1, 121: 101}, 121),
        ({7: 1, 64: 2, 121: 101}, 64),
        ({7: 1, 30: 1, 121: 201}, 121),
        ({7: 50, 64: 1_000, 200: 1_000}, 7),  # a trial period counts as the beginning
        ({7: 1, 64: 500, 900: 1}, 64),
    ],
)
def test_data_begin_skips_isolated_events(events, begin):
    assert data_begin(events) == begin
    assert data_begin(dict(reversed(events.items()))) == begin


# --- what is published


def test_only_differences_are_published():
    engine = engine_of(*QUIET, as_of=NOON)
    assert {counter_key(counter) for counter in engine.changes().counters} == EVERY_KEY
    assert engine.changes().counters == []
    engine.advance(engine.as_of_ms + 60_000)
    assert engine.changes().counters == []
    assert {counter_key(counter) for counter in engine.changes(include_unchanged=True).counters} == EVERY_KEY
    engine.apply(shot("new", engine.as_of_ms - 1, "east"))
    assert {counter_key(counter) for counter in engine.changes().counters} == {"shots/east", "shots/city"}
    engine.advance(engine.as_of_ms + HOUR)
    assert {counter_key(counter) for counter in engine.changes().counters} == {"shots/east", "shots/city"}


@pytest.mark.parametrize("name", Periods.__struct_fields__)
def test_a_counter_that_differs_in_one_period_is_published_again(name):
    first, *others = engine_of(as_of=NOON).changes().counters
    period = getattr(first.periods, name)
    changed = msgspec.structs.replace(period, count=period.count + 1)
    other = msgspec.structs.replace(first, periods=msgspec.structs.replace(first.periods, **{name: changed}))
    resumed = restored(engine_of(as_of=NOON), [other, *others], [])
    assert resumed.changes().counters == [first]


def test_every_list_of_periods_is_complete():
    fields = set(Periods.__struct_fields__)
    assert set(get_args(PeriodName)) == fields, "complete PeriodName in streams/core/counters/events.py"
    assert periods(date(2026, 6, 5).toordinal()).keys() == fields, (
        "complete periods() in streams/core/counters/calendar.py"
    )


def test_a_new_day_publishes_every_counter():
    engine = engine_of(as_of="2026-06-06T04:00:00")
    engine.changes()
    engine.advance(engine.as_of_ms + 1)
    assert {counter_key(counter) for counter in engine.changes().counters} == EVERY_KEY


def through_json(record: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(record), type=type(record))


def restored(engine: CounterEngine, counters: list[SpikeCounter], alerts: list[SpikeAlert]) -> CounterEngine:
    for record in (*counters, *alerts):
        engine.restore(through_json(record))
    return engine


def test_resuming_with_the_same_tallies_publishes_nothing():
    published = engine_of(*QUIET, *RISE, as_of=DURING).changes()
    engine = restored(engine_of(*QUIET, *RISE, as_of=DURING), published.counters, published.alerts)
    again = engine.changes()
    assert (again.counters, again.alerts) == ([], [])


def test_resuming_with_different_tallies_corrects_only_the_differences():
    published = engine_of(*QUIET, *RISE, as_of=DURING).changes()
    engine = restored(engine_of(*QUIET, as_of=DURING), published.counters, published.alerts)
    corrected = engine.changes()
    assert {alert.status for alert in corrected.alerts} == {"withdrawn"}
    assert {alert.spike_id for alert in corrected.alerts} == {alert.spike_id for alert in published.alerts}
    assert {counter_key(counter) for counter in corrected.counters} == {"shots/west", "shots/city"}


def second_rise(after_days: int) -> list[Tally]:
    return [msgspec.structs.replace(t, event_id="again" + t.event_id, at_ms=t.at_ms + after_days * DAY) for t in RISE]


def compacted(alerts: list[SpikeAlert]) -> list[SpikeAlert]:
    """What compaction leaves of the topic: the last record of each key."""
    return list({alert_key(alert): alert for alert in alerts}.values())


def test_an_older_alert_that_stands_again_counts_on_after_compaction():
    everything, as_of = [*QUIET, *RISE, *second_rise(120)], DURING + 120 * DAY
    engine = engine_of(*everything, as_of=as_of)
    published = engine.changes().alerts
    older = next(alert for alert in published if alert.zone_id == "west" and alert.status == "ended")
    for tally in RISE:
        engine.apply(msgspec.structs.replace(tally, revision=1, status="dismissed", counts=False))
    published += engine.changes().alerts
    assert (published[-1].revision, "withdrawn" in {a.status for a in published}) == (2, True)
    resumed = restored(engine_of(*everything, as_of=as_of), [], compacted(published))
    again = {alert.spike_id: alert for alert in resumed.changes().alerts}
    assert (again[older.spike_id].status, again[older.spike_id].revision) == ("ended", 3)


def test_without_tallies_no_alert_is_withdrawn():
    published = engine_of(*QUIET, *RISE, as_of=DURING).changes()
    engine = restored(engine_of(as_of=DURING), [], published.alerts)
    assert engine.changes().alerts == []


def test_reading_alerts_does_not_mark_them_as_published():
    engine = engine_of(*QUIET, *RISE, as_of=DURING)
    engine.counters()
    standing = engine.alerts()
    assert standing
    assert engine.changes().alerts == standing


# --- a new leader


LATE = [shot(f"l{day}-{n}", RISE_FROM + day * DAY + n) for day in range(-2, 1) for n in range(9)]
"""Late shots that move the first crossing of the rise to an earlier day."""


def last_published(alerts: list[SpikeAlert]) -> dict[str, SpikeAlert]:
    return {alert.spike_id: msgspec.structs.replace(alert, revision=0) for alert in alerts}


@pytest.mark.parametrize("when", ["before the late records", "after them"])
def test_after_late_records_move_an_alarm_a_new_leader_publishes_the_same_as_the_old_one(when):
    continuing = engine_of(*QUIET, *RISE, as_of=DURING)
    published = continuing.changes()
    resumed = restored(engine_of(*QUIET, *RISE, as_of=DURING), published.counters, published.alerts)
    if when == "before the late records":
        assert resumed.changes().alerts == []
    for engine in (continuing, resumed):
        for tally in LATE:
            engine.apply(tally)
    found, expected = resumed.changes(), continuing.changes()
    assert found == expected
    in_west = [alert for alert in found.alerts if alert.zone_id == "west"]
    assert [alert.status for alert in in_west] == ["raised", "withdrawn"]
    assert in_west[0].first_crossing < in_west[1].first_crossing
    assert of(resumed, "shots/west").alarm.sentence == in_west[0].sentence


def test_after_compaction_an_older_alert_is_withdrawn_if_it_no_longer_holds():
    everything = [*QUIET, *RISE, *second_rise(120)]
    continuing = engine_of(*everything, as_of=DURING + 120 * DAY)
    published = continuing.changes()
    resumed = restored(
        engine_of(*everything, as_of=DURING + 120 * DAY), published.counters, compacted(published.alerts)
    )
    assert resumed.changes().alerts == []
    for engine in (continuing, resumed):
        for tally in RISE:
            engine.apply(msgspec.structs.replace(tally, revision=1, status="dismissed", counts=False))
    found, expected = resumed.changes().alerts, continuing.changes().alerts
    assert "withdrawn" in {alert.status for alert in found}
    assert found == expected


def test_any_leader_withdraws_an_alarm_that_depended_on_an_isolated_event():
    """After the isolated event's year is corrected, too few days of data precede the rise."""
    begin = at("2025-06-01T16:00:00")
    rising = [shot(f"b{day}-{n}", begin + day * DAY + n) for day in range(50) for n in range(1 + 5 * (day > 43))]
    continuing = engine_of(shot("typo", "2024-06-01T16:00:00"), *rising, as_of=begin + 50 * DAY)
    published = continuing.changes()
    assert "raised" in {alert.status for alert in published.alerts}
    right = shot("typo", "2025-06-01T16:00:00", revision=1)
    resumed = restored(engine_of(right, *rising, as_of=begin + 50 * DAY), published.counters, published.alerts)
    continuing.apply(right)
    up = {alert.spike_id for alert in published.alerts if alert.status == "raised"}
    withdrawn_by_resumed = {a.spike_id for a in resumed.changes().alerts if a.status == "withdrawn"}
    assert up <= withdrawn_by_resumed <= {a.spike_id for a in continuing.changes().alerts if a.status == "withdrawn"}


def report(first: int, last: int, up: bool = False) -> AlarmReport:
    """An alarm in zone west with crossings from day ``first`` to day ``last``."""
    threshold = Threshold(56, 5.0, 80.0, {})
    episode = Episode(0, first - 3, first, last, up, 6.0, threshold, count=9, expected=2.0)
    return AlarmReport("shots", "west", "West", FIRST_DAY, episode, count_before=2)


FIRST_DAY = date(2025, 1, 1).toordinal()


def first_published(left: list[SpikeAlert], *standing: AlarmReport) -> list[tuple[str, str]]:
    """First crossing and status of each alert in a new leader's first publication."""
    book = AlertBook("shots")
    for alert in left:
        book.restore(alert)
    book.set_standing(list(standing), FIRST_DAY)
    return [(alert.first_crossing, alert.status) for alert in book.changes()]


def day(number: int) -> str:
    return date.fromordinal(FIRST_DAY + number).isoformat()


def test_an_active_alarm_is_always_published_regardless_of_what_is_left_on_the_topic():
    """This holds even after a leader whose clock was ahead."""
    left = report(300, 300, up=True).alert(4)
    ended, raised, withdrawn = (day(100), "ended"), (day(200), "raised"), (day(300), "withdrawn")
    assert first_published([left], report(100, 100), report(200, 202, up=True)) == [ended, raised, withdrawn]


def test_only_alerts_that_the_topic_does_not_hold_are_published():
    left = [report(100, 102).alert(2), report(200, 202).alert(2)]
    standing = [report(50, 51), report(100, 102), report(150, 150), report(200, 202)]
    assert first_published(left, *standing) == [(day(50), "ended"), (day(150), "ended")]
