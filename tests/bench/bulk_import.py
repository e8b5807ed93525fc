"""Shots while the stolen list is imported in bulk into a partition that keeps millions of reads.

Run ``.venv/bin/python -m tests.bench.bulk_import --reads 4000000 --hits 100000`` (several minutes,
most of them to fill the topic). It starts a local Kafka and one worker with one partition.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import multiprocessing
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams.bench.traffic import certain_matches, fill, read_of, shot_at
from streams.core.topics import HITS, INCIDENTS, READS
from streams.local_broker.broker import LocalBroker
from streams.resources.sites import load_site
from streams.settings import Settings
from tests.drivers.topics import topics_of
from tests.drivers.workers import Worker, await_handled, worker

PREFIX: Final = "import-"
PROCESSES: Final = 2
SHOTS_PER_S: Final = 5
READ_AND_LISTED: Final = 0.05
"""The share of the listed plates that were read before."""
READ_BEFORE_MS: Final = 3 * 3_600_000
"""How long before the shots: what is read around them is another measurement, a hot plate."""
WAIT_S_MAX: Final = 900


class Figures(msgspec.Struct, frozen=True):
    """What an import took, and what shots took meanwhile, from being sent to being consumed."""

    reads: int
    hits: int
    import_s: float
    shots: int
    shot_p50_ms: float
    shot_p99_ms: float
    shot_max_ms: float
    takeovers: int
    """One at the start of the worker; more mean that it lost its partitions meanwhile."""


def measure(settings: Settings, folder: Path, reads: int, hits: int) -> Figures:
    """Fill the topics of ``settings``, which have one partition, and import ``hits``."""
    parts = [multiprocessing.Process(target=_fill_part, args=(settings, reads, n)) for n in range(PROCESSES)]
    for part in parts:
        part.start()
    for part in parts:
        part.join()
    seen_at_ms = round(time.time() * 1000)
    rows, ramps = certain_matches(load_site(settings.site), seen_at_ms)
    asyncio.run(fill(settings.broker, settings.prefix, rows))
    with worker(settings, folder) as running:
        await_handled(settings, running, wait_s_max=WAIT_S_MAX)
        import_s, shots_ms = asyncio.run(_import(settings, running, hits, itertools.cycle(ramps), seen_at_ms))
        log = running.log_text()
    shots_ms.sort()
    return Figures(
        reads=reads,
        hits=hits,
        import_s=round(import_s, 1),
        shots=len(shots_ms),
        shot_p50_ms=round(shots_ms[len(shots_ms) // 2]),
        shot_p99_ms=round(shots_ms[len(shots_ms) * 99 // 100]),
        shot_max_ms=round(shots_ms[-1]),
        takeovers=log.count(" rebuilt: "),
    )


def _fill_part(settings: Settings, reads: int, part: int) -> None:
    rng, ramps = random.Random(part), list(load_site(settings.site).ramps)
    at_ms = round(time.time() * 1000) - READ_BEFORE_MS
    asyncio.run(
        fill(
            settings.broker,
            settings.prefix,
            (
                (READS, plate, read_of(plate, f"read-{n:012}", at_ms, rng.choice(ramps)))
                for n in range(part, reads, PROCESSES)
                for plate in (_read_plate(rng.randrange(reads)),)
            ),
        )
    )


def _read_plate(n: int) -> str:
    return f"R{n % 1_000_000:06}"


def _hits(count: int, at_ms: int) -> Iterator[tuple[str, str, bytes]]:
    for n in range(count):
        plate = _read_plate(n) if n < count * READ_AND_LISTED else f"N{n:06}"
        yield HITS, plate, msgspec.json.encode({"hit_id": f"H{n}", "plate": plate, "reported_at_ms": at_ms})


async def _import(
    settings: Settings, running: Worker, hits: int, ramps: Iterator[Any], seen_at_ms: int
) -> tuple[float, list[float]]:
    """Import hits and send shots until all hits are counted; return seconds, and milliseconds."""
    sent_s: dict[str, float] = {}
    took_ms: dict[str, float] = {}
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.broker, enable_auto_commit=False, isolation_level="read_committed"
    )
    async with AIOKafkaProducer(bootstrap_servers=settings.broker) as producer, consumer:
        consumer.assign([TopicPartition(settings.prefix + INCIDENTS, 0)])
        await consumer.seek_to_end()

        async def watch() -> None:
            while True:
                for row in itertools.chain(*(await consumer.getmany(timeout_ms=200)).values()):
                    name = msgspec.json.decode(row.value)["shot"]["alert_id"]
                    if name in sent_s:
                        took_ms.setdefault(name, 1000 * (time.perf_counter() - sent_s[name]))

        watching = asyncio.ensure_future(watch())
        before = running.outcomes()[HITS].total()
        began_s = time.perf_counter()
        importing = asyncio.ensure_future(fill(settings.broker, settings.prefix, _hits(hits, seen_at_ms)))
        finished_s = 0.0
        for n in itertools.count():
            topic, key, value = shot_at(next(ramps), f"shot-{n}", seen_at_ms)
            sent_s[f"shot-{n}"] = time.perf_counter()
            await producer.send(settings.prefix + topic, value, key.encode())
            await asyncio.sleep(1 / SHOTS_PER_S)
            if (await asyncio.to_thread(running.outcomes))[HITS].total() - before >= hits:
                finished_s = time.perf_counter() - began_s
                break
            running.assert_runs()
            assert time.perf_counter() - began_s < WAIT_S_MAX, "the import does not end"
        await importing
        deadline_s = time.perf_counter() + 30
        while len(took_ms) < len(sent_s) and time.perf_counter() < deadline_s:
            await asyncio.sleep(0.1)
        watching.cancel()
    missing = sent_s.keys() - took_ms.keys()
    assert not missing, f"no incident of {len(missing)} shots of {len(sent_s)}"
    return finished_s, list(took_ms.values())


def main() -> None:
    """Measure and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reads", type=int, default=4_000_000)
    parser.add_argument("--hits", type=int, default=100_000)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalBroker.start() as broker,
        topics_of(broker.address, PREFIX, partitions=1) as settings,
    ):
        print(
            msgspec.json.format(
                msgspec.json.encode(measure(settings, Path(folder), options.reads, options.hits))
            ).decode()
        )


if __name__ == "__main__":
    main()
