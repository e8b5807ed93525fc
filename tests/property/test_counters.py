"""Laws of the counters: any order of arrival, repeats and moments of asking give the same."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.counters.engine import CounterEngine
from streams.core.counters.events import KINDS, SpikeAlert, Tally, alert_key
from streams.core.counters.rules import CounterRules
from streams.core.site import Site, Zone

DAY = 86_400_000
BEGIN = 1_740_805_200_000  # 2025-03-01 in New York
END = BEGIN + 120 * DAY
EDGE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 0.0))
SITE = Site("example", "America/New_York", {}, (Zone("a", "A", ((EDGE,),)), Zone("b", "B", ((EDGE,),))))
STATUSES: dict[str, list[Any]] = {
    "shots": ["unreviewed", "confirmed", "dismissed"],
    "stolen_vehicle_hits": ["active", "recovered", "cancelled"],
    "linked_incidents": ["open", "retracted"],
}
FREE = CounterRules(false_alarms_per_year=100.0)
"""So many false alarms that a few tallies make some."""


@st.composite
def tallies(draw: st.DrawFn) -> Tally:
    kind = draw(st.sampled_from(KINDS))
    status = draw(st.sampled_from(STATUSES[kind]))
    return Tally(
        kind=kind,
        event_id=draw(st.sampled_from("uvwxyz")),
        revision=draw(st.integers(0, 2)),
        zone_id=draw(st.sampled_from(["a", "b", "city", "gone"])),
        at_ms=draw(st.integers(BEGIN, END + 2 * DAY)),
        status=status,
        counts=status not in ("dismissed", "cancelled", "retracted"),
    )


def background() -> list[Tally]:
    """A shot every third day, so that there is data from the first day on."""
    return [
        Tally("shots", f"day{day}", 0, "a", BEGIN + day * DAY + 3_600_000, "unreviewed", True)
        for day in range(0, 120, 3)
    ]


def burst(day: int, many: int) -> list[Tally]:
    return [
        Tally("shots", f"burst{n}", 0, "b", BEGIN + (day + n // 3) * DAY + 7_200_000 + n, "unreviewed", True)
        for n in range(many)
    ]


def told(fold: CounterEngine) -> tuple[Any, Any]:
    return msgspec.to_builtins(fold.counters()), msgspec.to_builtins(fold.alerts())


def test_the_bursts_that_are_drawn_do_raise_alarms():
    fold = CounterEngine(SITE, FREE)
    for tally in [*background(), *burst(80, 18)]:
        fold.feed(tally)
    fold.advance(END)
    assert {alert.zone_id for alert in fold.alerts()} >= {"b", "city"}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_order_of_arrival_gives_the_same_counters_and_alarms(data):
    some = data.draw(st.lists(tallies(), max_size=20))
    records = [*background(), *burst(data.draw(st.integers(60, 110)), data.draw(st.integers(0, 24))), *some]
    at_once = CounterEngine(SITE, FREE)
    for tally in records:
        at_once.feed(tally)
    at_once.advance(END)
    shuffled = data.draw(st.permutations([*records, *data.draw(st.lists(st.sampled_from(records), max_size=5))]))
    moments = data.draw(st.lists(st.integers(0, len(shuffled)), max_size=4))
    times = sorted(data.draw(st.lists(st.integers(BEGIN, END), min_size=4, max_size=4)))
    bit_by_bit = CounterEngine(SITE, FREE)
    for n, tally in enumerate(shuffled):
        for _ in range(moments.count(n)):
            bit_by_bit.advance(times.pop(0))
            bit_by_bit.changes()
        bit_by_bit.feed(tally)
    bit_by_bit.advance(END)
    assert told(bit_by_bit) == told(at_once)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(tallies(), max_size=6), min_size=1, max_size=3), st.integers(60, 100))
def test_the_last_thing_said_of_each_is_what_stands(batches, day):
    fold, said = CounterEngine(SITE, FREE), {}
    counters: dict[tuple[str, str], Any] = {}
    revisions: dict[str, int] = {}
    for n, batch in enumerate([[*background(), *burst(day, 18)], *batches]):
        for tally in batch:
            fold.feed(tally)
        fold.advance(END + (n - len(batches)) * 3_600_000)
        changes = fold.changes()
        counters.update({(c.kind, c.zone_id): c for c in changes.counters})
        for alert in changes.alerts:
            assert alert.revision == revisions.get(alert.spike_id, 0) + 1
            revisions[alert.spike_id] = alert.revision
            said[alert.spike_id] = alert
    standing = {alert.spike_id: msgspec.structs.replace(alert, revision=0) for alert in fold.alerts()}
    last = {i: msgspec.structs.replace(a, revision=0) for i, a in said.items() if a.status != "withdrawn"}
    assert last == standing
    for counter in fold.counters():
        known = counters[counter.kind, counter.zone_id]
        assert [p.count for p in spans(known)] == [p.count for p in spans(counter)]
        assert (known.recent, known.by_status, known.alarm) == (counter.recent, counter.by_status, counter.alarm)


def spans(counter: Any) -> list[Any]:
    return [getattr(counter.periods, name) for name in counter.periods.__struct_fields__]


# --- owners that come and go

Moment = Literal["said", "unsaid"]
"""Whether the owner before had said what its tallies gave when it went."""


class Step(msgspec.Struct, frozen=True):
    """What comes in until the time has moved on so many days; then another owner may take over."""

    tallies: list[Tally]
    days: int
    take_over: Moment | None
    compacted: float
    """How much of what was said is compacted by then."""


@st.composite
def steps(draw: st.DrawFn, moments: list[Moment], compacted: st.SearchStrategy[float]) -> list[Step]:
    """Bursts of any day up to now, so that many come late; and some of them dismissed, or not any more."""
    drawn, day = [], 0
    bursts: list[tuple[str, int, int]] = []
    revisions: dict[int, int] = {}
    for _ in range(draw(st.integers(3, 7))):
        more = draw(
            st.lists(st.tuples(st.sampled_from("ab"), st.integers(57, 80 + day), st.integers(1, 5)), max_size=3)
        )
        batch = [shot for n, b in enumerate(more, len(bursts)) for shot in late_burst(n, b, 0, dismissed=False)]
        bursts += more
        for n in draw(st.lists(st.integers(0, len(bursts) - 1), max_size=2)) if bursts else ():
            revisions[n] = revisions.get(n, 0) + 1
            batch += late_burst(n, bursts[n], revisions[n], dismissed=revisions[n] % 2 == 1)
        days = draw(st.integers(0, 15))
        day += days
        drawn.append(Step(batch, days, draw(st.sampled_from([None, *moments])), draw(compacted)))
    return drawn


def late_burst(number: int, burst: tuple[str, int, int], revision: int, dismissed: bool) -> list[Tally]:
    """Six shots a day for some days."""
    zone, day, days = burst
    status: Any = "dismissed" if dismissed else "unreviewed"
    return [
        Tally("shots", f"{number}-{n}", revision, zone, BEGIN + (day + n // 6) * DAY + n, status, not dismissed)
        for n in range(6 * days)
    ]


class Topic:
    """What was said of alerts, and what compaction leaves of it."""

    def __init__(self) -> None:
        self.rows: list[SpikeAlert] = []

    def left(self, compacted: float) -> list[SpikeAlert]:
        """Of the older rows the last of each key; the newer ones all."""
        old, new = self.rows[: (cut := round(compacted * len(self.rows)))], self.rows[cut:]
        return [*{alert_key(alert): alert for alert in old}.values(), *new]

    def by(self, identify: Any) -> dict[str, SpikeAlert]:
        """The last one said of each, whatever its revision: that of what was compacted nobody knows."""
        return {identify(alert): msgspec.structs.replace(alert, revision=0) for alert in self.rows}

    @property
    def of_spikes(self) -> dict[str, SpikeAlert]:
        return self.by(lambda alert: alert.spike_id)

    @property
    def of_keys(self) -> dict[str, SpikeAlert]:
        """Without those that are withdrawn: of several it does not matter which one is last."""
        return {key: alert for key, alert in self.by(alert_key).items() if alert.status != "withdrawn"}


class Relay:
    """Owners one after the other, beside one that stays."""

    def __init__(self) -> None:
        self.stayed, self.relayed = Topic(), Topic()
        self._known = background()
        self._now_ms = BEGIN + 82 * DAY
        self._stays, self._owner = self._fold(), self._fold()
        self.oldest_left: dict[str, str] = {}
        """By key, the first crossing from which on the topic told an owner everything; the latest of all owners."""
        self._say()

    def _fold(self) -> CounterEngine:
        fold = CounterEngine(SITE, FREE)
        for tally in self._known:
            fold.feed(tally)
        fold.advance(self._now_ms)
        return fold

    def _say(self) -> None:
        self.stayed.rows += self._stays.changes().alerts
        self.relayed.rows += self._owner.changes().alerts

    def go(self, step: Step) -> None:
        self._known += step.tallies
        self._now_ms += step.days * DAY
        for fold in (self._stays, self._owner):
            for tally in step.tallies:
                fold.feed(tally)
            fold.advance(self._now_ms)
        if step.take_over == "said":
            self._say()
        if step.take_over is not None:
            self._take_over(self.relayed.left(step.compacted))
        self._say()

    def _take_over(self, left: list[SpikeAlert]) -> None:
        self._owner = self._fold()
        last = {alert.spike_id: alert for alert in left}
        for alert in last.values():
            self._owner.restore(alert)
        for key in {alert_key(alert) for alert in left}:
            of_key = [alert for alert in last.values() if alert_key(alert) == key]
            if any(alert.status != "withdrawn" for alert in of_key):
                oldest = min(alert.first_crossing for alert in of_key)
                self.oldest_left[key] = max(self.oldest_left.get(key, ""), oldest)

    def is_told(self, alert: SpikeAlert) -> bool:
        return alert.first_crossing >= self.oldest_left.get(alert_key(alert), "")


def raised(alerts: dict[str, SpikeAlert]) -> dict[str, SpikeAlert]:
    return {name: alert for name, alert in alerts.items() if alert.status == "raised"}


@settings(max_examples=60, deadline=None)
@given(steps(["said"], st.floats(0, 1)))
def test_owners_that_take_over_say_what_one_that_stays_does_whatever_compaction_left_them(drawn):
    relay = Relay()
    for step in drawn:
        relay.go(step)
        assert relay.relayed.of_spikes == relay.stayed.of_spikes
        assert relay.relayed.of_keys == relay.stayed.of_keys


@settings(max_examples=60, deadline=None)
@given(steps(["said", "unsaid"], st.sampled_from([0.0, 1.0])))
def test_what_came_between_two_owners_is_said_as_far_as_the_topic_allows_and_all_that_is_up_always(drawn):
    relay = Relay()
    for step in drawn:
        relay.go(step)
        stayed, relayed = relay.stayed, relay.relayed
        assert raised(relayed.of_spikes) == raised(stayed.of_spikes)
        assert raised(relayed.of_keys) == raised(stayed.of_keys)
        told = [{i: a for i, a in topic.of_spikes.items() if relay.is_told(a)} for topic in (relayed, stayed)]
        assert told[0] == told[1]


@settings(max_examples=30, deadline=None)
@given(steps(["said"], st.just(0.0)))
def test_revisions_go_on_by_one_from_owner_to_owner_where_nothing_is_compacted(drawn):
    relay = Relay()
    for step in drawn:
        relay.go(step)
    last: dict[str, int] = {}
    for alert in relay.relayed.rows:
        assert alert.revision == last.get(alert.spike_id, 0) + 1
        last[alert.spike_id] = alert.revision


@settings(max_examples=30, deadline=None)
@given(steps([], st.just(0.0)))
def test_who_takes_over_and_finds_nothing_new_says_nothing_old(drawn):
    relay = Relay()
    for step in drawn:
        relay.go(step)
    for compacted in (0.0, 1.0):
        said = len(relay.relayed.rows)
        relay.go(Step([], 0, "said", compacted))
        assert len(relay.relayed.rows) == said
