"""Run many worlds: ``python -m tests.simulation MODE WORLDS [FIRST] [WITHOUT]``.

``WITHOUT`` names a mutation of `tests.simulation.mutations`: then worlds should go wrong, and the
first of those that do are listed.
"""

from __future__ import annotations

import multiprocessing
import sys
import traceback
from functools import partial

import pytest

from tests.simulation.mutations import MUTATIONS
from tests.simulation.runs import Result, run_world

PROCESSES = 2


def run(seed: int, mode: str, without: str) -> tuple[int, Result]:
    """Run one world; an exception counts as a fault."""
    with pytest.MonkeyPatch.context() as patch:
        try:
            return seed, run_world(seed, mode, *((MUTATIONS[without](patch),) if without else ()))
        except Exception:
            return seed, Result([traceback.format_exc()])


def main(mode: str, worlds: str, first: str = "0", without: str = "") -> int:
    """Run the worlds, print totals and the first faults, and return the exit code."""
    seeds = range(int(first), int(first) + int(worlds))
    wrong: dict[int, list[str]] = {}
    incidents = published = crashes = 0
    with multiprocessing.Pool(PROCESSES) as pool:
        results = pool.imap_unordered(partial(run, mode=mode, without=without), seeds, chunksize=5)
        for n, (seed, one) in enumerate(results, 1):
            incidents, published, crashes = incidents + one.incidents, published + one.published, crashes + one.crashes
            if one.faults:
                wrong[seed] = one.faults
            if n % 500 == 0:
                sys.stderr.write(f"{n} of {len(seeds)} worlds, {len(wrong)} wrong\n")
    sys.stdout.write(
        f"{mode}{' without ' + without if without else ''}: {len(seeds)} worlds, {incidents} incidents, "
        f"{published} revisions, {crashes} crashes; wrong: {len(wrong)} {sorted(wrong)[:12]}\n"
    )
    for seed in sorted(wrong)[: 0 if without and len(seeds) > 1 else 3]:
        sys.stdout.write("\n  ".join((str(seed), *wrong[seed][:5])) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
