"""Mutated records are admitted or rejected, quickly, and always with the same verdict."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from streams.core.codec import decode
from streams.core.events import Event, InvalidRecord
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


def _raises(topic: str, value: bytes | None) -> Event:
    if value and len(value) % 5 == 0:
        raise ValueError(len(value))
    return decode(topic, value)


def _changes_its_mind(topic: str, value: bytes | None, calls: Iterator[int] = itertools.count()) -> Event:  # noqa: B008
    if next(calls) % 50 == 0:
        raise InvalidRecord("schema", "", "not today")
    return decode(topic, value)


def _is_slow(topic: str, value: bytes | None) -> Event:
    if value and len(value) % 50 == 0:
        sum(range(5_000_000))
    return decode(topic, value)


@pytest.mark.parametrize(
    ("decoder", "fault"), [(_raises, "raised ValueError"), (_changes_its_mind, "verdict"), (_is_slow, "took ")]
)
def test_what_a_faulty_decoder_does_is_a_fault(
    decoder: Callable[..., Event], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    valid_records()  # admitted before the fault
    monkeypatch.setattr("streams.core.intake.decode", decoder)
    report = fuzz(SOME, seed=1)
    assert report.faults
    assert all(fault in text for text in report.faults)
