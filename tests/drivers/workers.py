"""Real worker processes on a real Kafka: started, awaited, stopped, and observed."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, NodeNotReadyError
from prometheus_client.parser import text_string_to_metric_families

from streams.core.topics import INPUTS
from streams.settings import Settings, as_environment
from tests.drivers.command import COMMAND, started
from tests.drivers.ports import free_port
from tests.drivers.topics import partitions_of
from tests.drivers.waiting import WAIT_S_MAX, check_deadline, eventually

SHORT_SESSION = {"RAMPWATCH_SESSION_TIMEOUT_MS": "6000"}
"""The shortest that brokers accept by default: a killed worker's partitions wait so long."""
COMMITTED_EVERY_S = 0.1


class Worker:
    """A worker process; stdout and stderr both go to ``log``."""

    def __init__(self, process: subprocess.Popen[str], log: Path, metrics_port: int) -> None:
        self.process = process
        self.log = log
        self._metrics_port = metrics_port

    def log_text(self) -> str:
        """Everything it has logged, with what earlier workers of the same name logged."""
        return self.log.read_text("utf-8", "replace")

    def assert_runs(self) -> None:
        """Fail, quoting the log, if it has ended."""
        code = self.process.poll()
        assert code is None, f"the worker exited with code {code}:\n{self.log_text()}"

    def stop(self) -> tuple[int, float]:
        """Send SIGTERM; return the exit code and how many seconds the exit took."""
        self.assert_runs()
        began_s = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(WAIT_S_MAX)
        return code, time.monotonic() - began_s

    def kill(self) -> None:
        """End it as a crash would. Its partitions wait for the session timeout."""
        self.process.kill()

    def outcomes(self) -> dict[str, Counter[str]]:
        """How many records of each topic had which outcome, according to its metrics."""
        outcomes: dict[str, Counter[str]] = {topic: Counter() for topic in INPUTS}
        for family in text_string_to_metric_families(self.metrics()):
            for sample in family.samples:
                if sample.name == "rampwatch_records_total" and sample.value:
                    outcomes[sample.labels["topic"]][sample.labels["outcome"]] += round(sample.value)
        return outcomes

    def metrics(self) -> str:
        """Its metrics page."""
        return self.page("/metrics")[1]

    def is_ready(self) -> bool:
        """Whether its readiness probe succeeds."""
        try:
            return self.page("/health/ready")[0] == 200
        except (urllib.error.URLError, ConnectionError):  # not serving HTTP
            return False

    def page(self, path: str) -> tuple[int, str]:
        """The status code and the text of one of its pages."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics_port}{path}", timeout=WAIT_S_MAX) as page:
                return page.status, page.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@contextmanager
def worker(
    settings: Settings,
    folder: Path,
    *arguments: str,
    name: str = "worker",
    up: bool = True,
    fault: str | None = None,
    **variables: str,
) -> Iterator[Worker]:
    """A worker process with ``variables`` in its environment, killed at the end of the block.

    ``up``: wait until it logs that it is up. ``fault``: one of those of `faulty_worker`.
    """
    log, port = folder / f"{name}.log", free_port()
    variables = {
        **access(settings),
        **SHORT_SESSION,
        "RAMPWATCH_PARTITIONS": str(settings.partitions),
        "RAMPWATCH_METRICS_PORT": str(port),
        **variables,
    }
    options = ["--prefix", settings.prefix, "--site", settings.site, *arguments]
    command = COMMAND if fault is None else [sys.executable, "-m", "tests.drivers.faulty_worker", fault]
    with log.open("ab") as output:
        before = log.stat().st_size
        with started(
            "worker", *options, cwd=None, stdout=output, stderr=subprocess.STDOUT, command=command, **variables
        ) as process:
            running = Worker(process, log, port)
            if up:
                eventually([running], lambda: b"worker up" in log.read_bytes()[before:], "the worker did not come up")
            yield running


def access(settings: Settings) -> dict[str, str]:
    """The environment variables that name the broker and the client's credentials."""
    names = ("RAMPWATCH_BROKER", "RAMPWATCH_SECURITY_", "RAMPWATCH_SASL_", "RAMPWATCH_SSL_")
    return {name: text for name, text in as_environment(settings).items() if name.startswith(names)}


# ---------------------------------------------------------------------- the consumer group


def members_of(settings: Settings) -> int:
    """The number of workers in the consumer group; 0 while it is not stable."""
    return asyncio.run(_members_of(settings))


async def _members_of(settings: Settings) -> int:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker)
    await admin.start()
    try:
        (response,) = await admin.describe_consumer_groups([settings.prefix + settings.group])
    except (GroupCoordinatorNotAvailableError, NodeNotReadyError):
        return 0  # a broker that has just come back names neither coordinators nor itself
    finally:
        await admin.close()
    (group,) = response.groups
    _, _, state, _, _, members, *_ = group
    return len(members) if state == "Stable" else 0


def await_handled(
    settings: Settings, *workers: Worker, wait_s_max: float = WAIT_S_MAX, behind_markers: bool = False
) -> None:
    """Wait until the group has committed every input record, and so published every result.

    ``behind_markers``: every partition ends in a transaction marker, which is not committed.
    """
    asyncio.run(_await_handled(settings, workers, time.monotonic() + wait_s_max, int(behind_markers)))


async def _await_handled(settings: Settings, workers: Sequence[Worker], deadline_s: float, markers: int) -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.broker)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker)
    await consumer.start()
    await admin.start()
    try:
        tps = [tp for topic in INPUTS for tp in partitions_of(settings, topic)]
        ends = {tp: end - markers for tp, end in (await consumer.end_offsets(tps)).items() if end}
        while behind := _behind(ends, await admin.list_consumer_group_offsets(settings.prefix + settings.group)):
            check_deadline(workers, deadline_s, f"not committed in time: {behind}")
            await asyncio.sleep(COMMITTED_EVERY_S)
    finally:
        await admin.close()
        await consumer.stop()


def _behind(ends: Mapping[TopicPartition, int], committed: Mapping[TopicPartition, Any]) -> list[str]:
    offsets = {tp: committed[tp].offset if tp in committed else 0 for tp in ends}
    return [f"{tp.topic}-{tp.partition} at {offsets[tp]} of {end}" for tp, end in ends.items() if offsets[tp] < end]
