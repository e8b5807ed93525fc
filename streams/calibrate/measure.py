"""Quality of a ranking: precision, recall and average precision."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter

from msgspec import Struct

Ranked = tuple[float, bool]
"""The rank of a link (higher is better), and whether the link is true."""


class Quality(Struct, frozen=True):
    """The numbers of proposed links, of true ones among them, and of all true links."""

    proposed: int
    correct: int
    true_links: int

    @property
    def precision(self) -> float:
        """Share of the proposed links that are true; 1 if none was proposed."""
        return self.correct / self.proposed if self.proposed else 1.0

    @property
    def recall(self) -> float:
        """Share of the true links that were proposed; 1 if there are none."""
        return self.correct / self.true_links if self.true_links else 1.0


def quality(labels: Iterable[bool], true_links: int) -> Quality:
    """Return the quality of proposed links, given whether each is true."""
    known = list(labels)
    return Quality(len(known), sum(known), true_links)


def average_precision(ranking: Sequence[Ranked], true_links: int) -> float:
    """Return the mean, over all true links, of the precision at the rank of each.

    A true link missing from the ranking contributes 0. Ties form a single step, so the order within
    them has no effect: a ranking in which all are tied gets its precision times its recall.
    """
    if not true_links:
        return 1.0
    proposed = correct = 0
    total = 0.0
    for _, tied in groupby(sorted(ranking, key=itemgetter(0), reverse=True), key=itemgetter(0)):
        labels = [linked for _, linked in tied]
        proposed += len(labels)
        correct += sum(labels)
        total += sum(labels) * correct / proposed
    return total / true_links
