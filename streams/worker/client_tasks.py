"""Watches the background tasks of aiokafka's consumers.

When one of them fails, aiokafka logs it and goes on without: it joins no group, fetches nothing or
learns nothing of the cluster any more, for ever, and no call of ours fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


def watch_tasks(consumer: Any, failed: Callable[[BaseException], None]) -> None:  # noqa: ANN401 - aiokafka has no types
    """Call ``failed`` with the error if a background task of a started consumer fails."""

    def check(task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            failed(error)

    coordination = getattr(consumer._coordinator, "_coordination_task", None)
    for task in (consumer._fetcher._fetch_task, consumer._client._sync_task, coordination):
        if task is not None:
            task.add_done_callback(check)
