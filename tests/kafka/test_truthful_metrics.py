"""A worker's figures say how it is while it rebuilds, and while topics or the broker are away."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from prometheus_client.parser import text_string_to_metric_families

from streams.core.events import InvalidRecord
from streams.core.topics import DEAD_LETTERS, HITS, INCIDENTS, INPUTS, READS
from streams.kafka import topics
from streams.local_broker.broker import LocalBroker
from streams.replay.player import Playable
from streams.settings import Settings
from tests.drivers.brokers import Broker
from tests.drivers.promtool import promtool_complaints
from tests.drivers.topics import publish, topics_of
from tests.drivers.waiting import eventually
from tests.drivers.workers import Worker, await_handled, worker
from tests.worlds.pairs import EVENING_MS, pair

READS_TO_REBUILD = 60_000
READS_BEHIND = 30_000
NOT_READY_WITHIN_S = 15.0


def value(page: str, name: str, **labels: str) -> float:
    """The value of the only series of a metric with these labels."""
    (found,) = [
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    return found


def reasons(running: Worker) -> list[str]:
    """Why a worker is not ready, according to itself; empty if it is."""
    status, text = running.page("/health/ready")
    content: dict[str, Any] = json.loads(text)
    assert (status == 200) == content["ready"] == (content["reasons"] == [])
    return list(content["reasons"])


def eventually_not_ready(running: Worker, reason: str) -> None:
    """Wait until a worker says this, and hold that it does so within some seconds, and stays alive."""
    began_s = time.monotonic()
    eventually([running], lambda: any(reason in each for each in reasons(running)), f"never said: {reason}")
    assert time.monotonic() - began_s < NOT_READY_WITHIN_S
    assert running.page("/health/live")[0] == 200
