"""Laws of the counters: any order of arrival, repeats and moments of asking give the same."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.counters.fold import SpikeFold
from streams.core.counters.rules import CounterRules
from streams.core.counters.wire import KINDS, Tally
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


def told(fold: SpikeFold) -> tuple[Any, Any]:
    return msgspec.to_builtins(fold.counters()), msgspec.to_builtins(fold.alerts())


def test_the_bursts_that_are_drawn_do_raise_alarms():
    fold = SpikeFold(SITE, FREE)
    for tally in [*background(), *burst(80, 18)]:
        fold.feed(tally)
    fold.advance(END)
    assert {alert.zone_id for alert in fold.alerts()} >= {"b", "city"}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_order_of_arrival_gives_the_same_counters_and_alarms(data):
    some = data.draw(st.lists(tallies(), max_size=20))
    records = [*background(), *burst(data.draw(st.integers(60, 110)), data.draw(st.integers(0, 24))), *some]
    at_once = SpikeFold(SITE, FREE)
    for tally in records:
        at_once.feed(tally)
    at_once.advance(END)
    shuffled = data.draw(st.permutations([*records, *data.draw(st.lists(st.sampled_from(records), max_size=5))]))
    moments = data.draw(st.lists(st.integers(0, len(shuffled)), max_size=4))
    times = sorted(data.draw(st.lists(st.integers(BEGIN, END), min_size=4, max_size=4)))
    bit_by_bit = SpikeFold(SITE, FREE)
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
    fold, said = SpikeFold(SITE, FREE), {}
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
