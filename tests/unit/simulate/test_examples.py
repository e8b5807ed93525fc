"""Example records are accepted when they are sent at the time they are made for."""

from __future__ import annotations

import time

import pytest

from streams.core.engine import Engine
from streams.core.errors import RampwatchError
from streams.core.events import LinkedIncident, Outcome, Record
from streams.core.pipeline import Pipeline
from streams.core.rules import JoinRules
from streams.core.site import Site
from streams.core.topics import INPUTS
from streams.resources.sites import load_site
from streams.simulate.examples import Example, examples
from tests.drivers.command import rampwatch


def sent(
    site: Site, records: list[Example], stamp_ms: int
) -> tuple[dict[tuple[str, Outcome], int], list[LinkedIncident]]:
    """The outcomes and the last incident of records that all have this stamp."""
    rules = JoinRules()
    pipeline = Pipeline(site, rules, Engine(site, rules))
    outcomes: dict[tuple[str, Outcome], int] = {}
    incidents: list[LinkedIncident] = []
    for example in records:
        effects = pipeline.apply(Record(example.topic, 0, 0, stamp_ms, example.value))
        outcomes |= effects.outcomes
        incidents += effects.incidents
    return outcomes, incidents


@pytest.mark.parametrize("name", ["hartford", "kansas-city"])
def test_examples_of_today_are_used_and_make_an_incident_with_its_action(name):
    site, now_ms = load_site(name), round(time.time() * 1000)
    outcomes, incidents = sent(site, examples(site, now_ms), now_ms + 2_000)
    assert outcomes == {(topic, "used"): 1 for topic in INPUTS}
    assert incidents[-1].status == "open"
    assert [action.kind for action in incidents[-1].review] == ["acknowledge"]


def test_printed_examples_are_used_on_the_day_they_are_printed():
    printed = rampwatch("examples", "--site", "kansas-city")
    assert printed.returncode == 0, printed.stderr
    records = [
        Example(topic, key, value.encode())
        for topic, key, value in (line.split("\t") for line in printed.stdout.splitlines())
    ]
    outcomes, incidents = sent(load_site("kansas-city"), records, round(time.time() * 1000))
    assert outcomes == {(topic, "used"): 1 for topic in INPUTS}
    assert incidents
    assert [example.key for example in records if example.topic == "incident-actions"] == [incidents[0].incident_id]


def test_the_example_of_a_topic_is_a_key_and_a_value():
    printed = rampwatch("examples", "ramp-plate-reads")
    assert printed.returncode == 0, printed.stderr
    (line,) = printed.stdout.splitlines()
    key, value = line.split("\t")
    assert key == "EXAMPLE000"
    assert value.startswith('{"read_id":"example-')


def test_a_site_without_ramps_has_no_examples():
    with pytest.raises(RampwatchError, match="has no ramp"):
        examples(Site("empty", "America/New_York", {}), 0)
