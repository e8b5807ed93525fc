"""Laws of the counters: order, repeats, leader changes and times of reports change nothing."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.counters.engine import CounterEngine
from streams.core.counters.events import KINDS, SpikeAlert, Tally, alert_key
from streams.core.counters.rules import CounterRules
from streams.core.site import Site, Zone
from tests.lanes import LANE

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
SENSITIVE = CounterRules(false_alarms_per_year=100.0)
"""Rules that accept so many false alarms that a few tallies raise some."""

many = settings(max_examples=LANE.counter_examples, deadline=None)
some = settings(max_examples=LANE.counter_examples // 2, deadline=None)
few = settings(max_examples=LANE.counter_examples // 3, deadline=None)


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


def burst(day: int, shots: int) -> list[Tally]:
    """Shots in zone b, three a day."""
    return [
        Tally("shots", f"burst{n}", 0, "b", BEGIN + (day + n // 3) * DAY + 7_200_000 + n, "unreviewed", True)
        for n in range(shots)
    ]


def results(engine: CounterEngine) -> tuple[Any, Any]:
    return msgspec.to_builtins(engine.counters()), msgspec.to_builtins(engine.alerts())


def engine_with(records: list[Tally], as_of_ms: int) -> CounterEngine:
    engine = CounterEngine(SITE, SENSITIVE)
    for tally in records:
        engine.apply(tally)
    engine.advance(as_of_ms)
    return engine


def test_the_generated_bursts_do_raise_alarms():
    engine = engine_with([*background(), *burst(80, 18)], END)
    assert {alert.zone_id for alert in engine.alerts()} >= {"b", "city"}


@many
@given(st.data())
def test_any_order_of_arrival_gives_the_same_counters_and_alarms(data):
    others = data.draw(st.lists(tallies(), max_size=20))
    records = [*background(), *burst(data.draw(st.integers(60, 110)), data.draw(st.integers(0, 24))), *others]
    shuffled = data.draw(st.permutations([*records, *data.draw(st.lists(st.sampled_from(records), max_size=5))]))
    reported_at = data.draw(st.lists(st.integers(0, len(shuffled)), max_size=4))
    times = sorted(data.draw(st.lists(st.integers(BEGIN, END), min_size=4, max_size=4)))
    gradual = CounterEngine(SITE, SENSITIVE)
    for n, tally in enumerate(shuffled):
        for _ in range(reported_at.count(n)):
            gradual.advance(times.pop(0))
            gradual.changes()
        gradual.apply(tally)
    gradual.advance(END)
    assert results(gradual) == results(engine_with(records, END))


@few
@given(st.lists(st.lists(tallies(), max_size=6), min_size=1, max_size=3), st.integers(60, 100))
def test_the_last_published_revisions_are_the_current_results(batches, day):
    engine, published = CounterEngine(SITE, SENSITIVE), {}
    counters: dict[tuple[str, str], Any] = {}
    revisions: dict[str, int] = {}
    for n, batch in enumerate([[*background(), *burst(day, 18)], *batches]):
        for tally in batch:
            engine.apply(tally)
        engine.advance(END + (n - len(batches)) * 3_600_000)
        changes = engine.changes()
        counters.update({(c.kind, c.zone_id): c for c in changes.counters})
        for alert in changes.alerts:
            assert alert.revision == revisions.get(alert.spike_id, 0) + 1
            revisions[alert.spike_id] = alert.revision
            published[alert.spike_id] = alert
    current = {alert.spike_id: msgspec.structs.replace(alert, revision=0) for alert in engine.alerts()}
    last = {i: msgspec.structs.replace(a, revision=0) for i, a in published.items() if a.status != "withdrawn"}
    assert last == current
    for counter in engine.counters():
        known = counters[counter.kind, counter.zone_id]
        assert [p.count for p in periods(known)] == [p.count for p in periods(counter)]
        assert (known.recent, known.by_status, known.alarm) == (counter.recent, counter.by_status, counter.alarm)


def periods(counter: Any) -> list[Any]:
    return [getattr(counter.periods, name) for name in counter.periods.__struct_fields__]


# --- leaders that succeed each other

Handover = Literal["published", "unpublished"]
"""Whether the old leader had published the results of its last tallies when it failed."""


class Step(msgspec.Struct, frozen=True):
    """Tallies to apply before the time advances by some days, and perhaps a handover after that."""

    tallies: list[Tally]
    days: int
    handover: Handover | None
    compacted: float
    """The share of the topic that is compacted at the handover."""


@st.composite
def steps(draw: st.DrawFn, handovers: list[Handover], compacted: st.SearchStrategy[float]) -> list[Step]:
    """Bursts on any day up to now, many of them late; some are dismissed, some reinstated."""
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
        drawn.append(Step(batch, days, draw(st.sampled_from([None, *handovers])), draw(compacted)))
    return drawn


def late_burst(number: int, burst: tuple[str, int, int], revision: int, dismissed: bool) -> list[Tally]:
    """Six shots a day for some days."""
    zone, day, days = burst
    status: Any = "dismissed" if dismissed else "unreviewed"
    return [
        Tally("shots", f"{number}-{n}", revision, zone, BEGIN + (day + n // 6) * DAY + n, status, not dismissed)
        for n in range(6 * days)
    ]


class AlertTopic:
    """The published alerts, and what compaction leaves of them."""

    def __init__(self) -> None:
        self.rows: list[SpikeAlert] = []

    def after_compaction(self, compacted: float) -> list[SpikeAlert]:
        """The last of each key among the older rows, and all newer rows."""
        old, new = self.rows[: (cut := round(compacted * len(self.rows)))], self.rows[cut:]
        return [*{alert_key(alert): alert for alert in old}.values(), *new]

    @property
    def shown(self) -> dict[str, SpikeAlert]:
        """The last revision of each alert that is not withdrawn, without its number.

        A new leader may never have published what is withdrawn now.
        """
        last = {alert.spike_id: alert for alert in self.rows}.items()
        return {name: msgspec.structs.replace(a, revision=0) for name, a in last if a.status != "withdrawn"}


class Succession:
    """Leaders that succeed each other, beside one that never fails."""

    def __init__(self) -> None:
        self.uninterrupted, self.succeeded = AlertTopic(), AlertTopic()
        self._applied = background()
        self._now_ms = BEGIN + 82 * DAY
        self._permanent, self._leader = (engine_with(self._applied, self._now_ms) for _ in range(2))
        self._publish()

    def _publish(self) -> None:
        self.uninterrupted.rows += self._permanent.changes().alerts
        self.succeeded.rows += self._leader.changes().alerts

    def take(self, step: Step) -> None:
        self._applied += step.tallies
        self._now_ms += step.days * DAY
        for engine in (self._permanent, self._leader):
            for tally in step.tallies:
                engine.apply(tally)
            engine.advance(self._now_ms)
        if step.handover == "published":
            self._publish()
        if step.handover is not None:
            self._hand_over(self.succeeded.after_compaction(step.compacted))
        self._publish()

    def _hand_over(self, alerts: list[SpikeAlert]) -> None:
        self._leader = engine_with(self._applied, self._now_ms)
        for alert in alerts:
            self._leader.restore(alert)


@many
@given(steps(["published"], st.floats(0, 1)))
def test_successive_leaders_publish_what_one_permanent_leader_does_after_any_compaction(drawn):
    succession = Succession()
    for step in drawn:
        succession.take(step)
        assert succession.succeeded.rows == succession.uninterrupted.rows


@many
@given(steps(["published", "unpublished"], st.floats(0, 1)))
def test_a_leader_that_fails_before_publishing_loses_no_alert_and_no_revision(drawn):
    succession = Succession()
    for step in drawn:
        succession.take(step)
        assert succession.succeeded.shown == succession.uninterrupted.shown
    last: dict[str, int] = {}
    for alert in succession.succeeded.rows:
        assert alert.revision == last.get(alert.spike_id, 0) + 1
        last[alert.spike_id] = alert.revision


@some
@given(steps([], st.just(0.0)))
def test_a_new_leader_republishes_nothing_if_nothing_has_changed(drawn):
    succession = Succession()
    for step in drawn:
        succession.take(step)
    for compacted in (0.0, 1.0):
        published = len(succession.succeeded.rows)
        succession.take(Step([], 0, "published", compacted))
        assert len(succession.succeeded.rows) == published
