"""A schedule depends on its seed alone, and contains some of each fault."""

from __future__ import annotations

from collections import Counter

from tests.chaos.schedule import SESSION_TIMEOUT_MS, load_duration_s, schedule


def test_a_schedule_is_a_function_of_its_seed() -> None:
    assert schedule(7, 50) == schedule(7, 50)
    assert schedule(7, 50) != schedule(8, 50)


def test_fifty_faults_contain_some_of_each_and_as_many_joins_as_leaves() -> None:
    kinds = Counter(fault.kind for fault in schedule(1, 50))
    assert kinds.total() == 50
    assert kinds["join"] == kinds["leave"] == 5
    assert min(kinds[kind] for kind in ("term", "broker killed", "broker paused")) == 5
    assert kinds["pause"] == 10
    assert kinds["kill"] == 15


def test_five_faults_are_one_of_each_that_matters_most() -> None:
    for seed in range(20):
        assert {fault.kind for fault in schedule(seed, 5)} == {"kill", "term", "join", "pause", "broker killed"}


def test_workers_are_paused_longer_than_their_session_and_the_load_outlasts_every_fault() -> None:
    planned = schedule(3, 50)
    assert all(fault.for_s > SESSION_TIMEOUT_MS / 1000 for fault in planned if fault.kind == "pause")
    assert [fault.at_s for fault in planned] == sorted(fault.at_s for fault in planned)
    assert all(fault.at_s + fault.for_s < load_duration_s(planned) for fault in planned)
