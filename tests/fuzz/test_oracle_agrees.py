"""The oracle's own reading of the contract gives each mutated record the reason the intake does."""

from __future__ import annotations

import base64

import msgspec

from streams.core.events import InvalidRecord, Record
from streams.core.intake import Intake
from streams.core.rules import JoinRules
from tests.drivers.engine import scenario
from tests.fuzz.mutate import Mutated, Mutator, valid_records
from tests.fuzz.undecided import is_undecided
from tests.lanes import LANE
from tests.oracle.records import accepted_or_reason

RULES = JoinRules()
SITE = scenario(0).site


def reason_of(intake: Intake, mutated: Mutated) -> str:
    try:
        intake.admit(Record(mutated.topic, 0, mutated.number, mutated.stamp_ms, mutated.value))
    except InvalidRecord as invalid:
        return invalid.reason
    return "admitted"


def oracles_reason(mutated: Mutated, ramps: dict[str, object], join: dict[str, object]) -> str:
    line = {"timestamp_ms": mutated.stamp_ms, "value_base64": base64.b64encode(mutated.value).decode()}
    record = accepted_or_reason(mutated.topic, 0, line, ramps, join)  # type: ignore[arg-type]
    return record if isinstance(record, str) else "admitted"


def test_the_oracle_and_the_intake_reject_mutated_records_for_the_same_reasons() -> None:
    intake, join = Intake(SITE, RULES), msgspec.to_builtins(RULES)
    ramps: dict[str, object] = dict(SITE.ramps)
    different, undecided = [], 0
    for mutated in Mutator(valid_records(), 5).records(LANE.fuzzed_records):
        if is_undecided(mutated.value):
            undecided += 1
        elif (reason := reason_of(intake, mutated)) != (other := oracles_reason(mutated, ramps, join)):
            different.append(f"record {mutated.number}: {reason}, oracle: {other}; {mutated.value[:300]!r}")
    assert different == []
    assert undecided < LANE.fuzzed_records / 20
