"""Invented plates, and the mistakes that cameras and lists make in them.

No plate here is anybody's. Each is two letters, one of them X or Q and the other from J K Q V W X Y, then five
digits, drawn at random: it looks like a plate to every check, and like an invented one to people. Where some state has
issued one of them, that is chance, and nothing is known here about the car that bears it.
"""

from __future__ import annotations

import random
from typing import Final, NamedTuple

from streams.core.site import Ramp

# No pair twice the same letter: QQ00000 would fold to a row of zeros, which cameras write where they read nothing.
_PAIRS: Final = tuple(first + second for first in "XQ" for second in "JKQVWXY" if first != second)
_SERIALS: Final = 100_000
PLATES: Final = len(_PAIRS) * _SERIALS
"""How many different plates can be invented; no two of them have one plate key."""

# What each character is mistaken for within its class, the likelier the more often it stands there. Plausible from
# their shapes; measured nowhere.
_LOOKALIKES: Final = {
    "0": "OOODQ", "O": "000DQ", "D": "00OOQ", "Q": "000OOD",
    "1": "I", "I": "1", "2": "Z", "Z": "2", "5": "S", "S": "5", "8": "B", "B": "8", "6": "G", "G": "6",
}  # fmt: skip
# The same beyond its class: a 3 read as a 7, and a 7 as a 2, have each stopped an innocent driver.
_OTHERS: Final = {
    "0": "88C6U9", "1": "77LT4J", "2": "777731", "3": "88879B5", "4": "AA1H9", "5": "66369", "6": "8850C",
    "7": "1122TY", "8": "3336690", "9": "8834PQ", "A": "44RH", "B": "33ER6", "C": "GG0O", "D": "BBP", "E": "FFFB8",
    "F": "EEEPT", "G": "CCC0", "H": "NNMKW4", "I": "LTJ7", "J": "UI1", "K": "XXHR", "L": "1IIT", "M": "NNNHW",
    "N": "MMMHW", "O": "CCU8", "P": "RRRFD", "Q": "CG9", "R": "PPPKA", "S": "338", "T": "77Y1I", "U": "VVVJ0",
    "V": "YYYUW", "W": "VVM", "X": "KKKY", "Y": "VVVTX", "Z": "777",
}  # fmt: skip


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


def invented_plates(count: int, rng: random.Random) -> list[str]:
    """Return ``count`` different plates with different plate keys; ValueError where there are not as many."""
    if count > PLATES:
        raise ValueError(f"{count} cars need a plate each and only {PLATES} can be invented: simulate fewer cars.")
    return [f"{_PAIRS[number // _SERIALS]}{number % _SERIALS:05d}" for number in rng.sample(range(PLATES), count)]


def misread(plate: str, confusable_share: float, rng: random.Random) -> str:
    """Return the plate with one character wrong: a lookalike in ``confusable_share`` of the cases, else any other.

    A plate without a confusable character has no lookalike, and is misread as any other.
    """
    places = [place for place, character in enumerate(plate) if character in _LOOKALIKES]
    if places and rng.random() < confusable_share:
        place = rng.choice(places)
        return _with(plate, place, rng.choice(_LOOKALIKES[plate[place]]))
    place = rng.randrange(len(plate))
    return _with(plate, place, rng.choice(_OTHERS[plate[place]]))


def mistyped(plate: str, rng: random.Random) -> str:
    """Return the plate with one of its digits replaced by another, so that its plate key differs."""
    place = rng.choice([place for place, character in enumerate(plate) if character.isdigit()])
    return _with(plate, place, rng.choice([digit for digit in "0123456789" if digit != plate[place]]))


def _with(plate: str, place: int, character: str) -> str:
    return plate[:place] + character + plate[place + 1 :]
