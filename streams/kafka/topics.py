"""The topics: what each must be like, how they are made, and what is wrong with those that are there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code
from msgspec import Struct

from streams.core.errors import RampwatchError
from streams.core.events import (
    ACTIONS,
    ALERTS,
    BROADCAST,
    COUNTED,
    COUNTERS,
    DEAD_LETTERS,
    HITS,
    INCIDENTS,
    INPUTS,
    JOINED,
    READS,
    SHOTS,
    TALLIES,
)
from streams.kafka.connection import DENIED, connection, principal, started
from streams.settings import Settings

_DAY_MS: Final = 86_400_000
_RARE_PARTITIONS: Final = 1
_CLEANUP: Final = {
    INCIDENTS: "compact,delete",
    TALLIES: "compact,delete",
    COUNTERS: "compact",
    ALERTS: "compact,delete",
}
_COPIES: Final = 3
"""Of each partition, where there are that many brokers: one may fail and one be under repair."""
_MAX_RECORD_BYTES: Final = 1_048_588
"""Kafka's own default for the largest record."""
_NO_RIGHT: Final = "; give this user the rights that rampwatch acls lists"
HEADERS_BYTES_MAX: Final = 65_536
"""What a dead letter has beside the record's own bytes, at the most."""


class TopicsError(RampwatchError):
    """Topics that cannot be made or read; the message says what to do."""


class TopicPlan(Struct, frozen=True):
    """What one topic must be like. ``retention_ms`` is the least; None: for good."""

    name: str
    partitions: int
    config: Mapping[str, str]
    retention_ms: int | None
    fixed: bool
    """Whether the number of partitions matters."""


def plan(settings: Settings) -> list[TopicPlan]:
    """Return what the topics of these settings must be like, their names with the prefix."""
    join = settings.join
    reads_ms = join.read_retention_ms + settings.allowed_outage_ms
    # alerts go before the tallies that they could be worked out from again
    days = {SHOTS: 3 * 365, HITS: 45, ACTIONS: 90, INCIDENTS: 14, TALLIES: 3 * 365, ALERTS: 2 * 365}
    retention_ms: dict[str, int | None] = {topic: n * _DAY_MS for topic, n in days.items()}
    retention_ms |= {READS: reads_ms, DEAD_LETTERS: reads_ms, COUNTERS: None}
    return [
        TopicPlan(
            name=settings.prefix + topic,
            partitions=settings.partitions if topic in (*JOINED, INCIDENTS) else _RARE_PARTITIONS,
            config=_config(topic, kept_ms),
            retention_ms=kept_ms,
            # what is counted is read and written in one order by one owner: not one partition more
            fixed=topic in (*JOINED, INCIDENTS, *COUNTED),
        )
        for topic, kept_ms in retention_ms.items()
    ]


def _config(topic: str, retention_ms: int | None) -> dict[str, str]:
    config = {
        "cleanup.policy": _CLEANUP.get(topic, "delete"),
        "retention.ms": str(-1 if retention_ms is None else retention_ms),
        # a quiet topic keeps records for as long as its open segment, so that must close in time
        "segment.ms": str(_DAY_MS if retention_ms is None else max(60_000, min(7 * _DAY_MS, retention_ms // 8))),
    }
    if topic in INPUTS:
        config["message.timestamp.type"] = "LogAppendTime"
    if topic == DEAD_LETTERS:
        config["max.message.bytes"] = str(2 * _MAX_RECORD_BYTES)
    return config


async def create(settings: Settings) -> list[str]:
    """Make the topics that are missing and return their names; raises `TopicsError`."""
    async with _Admin(settings) as admin:
        known = set(await admin.list_topics())
        missing = [topic for topic in plan(settings) if topic.name not in known]
        if missing:
            await _create(admin, missing)
        return [topic.name for topic in missing]


async def _create(admin: Any, missing: list[TopicPlan]) -> None:  # noqa: ANN401 - aiokafka has no types
    brokers = len((await admin.describe_cluster())["brokers"])
    copies = min(_COPIES, brokers)
    new = [NewTopic(t.name, t.partitions, copies, topic_configs=dict(t.config)) for t in missing]
    response = await admin.create_topics(new)
    for name, code, *detail in response.topic_errors:
        if code and code != TopicAlreadyExistsError.errno:
            said = detail[0] if detail and detail[0] else for_code(code).__name__
            said += _NO_RIGHT if for_code(code) in DENIED else ""
            raise TopicsError(f"{name}: the broker does not make this topic: {said}")


async def check(settings: Settings) -> list[str]:
    """Return a sentence for each thing that is wrong with the topics; raises `BrokerError` where no broker answers."""
    async with _Admin(settings) as admin:
        wanted = plan(settings)
        described = {t["topic"]: t for t in await admin.describe_topics([t.name for t in wanted])}
        codes = {t.name: described.get(t.name, {}).get("error_code", 3) for t in wanted}
        present = [t for t in wanted if codes[t.name] == 0]
        configs = await _configs(admin, present) if present else {}
    faults = [_absent(t.name, settings, codes[t.name]) for t in wanted if t not in present]
    for topic in present:
        faults += _faults(topic, len(described[topic.name]["partitions"]), configs[topic.name])
    by_topic = {name.removeprefix(settings.prefix): config for name, config in configs.items()}
    if DEAD_LETTERS in by_topic:
        faults += _faults_of_dead_letters(settings.prefix + DEAD_LETTERS, by_topic)
    return faults


def _faults_of_dead_letters(name: str, configs: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """They must hold whatever came in, and plates no longer than the reads do."""
    size = int(configs[DEAD_LETTERS].get("max.message.bytes", "0"))
    needed = 2 * max(
        (int(configs[topic].get("max.message.bytes", "0")) for topic in INPUTS if topic in configs), default=0
    )
    if size < needed:
        yield f"{name}: max.message.bytes is {size}, must be at least {needed}, twice what an input topic takes"
    kept_ms, reads_ms = (int(configs.get(topic, {}).get("retention.ms", "-1")) for topic in (DEAD_LETTERS, READS))
    if reads_ms >= 0 and not 0 <= kept_ms <= reads_ms:
        yield f"{name}: retention.ms is {kept_ms}, must be at most {reads_ms}: it would keep plates longer than {READS}"


def _absent(name: str, settings: Settings, code: int) -> str:
    if for_code(code) in DENIED:
        return f"{name}: {principal(settings)} may not see it{_NO_RIGHT}"
    return f"{name}: does not exist; make it with rampwatch topics create"


async def delete(settings: Settings) -> None:
    """Remove the topics of a prefix and all that is in them; never those without a prefix."""
    assert settings.prefix, "the topics of production are not removed from here"
    async with _Admin(settings) as admin:
        known = set(await admin.list_topics())
        await admin.delete_topics([topic.name for topic in plan(settings) if topic.name in known])


async def broadcast_sources(settings: Settings) -> list[tuple[str, int]]:
    """Return the partitions of the broadcast topics, each as the topic's name without the prefix and a number."""
    async with _Admin(settings) as admin:
        described = await admin.describe_topics([settings.prefix + topic for topic in BROADCAST])
    return [(t["topic"].removeprefix(settings.prefix), p["partition"]) for t in described for p in t["partitions"]]


async def _configs(admin: AIOKafkaAdminClient, topics: list[TopicPlan]) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in topics]
    configs: dict[str, dict[str, str]] = {}
    for response in await admin.describe_configs(resources):
        for code, _, _, name, entries in response.resources:
            if code:
                raise TopicsError(f"{name}: its settings cannot be read ({for_code(code).__name__}){_NO_RIGHT}")
            configs[name] = {entry[0]: entry[1] for entry in entries}
    return configs


def _faults(topic: TopicPlan, partitions: int, config: Mapping[str, str]) -> Iterator[str]:
    if topic.fixed and partitions != topic.partitions:
        yield (
            f"{topic.name}: has {partitions} partitions, not {topic.partitions}; the number is fixed for a "
            "topic's life: set partitions to it, or use a new prefix and a replay"
        )
    for name, wanted in topic.config.items():
        if name not in ("retention.ms", "segment.ms", "max.message.bytes") and not _same(config.get(name, ""), wanted):
            yield f"{topic.name}: {name} is {config.get(name)}, must be {wanted}; alter the topic's configuration"
    kept_ms = int(config.get("retention.ms", "-1"))
    if topic.retention_ms is not None and 0 <= kept_ms < topic.retention_ms:
        yield f"{topic.name}: retention.ms is {kept_ms}, must be at least {topic.retention_ms}: records go too early"
    if (
        topic.retention_ms is not None
        and kept_ms >= 0
        and int(config.get("segment.ms", "0")) > max(60_000, kept_ms // 8)
    ):
        yield f"{topic.name}: segment.ms is {config['segment.ms']}, must be at most an eighth of retention.ms"


def _same(one: str, other: str) -> bool:
    return set(one.split(",")) == set(other.split(","))


class _Admin:
    """An administrative client that is closed again, and whose failures are sentences."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = AIOKafkaAdminClient(**connection(settings))

    async def __aenter__(self) -> Any:  # noqa: ANN401 - aiokafka has no types
        await started(self._client, self._settings)
        return self._client

    async def __aexit__(self, kind: object, error: object, at: object) -> None:
        await self._client.close()
