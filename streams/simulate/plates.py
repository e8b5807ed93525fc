"""Invented plates, and what cameras and lists make of them.

No plate here is anybody's. Each is two letters, one of them X or Q and the other from J K Q V W X Y, then five
digits, drawn at random: it looks like a plate to every check, and like an invented one to people. Where some state has
issued one of them, that is chance, and nothing is known here about the car that bears it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from streams.core.plates import fold
from streams.core.site import Ramp
from streams.simulate.plan import CityPlan

# No pair twice the same letter: QQ00000 would fold to a row of zeros, which cameras write where they read nothing.
_PAIRS: Final = tuple(first + second for first in "XQ" for second in "JKQVWXY" if first != second)
_SERIALS: Final = 100_000
PLATES: Final = len(_PAIRS) * _SERIALS
"""How many different plates can be invented; no two of them have one plate key."""

_CHARACTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
# Each character with the others of its class: what a lookalike may have in its place.
_CONFUSED_WITH: Final = {
    one: "".join(other for other in _CHARACTERS if other != one and fold(other) == fold(one)) for one in _CHARACTERS
}


class Car(NamedTuple):
    """A car and its plate; ``region`` is the issuing state."""

    plate: str
    plate_key: str
    region: str
    make: str
    model: str
    colour: str
    year: int


class Passage(NamedTuple):
    """What really happened: a car passed a ramp; ``drive`` is the number of the drive that it was part of, or -1."""

    at_ms: int
    car: Car
    ramp: Ramp
    drive: int


class Cameras:
    """What the cameras report of the passages, with the plan's faults.

    Each fault draws from a stream of its own, once for each passage and more often only where it strikes: a fault
    turned on leaves all other reads as they were.
    """

    def __init__(self, plan: CityPlan) -> None:
        self._plan = plan
        self._camera_ids: dict[str, str] = {}  # one text a camera, not one a read
        self._usual = random.Random(f"{plan.seed}/cameras")
        self._missing, self._misreading, self._region, self._doubt, self._delay, self._again = (
            random.Random(f"{plan.seed}/{fault}")
            for fault in ("missing", "misreading", "region", "doubt", "delay", "again")
        )

    def records(self, read_id: str, passage: Passage) -> Iterator[tuple[int, str, dict[str, Any]]]:
        """Yield stamp in ms, plate key and value of each record of a passage: none if missed, two if repeated."""
        plan, usual = self._plan, self._usual
        at_ms, car, ramp, _ = passage
        confidence = 0.85 + 0.14 * usual.random()
        stamp_ms = at_ms + 200 + int(2_800 * usual.random())
        if self._delay.random() < plan.late_share:
            stamp_ms += self._delay.randrange(2 * 60_000, 40 * 60_000)
        if self._doubt.random() < plan.low_confidence_share:
            confidence -= self._doubt.uniform(0.1, 0.5)
        plate, key = car.plate, car.plate_key
        if self._misreading.random() < plan.misread_share:
            plate = misread(plate, plan.misread_lookalike_share, self._misreading)
            key = fold(plate)
            confidence -= self._misreading.uniform(0.0, 0.2)
        value: dict[str, Any] = {
            "read_id": read_id,
            "plate": plate,
            "captured_at_ms": at_ms,
            "ramp_id": ramp.ramp_id,
            "camera_id": self._camera_ids.setdefault(ramp.ramp_id, ramp.ramp_id + "-1"),
            "confidence": round(confidence, 3),
            "direction": ramp.direction,
            "make": car.make,
            "colour": car.colour,
        }
        if self._region.random() >= plan.region_unknown_share:
            value["region"] = car.region
        repeated = self._again.random() < plan.duplicate_share
        again_ms = self._again.randrange(100, 5_000) if repeated else 0
        if self._missing.random() < plan.miss_share:
            return
        yield stamp_ms, key, value
        if repeated:
            yield stamp_ms + again_ms, key, value


def invented_plates(count: int, rng: random.Random) -> list[str]:
    """Return ``count`` different plates with different plate keys; ValueError where there are not as many."""
    if count > PLATES:
        raise ValueError(f"{count} cars need a plate each and only {PLATES} can be invented: simulate fewer cars.")
    return [f"{_PAIRS[number // _SERIALS]}{number % _SERIALS:05d}" for number in rng.sample(range(PLATES), count)]


def misread(plate: str, confusable_share: float, rng: random.Random) -> str:
    """Return the plate with one character wrong: a lookalike in ``confusable_share`` of the cases, else any other.

    A plate without a confusable character has no lookalike, and is misread as any other.
    """
    places = [place for place, character in enumerate(plate) if _CONFUSED_WITH[character]]
    if places and rng.random() < confusable_share:
        place = rng.choice(places)
        return _with(plate, place, rng.choice(_CONFUSED_WITH[plate[place]]))
    place = rng.randrange(len(plate))
    others = [one for one in _CHARACTERS if fold(one) != fold(plate[place])]
    return _with(plate, place, rng.choice(others))


def mistyped(plate: str, rng: random.Random) -> str:
    """Return the plate with one of its digits replaced by another, so that its plate key differs."""
    place = rng.choice([place for place, character in enumerate(plate) if character.isdigit()])
    return _with(plate, place, rng.choice([digit for digit in "0123456789" if digit != plate[place]]))


def _with(plate: str, place: int, character: str) -> str:
    return plate[:place] + character + plate[place + 1 :]
