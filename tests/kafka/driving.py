"""Real worker processes on a real Kafka, for tests: started, fed, waited for, stopped, and what they wrote read back.

Whatever waits, waits for a condition and for a bounded time, and ends at once with the worker's own words where a
worker has ended. The functions block; each has an event loop of its own.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from prometheus_client.parser import text_string_to_metric_families

from streams.core.events import COUNTED, DEAD_LETTERS, INCIDENTS, INPUTS
from streams.core.rules import JoinRules
from streams.kafka import topics
from streams.replay.archive import line_with, read_archive
from streams.replay.compare import differences
from streams.replay.player import Playable, play
from streams.replay.run import replay
from streams.resources.sites import load_site
from streams.settings import Settings, as_environment

WAIT_S_MAX = 60.0
STOP_S_MAX = 20.0
FAST = {"RAMPWATCH_SESSION_TIMEOUT_MS": "6000"}
"""The least that brokers take as they come: so long a killed worker's partitions wait for the next."""
COMMAND = [sys.executable, "-m", "streams.cli"]
DEFAULT_RULES = JoinRules()
STAMP_HEADER = "rampwatch-stamp-ms"

Outcomes = Mapping[str, Counter[Any]]
RawRow = tuple[str, bytes | None, list[tuple[str, bytes | None]]]


def environment(**more: str) -> dict[str, str]:
    """This process's environment without any setting of rampwatch, and ``more``."""
    return {name: text for name, text in os.environ.items() if not name.startswith("RAMPWATCH_")} | more


def access(settings: Settings) -> dict[str, str]:
    """The variables that name the broker and say who comes; the other settings are given otherwise, if at all."""
    names = ("RAMPWATCH_BROKER", "RAMPWATCH_SECURITY_", "RAMPWATCH_SASL_", "RAMPWATCH_SSL_")
    return {name: text for name, text in as_environment(settings).items() if name.startswith(names)}


def rampwatch(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=WAIT_S_MAX,
        check=False,
    )


def members_of(settings: Settings) -> int:
    """Return how many workers the settled consumer group has; 0 while it is settling."""
    return asyncio.run(_members_of(settings))


async def _members_of(settings: Settings) -> int:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker)
    await admin.start()
    try:
        (answer,) = await admin.describe_consumer_groups([settings.prefix + settings.group])
    finally:
        await admin.close()
    (group,) = answer.groups
    _, _, state, _, _, members, *_ = group
    return len(members) if state == "Stable" else 0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


# ---------------------------------------------------------------------- topics


@contextmanager
def topics_of(
    address: str, prefix: str, site: str = "hartford", join: JoinRules = DEFAULT_RULES, partitions: int = 12
) -> Iterator[Settings]:
    """All topics of a prefix, gone again afterwards; without one they stay."""
    settings = Settings(broker=address, prefix=prefix, site=site, join=join, partitions=partitions)
    asyncio.run(topics.create(settings))
    try:
        yield settings
    finally:
        if prefix:
            asyncio.run(topics.delete(settings))


def topic_names(address: str) -> list[str]:
    """Return the names of all topics there are."""
    return asyncio.run(_topic_names(address))


async def _topic_names(address: str) -> list[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        return list(await admin.list_topics())
    finally:
        await admin.close()


def publish(settings: Settings, records: Iterable[Playable]) -> Counter[str]:
    """Publish records in the order given, their stamps in headers, and return how many went to each topic."""
    records = list(records)
    asyncio.run(play(records, settings, None, 0))
    return Counter(record.topic for record in records)


def publish_raw(settings: Settings, rows: Sequence[RawRow]) -> None:
    """Publish what ``publish`` would not: (topic, value, headers), with a key that is no text."""
    asyncio.run(_publish_raw(settings, rows))


async def _publish_raw(settings: Settings, rows: Sequence[RawRow]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.broker, max_request_size=2**21) as producer:
        for topic, value, headers in rows:
            await producer.send_and_wait(settings.prefix + topic, value, b"\xff", headers=headers)


def read_topic(settings: Settings, topic: str) -> list[Any]:
    """Return all records of a topic (named without prefix) to its present end, by partition and offset."""
    return asyncio.run(_read_all(settings.broker, _partitions(settings, topic)))


async def _read_all(address: str, tps: list[TopicPartition]) -> list[Any]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=address, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        consumer.assign(tps)
        ends = await consumer.end_offsets(tps)
        rows: list[Any] = []
        deadline_s = time.monotonic() + WAIT_S_MAX
        while [tp for tp in tps if await consumer.position(tp) < ends[tp]]:
            assert time.monotonic() < deadline_s, f"{tps[0].topic} was not read to its end in time"
            rows += [row for batch in (await consumer.getmany(timeout_ms=200)).values() for row in batch]
    finally:
        await consumer.stop()
    return sorted(rows, key=lambda row: (row.partition, row.offset))


def _partitions(settings: Settings, topic: str) -> list[TopicPartition]:
    name = settings.prefix + topic
    count = next(planned.partitions for planned in topics.plan(settings) if planned.name == name)
    return [TopicPartition(name, number) for number in range(count)]


def headers_of(row: Any) -> dict[str, str]:
    return {name: text.decode() for name, text in row.headers}


def last_incidents(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the last word on each incident, by its id."""
    return {row.key.decode(): msgspec.json.decode(row.value) for row in read_topic(settings, INCIDENTS)}


def dead_letters(settings: Settings) -> list[tuple[str, str, str, bytes]]:
    """Return topic, reason, field and value of each dead letter, sorted."""
    rows = [(headers_of(row), row.value) for row in read_topic(settings, DEAD_LETTERS)]
    return sorted((h["rampwatch-topic"], h["rampwatch-reason"], h["rampwatch-field"], value) for h, value in rows)


# ---------------------------------------------------------------------- workers


class Worker:
    """A worker process; ``log`` is what it says, on both its outputs."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, metrics_port: int) -> None:
        self.process = process
        self.log = log
        self._metrics_port = metrics_port

    def said(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def assert_runs(self) -> None:
        code = self.process.poll()
        assert code is None, f"the worker ended with code {code}:\n{self.said()}"

    def stop(self) -> tuple[int, float]:
        """Ask it to end (SIGTERM) and return its exit code and how many seconds that took."""
        self.assert_runs()
        began_s = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(WAIT_S_MAX)
        return code, time.monotonic() - began_s

    def outcomes(self) -> dict[str, Counter[str]]:
        """Return how many records of each topic ended as what, as its metrics tell."""
        found: dict[str, Counter[str]] = {topic: Counter() for topic in INPUTS}
        for family in text_string_to_metric_families(self.metrics()):
            for sample in family.samples:
                if sample.name == "rampwatch_records_total":
                    found[sample.labels["topic"]][sample.labels["outcome"]] += round(sample.value)
        return found

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics_port}/metrics", timeout=WAIT_S_MAX) as page:
            text: str = page.read().decode()
        return text

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics_port}/health/ready", timeout=WAIT_S_MAX):
                return True
        except urllib.error.HTTPError:
            return False


@contextmanager
def worker(
    settings: Settings, folder: Path, *arguments: str, name: str = "worker", up: bool = True, **more: str
) -> Iterator[Worker]:
    """A worker process that is ``up``, with ``more`` in its environment; killed at the end where it still runs."""
    log, port = folder / f"{name}.log", free_port()
    variables = environment(
        **access(settings),
        **FAST,
        RAMPWATCH_PARTITIONS=str(settings.partitions),
        RAMPWATCH_METRICS_PORT=str(port),
        **more,
    )
    command = [*COMMAND, "worker", "--prefix", settings.prefix, "--site", settings.site, *arguments]
    with log.open("ab") as output:
        before = log.stat().st_size
        process = subprocess.Popen(command, env=variables, stdout=output, stderr=subprocess.STDOUT)
    started = Worker(process, log, port)
    with process:
        try:
            if up:
                eventually([started], lambda: b"worker up" in log.read_bytes()[before:], "the worker did not come up")
            yield started
        finally:
            process.kill()


def eventually(workers: Sequence[Worker], true: Callable[[], bool], otherwise: str) -> None:
    """Wait until a condition holds, at most WAIT_S_MAX; the workers must keep running meanwhile."""
    deadline_s = time.monotonic() + WAIT_S_MAX
    while not true():
        for each in workers:
            each.assert_runs()
        said = "\n".join(each.said() for each in workers)
        assert time.monotonic() < deadline_s, f"{otherwise} in {WAIT_S_MAX:.0f} s; the workers said:\n{said}"
        time.sleep(0.05)


def await_handled(
    settings: Settings, *workers: Worker, wait_s_max: float = WAIT_S_MAX, behind_markers: bool = False
) -> None:
    """Wait until the group has committed every record of the input topics: then all they say has been published.

    ``behind_markers``: each partition that has anything ends in a marker of a transaction, which nobody commits.
    """
    asyncio.run(_await_handled(settings, workers, time.monotonic() + wait_s_max, int(behind_markers)))


async def _await_handled(settings: Settings, workers: Sequence[Worker], deadline_s: float, markers: int) -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.broker)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker)
    await consumer.start()
    await admin.start()
    try:
        tps = [tp for topic in INPUTS for tp in _partitions(settings, topic)]
        ends = {tp: end - markers for tp, end in (await consumer.end_offsets(tps)).items() if end}
        while behind := _behind(ends, await admin.list_consumer_group_offsets(settings.prefix + settings.group)):
            for each in workers:
                each.assert_runs()
            said = "\n".join(each.said() for each in workers)
            assert time.monotonic() < deadline_s, f"not committed in time: {behind}; the workers said:\n{said}"
            await asyncio.sleep(0.1)
    finally:
        await admin.close()
        await consumer.stop()


def _behind(ends: Mapping[TopicPartition, int], committed: Mapping[TopicPartition, Any]) -> list[str]:
    places = {tp: committed[tp].offset if tp in committed else 0 for tp in ends}
    return [f"{tp.topic}-{tp.partition} at {places[tp]} of {end}" for tp, end in ends.items() if places[tp] != end]


# ---------------------------------------------------------------------- the same, without Kafka


def sums(outcomes: Outcomes) -> Counter[str]:
    """Return how many records of each topic ended somehow."""
    return Counter({topic: sum(counts.values()) for topic, counts in outcomes.items()})


def refusals(outcomes: Outcomes) -> dict[str, tuple[int, int]]:
    """Return how many records of each topic were late and dead, which no order of reading changes.

    The other outcomes also tell what was remembered when a record was read, and a repeated read may count as used.
    """
    return {topic: (counts["late"], counts["dead"]) for topic, counts in outcomes.items()}


class Replayed(msgspec.Struct):
    """What the in-process replay makes of the records that are in Kafka, and how what workers made of them differs."""

    outcomes: dict[str, Counter[Any]]
    differences: list[str]
    incidents: int


def replayed(settings: Settings, folder: Path) -> Replayed:
    """Read the input topics back, fold them in-process, and compare incidents and dead letters with the topics'."""
    for topic in INPUTS:
        _write(folder / "in" / f"{topic}.jsonl", map(_input_line(settings.prefix), read_topic(settings, topic)))
    for topic in (INCIDENTS, DEAD_LETTERS):
        _write(folder / "through-kafka" / f"{topic}.jsonl", map(_output_line, read_topic(settings, topic)))
    records = read_archive(folder / "in", settings.partitions)
    site = load_site(settings.site)
    outcomes = replay(records, site, settings.join, folder / "out", settings.partitions, lambda _: None)
    for topic in COUNTED:  # said as of a moment, and a little later than the incidents: `test_counting` compares it
        (folder / "out" / f"{topic}.jsonl").unlink()
    found = differences(folder / "through-kafka", folder / "out")
    lines = (folder / "out" / f"{INCIDENTS}.jsonl").read_bytes().splitlines()
    return Replayed(dict(outcomes), found, len({msgspec.json.decode(line)["key"] for line in lines}))


def _input_line(prefix: str) -> Callable[[Any], bytes]:
    def line(row: Any) -> bytes:
        # on prefixed topics the first stamp counts, elsewhere the broker's
        stamp_ms = int(headers_of(row)[STAMP_HEADER]) if prefix else row.timestamp
        return line_with(row.value, partition=row.partition, offset=row.offset, timestamp_ms=stamp_ms)

    return line


def _output_line(row: Any) -> bytes:
    return line_with(row.value, key=row.key.decode(), headers=headers_of(row))


def _write(file: Path, lines: Iterable[bytes]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"".join(line + b"\n" for line in lines))
