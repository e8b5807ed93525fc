"""A question to the broker that is asked now and then, and that nobody waits for.

Where partitions end is such a question: the answer may take a minute and a half while one of the brokers is away, and
what the others have must be joined meanwhile.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

QUERY_EVERY_S: Final = 1.0
"""How often the ends of partitions are asked for: it bounds how late memory is released."""


class PeriodicQuery(Generic[T]):
    """Asks in the background, one question at a time."""

    def __init__(self, ask: Callable[[], Coroutine[Any, Any, T]], every_s: float = QUERY_EVERY_S) -> None:
        self._ask = ask
        self._every_s = every_s
        self._asked: asyncio.Task[T] | None = None
        self._asked_at_s = -math.inf

    def answer(self) -> T | None:
        """Return the answer if it has come since the last look; ask again when it is time.

        Raises what asking raises.
        """
        asked = self._asked
        if asked is not None:
            if not asked.done():
                return None
            self._asked = None
            return asked.result()
        now_s = asyncio.get_running_loop().time()
        if now_s - self._asked_at_s >= self._every_s:
            self._asked_at_s = now_s
            self._asked = asyncio.ensure_future(self._ask())
        return None

    async def stop(self) -> None:
        """Ask no more, and care for no answer."""
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
