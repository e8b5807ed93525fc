"""How good a ranking is: precision, recall and average precision, with everything that was there to find counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter

from msgspec import Struct

Ranked = tuple[float, bool]
"""How high something is ranked, and whether it was true."""


class Quality(Struct, frozen=True):
    """``named``: how many were put forward; precision and recall are shares of them and of what there was to find."""

    named: int
    right: int
    to_find: int

    @property
    def precision(self) -> float:
        """The share of what was put forward that was true; 1 where nothing was."""
        return self.right / self.named if self.named else 1.0

    @property
    def recall(self) -> float:
        """The share of what there was to find that was put forward; 1 where there was nothing."""
        return self.right / self.to_find if self.to_find else 1.0


def quality(named: Iterable[bool], to_find: int) -> Quality:
    """Return the quality of what was put forward, each true or not."""
    verdicts = list(named)
    return Quality(len(verdicts), sum(verdicts), to_find)


def average_precision(ranking: Sequence[Ranked], to_find: int) -> float:
    """Return the mean, over everything there was to find, of the precision down to where it is ranked.

    What is not ranked at all counts 0. Equal ranks are one step, so a ranking that says nothing gets its precision
    times its recall, and no luck of the order.
    """
    if not to_find:
        return 1.0
    named = right = 0
    total = 0.0
    for _, tied in groupby(sorted(ranking, key=itemgetter(0), reverse=True), key=itemgetter(0)):
        verdicts = [linked for _, linked in tied]
        named += len(verdicts)
        right += sum(verdicts)
        total += sum(verdicts) * right / named
    return total / to_find
