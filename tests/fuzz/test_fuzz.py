"""Mutated records are admitted or rejected, quickly, and always with the same verdict."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from streams.core.topics import INPUTS
from tests.fuzz.mutate import MUTATIONS, Mutator, valid_records
from tests.fuzz.run import fuzz
from tests.lanes import LANE
from tests.paths import ROOT

SOME = 500


@pytest.mark.timeout(1_800)
def test_every_mutated_record_gets_one_verdict_in_bounded_time() -> None:
    report = fuzz(LANE.fuzzed_records, seed=1)
    assert report.faults == []
    assert report.records == LANE.fuzzed_records
    reasons = {"admitted", "not_json", "schema", "plate", "placeholder", "unknown_ramp", "future", "late", "limit"}
    assert report.verdicts.keys() <= reasons
    assert {"admitted", "not_json", "schema", "unknown_ramp", "limit"} <= report.verdicts.keys()
    assert report.verdicts["admitted"] > report.records / 20
    assert report.mutations.keys() == set(MUTATIONS)
    assert report.columns_agree > report.records / 200


def test_a_record_is_reproduced_by_its_seed_and_number_alone() -> None:
    valid = valid_records()
    records = list(Mutator(valid, 7).records(SOME))
    assert records == list(Mutator(valid, 7).records(SOME))
    assert records[SOME - 1] == Mutator(valid, 7).record(SOME - 1)
    assert records != list(Mutator(valid, 8).records(SOME))
    assert {record.topic for record in records} == set(INPUTS)


def test_the_command_prints_its_report_as_json() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--records", "2000", "--seed", "3", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    report = json.loads(done.stdout)
    assert (report["records"], report["seed"], report["faults"]) == (2_000, 3, [])
    assert "2,000 of 2,000 records, 100%, 0 s left" in done.stderr
