"""Records with header names that are not UTF-8, which no library's producer sends.

They are usable otherwise, and are judged like all others. A library's own parser of such a record
raises, again and again: the worker must read it nevertheless.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence

from aiokafka.errors import KafkaError

from streams.kafka.partitioner import partition_of
from streams.settings import Settings
from tests.chaos.schedule import Gap
from tests.drivers.batches import batch, record, send
from tests.oracle.records import ACTIONS, HITS, READS, SHOTS, TOPICS, Value, plate_key

EVERY_S = 5.0
BAD_NAME = (b"caf\xe9 \xff", b"text")


class RawPublisher:
    """Publishes a record of each topic in turn, except in idle gaps."""

    def __init__(self, settings: Settings, gaps: Sequence[Gap]) -> None:
        self.published = 0
        self._settings = settings
        self._gaps = gaps

    async def run(self, begin_s: float, until_s: float) -> None:
        """Publish from ``begin_s`` to ``until_s`` of the loop's clock; what fails is left out."""
        loop = asyncio.get_running_loop()
        while (now_s := loop.time()) < until_s:
            if not any(from_s <= now_s - begin_s < to_s for from_s, to_s in self._gaps):
                topic, key, value = _value(self.published)
                partition = 0 if topic in (SHOTS, ACTIONS) else partition_of(key, self._settings.partitions)
                raw = batch([record(0, json.dumps(value).encode(), [BAD_NAME], key.encode())])
                name = self._settings.prefix + topic
                try:
                    await asyncio.to_thread(send, self._settings.broker, name, partition, raw)
                    self.published += 1
                except (KafkaError, OSError, AssertionError):
                    pass  # the broker is away
            await asyncio.sleep(EVERY_S)


def _value(number: int) -> tuple[str, str, Value]:
    """Topic, key and value of a record with this number."""
    now_ms, name, plate = round(time.time() * 1000), f"raw {number}", f"URAW{number // 4:05d}"
    topic = TOPICS[number % len(TOPICS)]
    if topic == SHOTS:
        shot = {"alert_id": name, "kind": "single_gunshot", "occurred_at_ms": now_ms}
        return topic, name, shot | {"lat": 41.76, "lon": -72.67}
    if topic == HITS:
        return topic, plate_key(plate), {"hit_id": name, "plate": plate, "reported_at_ms": now_ms}
    if topic == READS:
        read = {"read_id": name, "plate": plate, "captured_at_ms": now_ms, "ramp_id": "ramp-0"}
        return topic, plate_key(plate), read | {"camera_id": "c", "confidence": 0.9}
    action = {"action_id": name, "incident_id": name, "kind": "acknowledge"}
    return topic, name, action | {"by": "desk", "at_ms": now_ms}
