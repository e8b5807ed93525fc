"""Run many worlds through the shell: ``python -m simulation.recoveries MODE WORLDS [FIRST] [WITHOUT]`` in ``tests``.

``WITHOUT`` is a rule of `taken_away`: then worlds are expected to diverge, and the first of them are named.
"""

from __future__ import annotations

import multiprocessing
import sys
import traceback
from functools import partial

import pytest

from tests.simulation.runs import Ran, run_world


def command(seed: int, mode: str) -> str:
    """What to type to see one world again."""
    return f"(cd tests && ../.venv/bin/python -m simulation.recoveries {mode} 1 {seed})"


def ran(seed: int, mode: str, without: str) -> tuple[int, Ran]:
    """Run one world; an exception is a fault like any."""
    with pytest.MonkeyPatch.context() as patch:
        try:
            if not without:
                return seed, run_world(seed, mode)
            from .taken_away import RULES

            return seed, run_world(seed, mode, RULES[without](patch))
        except Exception:
            return seed, Ran([traceback.format_exc()])


def main(mode: str, worlds: str, first: str = "0", without: str = "") -> int:
    seeds = range(int(first), int(first) + int(worlds))
    wrong: dict[int, list[str]] = {}
    incidents = published = crashes = 0
    with multiprocessing.Pool(2) as pool:
        runs = pool.imap_unordered(partial(ran, mode=mode, without=without), seeds, chunksize=5)
        for n, (seed, how) in enumerate(runs, 1):
            incidents, published, crashes = incidents + how.incidents, published + how.published, crashes + how.crashes
            if how.faults:
                wrong[seed] = how.faults
            if n % 500 == 0:
                sys.stderr.write(f"{n} of {len(seeds)} worlds, {len(wrong)} divergent\n")
    sys.stdout.write(
        f"{mode}{' without ' + without if without else ''}: {len(seeds)} worlds, {incidents} incidents, "
        f"{published} revisions, {crashes} crashes; divergent: {len(wrong)} {sorted(wrong)[:12]}\n"
    )
    for seed in sorted(wrong)[: 0 if without and len(seeds) > 1 else 3]:
        sys.stdout.write("\n  ".join((str(seed), *wrong[seed][:5])) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
