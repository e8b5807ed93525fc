"""Gives the event loop back during long work: heartbeats, health pages and signals must go on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final, TypeVar

T = TypeVar("T")

_TURN_S_MAX: Final = 0.005
"""How long work goes on before the rest of the worker gets its turn."""


async def paced(steps: Iterable[T], mark: Callable[[], None] = lambda: None) -> AsyncIterator[T]:
    """Yield the steps; let the rest of the worker run between them, about every 5 ms.

    ``steps`` must take milliseconds each. ``mark`` is called at each pause: work that goes on is
    progress.
    """
    began_s = time.monotonic()
    for step in steps:
        yield step
        if time.monotonic() - began_s > _TURN_S_MAX:
            mark()
            await asyncio.sleep(0)
            began_s = time.monotonic()
