"""A run with everything is a function of its seed, and has some of everything at known times."""

from __future__ import annotations

import base64
from collections import Counter
from functools import cache

import msgspec

from streams.core.rules import JoinRules
from tests.chaos.load import LoadRecord, ground, join_settings, load
from tests.chaos.report import Plan
from tests.chaos.trials import HOT_READS, IMPORTED, OVERLOAD_READS
from tests.oracle.join import Court
from tests.oracle.records import HITS, SHOTS, TOPICS

BEGIN_MS = 1_780_000_000_000
PLAN = Plan(100_000, seed=7, minutes=4, everything=True)


def made(plan: Plan) -> list[LoadRecord]:
    steady = load(plan.seed, BEGIN_MS, round(1000 * plan.load_s), plan.rate_per_s, plan.minute_ms)
    return plan.trials.added_to(steady, BEGIN_MS)


records_of = cache(made)


def test_the_records_are_a_function_of_the_seed_and_ordered_and_none_is_due_in_a_gap() -> None:
    records = records_of(PLAN)
    assert records == made(PLAN)
    due_s = [record.due_ms / 1000 for record in records]
    assert due_s == sorted(due_s)
    assert PLAN.gaps == [(96.0, 120.0)]
    assert [at_s for at_s in due_s if any(from_s <= at_s < to_s for from_s, to_s in PLAN.gaps)] == []
    assert due_s[-1] < PLAN.load_s


def test_no_fault_begins_in_a_gap_and_the_broker_is_away_for_long() -> None:
    starts_s = [fault.at_s for fault in PLAN.schedule]
    assert [at_s for at_s in starts_s if any(from_s <= at_s < to_s for from_s, to_s in PLAN.gaps)] == []
    kinds = Counter(fault.kind for fault in PLAN.schedule)
    assert kinds["broker hangs"] > 0
    assert kinds["broker restarted"] > 0
    assert starts_s[-1] < PLAN.load_s


def test_there_are_imports_hot_plates_overloads_and_hostile_records_of_all_topics() -> None:
    records = records_of(PLAN)
    keys = Counter(record.key for record in records)
    assert sum(key.startswith("U000") for key in keys) == IMPORTED * 3 // 2
    assert keys["UH0T0000"] == keys["UH0T0001"] == HOT_READS + 1
    assert sum(key.startswith("T8") for key in keys) > OVERLOAD_READS
    assert {record.topic for record in records if record.key == "hostile"} == set(TOPICS)
    assert max(len(record.value or b"") for record in records) > 100_000


def test_hostile_records_keep_within_the_limits_beyond_which_there_is_no_verdict() -> None:
    join = msgspec.to_builtins(msgspec.convert(join_settings(PLAN.minute_ms), JoinRules))
    court = Court(ground().site(), join)
    for index, record in enumerate(records_of(PLAN)):
        raw = base64.b64encode(record.value or b"").decode()
        court.admit(record.topic, index, {"timestamp_ms": BEGIN_MS + record.due_ms, "value_base64": raw})
    court.check_limits()
    reasons = Counter(reason for _, _, reason in court.verdict.dead)
    assert min(reasons[reason] for reason in ("not_json", "schema", "plate", "unknown_ramp", "future", "limit")) > 5
    for topic, most in ((SHOTS, 64), (HITS, 1_000)):
        contents = [{record.canonical for record in records} for records in court.by_identity[topic].values()]
        assert max(map(len, contents)) < most / 2
