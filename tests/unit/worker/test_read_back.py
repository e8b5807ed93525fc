"""What is read back of published incidents: the last revisions, and what cannot be read."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from msgspec import json, structs

from streams.core.events import LinkedIncident, LinkedShot, LinkedVehicle
from streams.worker.read_back import ReadBack

DIGEST = b"0123456789abcdef"
NAME, OTHER = "a" * 32, "b" * 32
INCIDENT = LinkedIncident(
    incident_id=NAME,
    revision=1,
    status="retracted",
    shot=LinkedShot("S", "single_gunshot", 0, 41.76, -72.67, stamp_ms=0),
    vehicle=LinkedVehicle("H", "SIM101", 0, stamp_ms=0),
    sightings=[],
    set_aside=[],
    left_out_from_ms=None,
    score=0.0,
    strength="low",
    reasons=[],
    warnings=[],
    zone_id="city",
    review=[],
    frozen_at_ms=0,
    caution="",
)


@dataclass
class Row:
    value: bytes | None
    key: bytes = NAME.encode()
    headers: Sequence[tuple[str, bytes]] = (("rampwatch-digest", DIGEST),)
    topic: str = "linked-incidents"
    partition: int = 3
    offset: int = 7


def row(revision: int = 1, name: str = NAME, digest: bytes = DIGEST) -> Row:
    incident = structs.replace(INCIDENT, incident_id=name, revision=revision)
    return Row(json.encode(incident), name.encode(), [("rampwatch-digest", digest)])


def unreadable(name: str = NAME) -> Row:
    return Row(b'{"of": "a later version"}', name.encode())


def read_back(*rows: Row, republish: bool = False) -> ReadBack:
    back = ReadBack(DIGEST, republish)
    for each in rows:
        back.add(each)
    return back


def revisions(back: ReadBack) -> dict[str, int]:
    return {published.incident.incident_id: published.incident.revision for published in back.published}


def test_the_greatest_revision_counts_whatever_the_order():
    assert revisions(read_back(row(1), row(3), row(2), row(1, OTHER), Row(None))) == {NAME: 3, OTHER: 1}


@pytest.mark.parametrize(
    ("digest", "republish", "facts"),
    [
        (DIGEST, False, (False, False)),
        (DIGEST, True, (False, False)),
        (b"other", False, (True, True)),
        (b"other", True, (True, False)),
    ],
)
def test_an_incident_under_another_digest_stands_unless_republishing_is_on(digest, republish, facts):
    (published,) = read_back(row(digest=digest), republish=republish).published
    assert (published.under_other_digest, published.stands) == facts


def test_an_incident_whose_last_row_cannot_be_read_is_withheld_and_the_others_are_not(
    caplog: pytest.LogCaptureFixture,
):
    back = read_back(row(4), row(1, OTHER), unreadable())
    assert (back.withheld, revisions(back)) == ({NAME}, {OTHER: 1})
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith("linked-incidents-3 offset 7: published by another version of rampwatch")


@pytest.mark.parametrize("before", [[], [row(9)]])
def test_a_later_row_that_can_be_read_ends_the_withholding(before):
    back = read_back(*before, unreadable(), row(6))
    assert (back.withheld, revisions(back)) == (frozenset(), {NAME: 6})


def test_a_foreign_record_is_skipped_and_withholds_nothing(caplog: pytest.LogCaptureFixture):
    back = read_back(row(2), Row(b"{}", headers=()), Row(b"\xff", headers=()))
    assert (back.withheld, revisions(back)) == (frozenset(), {NAME: 2})
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
