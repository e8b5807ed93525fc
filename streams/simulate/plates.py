"""Invented plates, camera misreads and typing errors.

No plate here is taken from a real car. Each has two letters, the first X or Q and the second from
J K Q V W X Y, followed by five random digits. Such a plate passes every check, yet people recognise
it as invented. If a state has issued one of them, that is a coincidence.
"""

from __future__ import annotations

import random
from typing import Final, NamedTuple

from streams.core.site import Ramp

# No pair repeats a letter: the confusion key of QQ00000 would be all zeros, which is what cameras
# report when they read nothing.
_PAIRS: Final = tuple(first + second for first in "XQ" for second in "JKQVWXY" if first != second)
_SERIALS: Final = 100_000
PLATES: Final = len(_PAIRS) * _SERIALS
"""Number of plates that can be invented, each with its own plate key."""

# Lookalikes that each character is misread as. A repeated character is proportionally likelier. The
# frequencies are guesses from the shapes, not measurements.
_LOOKALIKES: Final = {
    "0": "OOODQ", "O": "000DQ", "D": "00OOQ", "Q": "000OOD",
    "1": "I", "I": "1", "2": "Z", "Z": "2", "5": "S", "S": "5", "8": "B", "B": "8", "6": "G", "G": "6",
}  # fmt: skip
# The same for characters that are not lookalikes. A 3 read as a 7, and a 7 read as a 2, have each
# led to the stop of an innocent driver.
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
    """Ground truth: a car passed a ramp.

    ``drive`` is the index of the linked drive that the passage belongs to, or -1.
    """

    at_ms: int
    car: Car
    ramp: Ramp
    drive: int


def invented_plates(count: int, rng: random.Random) -> list[str]:
    """Return ``count`` plates with distinct plate keys.

    Raises ValueError for a count above `PLATES`.
    """
    if count > PLATES:
        raise ValueError(f"{count} cars: expected at most {PLATES}, the number of invented plates; simulate fewer cars")
    return [f"{_PAIRS[number // _SERIALS]}{number % _SERIALS:05d}" for number in rng.sample(range(PLATES), count)]


def misread(plate: str, lookalike_share: float, rng: random.Random) -> str:
    """Return the plate with one character misread.

    The error is a lookalike with probability ``lookalike_share``, provided that the plate has a
    character with lookalikes.
    """
    positions = [position for position, character in enumerate(plate) if character in _LOOKALIKES]
    if positions and rng.random() < lookalike_share:
        position = rng.choice(positions)
        return _with(plate, position, rng.choice(_LOOKALIKES[plate[position]]))
    position = rng.randrange(len(plate))
    return _with(plate, position, rng.choice(_OTHERS[plate[position]]))


def mistyped(plate: str, rng: random.Random) -> str:
    """Return the plate with one digit replaced by another digit, so that its plate key differs."""
    position = rng.choice([position for position, character in enumerate(plate) if character.isdigit()])
    return _with(plate, position, rng.choice([digit for digit in "0123456789" if digit != plate[position]]))


def _with(plate: str, position: int, character: str) -> str:
    return plate[:position] + character + plate[position + 1 :]
