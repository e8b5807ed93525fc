"""Long work lets the rest of the worker run: heartbeats are not late, whatever arrives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from streams.worker.pacing import paced


def busy(steps: int, step_s: float) -> Iterator[int]:
    for n in range(steps):
        until_s = time.perf_counter() + step_s
        while time.perf_counter() < until_s:
            pass
        yield n


async def longest_wait_s(steps: Iterator[int]) -> tuple[list[int], float, int]:
    """Run the steps beside a task that wants to run all the time; return its longest wait."""
    longest_s, marks = 0.0, 0

    async def beat() -> None:
        nonlocal longest_s
        before_s = time.perf_counter()
        while True:
            await asyncio.sleep(0)
            now_s = time.perf_counter()
            longest_s, before_s = max(longest_s, now_s - before_s), now_s

    def mark() -> None:
        nonlocal marks
        marks += 1

    beating = asyncio.ensure_future(beat())
    await asyncio.sleep(0)
    done = [step async for step in paced(steps, mark)]
    await asyncio.sleep(0)
    beating.cancel()
    return done, longest_s, marks


def test_work_of_half_a_second_holds_the_loop_for_a_twentieth_of_it_at_most() -> None:
    done, waited_s, marks = asyncio.run(longest_wait_s(busy(250, 0.002)))
    assert done == list(range(250))
    assert waited_s < 0.2
    assert marks >= 5


def test_short_work_is_not_interrupted() -> None:
    done, _, marks = asyncio.run(longest_wait_s(iter(range(3))))
    assert (done, marks) == ([0, 1, 2], 0)
