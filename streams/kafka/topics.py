"""Creates topics as the table of topics says, and checks existing ones against it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code
from msgspec import Struct

from streams.core.errors import RampwatchError
from streams.core.topics import ACTIONS, BROADCAST, DEAD_LETTERS, HITS, INCIDENTS, INPUTS, READS, SHOTS, TOPICS, Topic
from streams.kafka.connection import ACCESS_ERRORS, connection, principal, start_client
from streams.settings import Settings

_DAY_MS: Final = 86_400_000
_REPLICAS: Final = 3
"""Replicas of each partition, given enough brokers: two may be unavailable."""
_MAX_RECORD_BYTES: Final = 1_048_588
"""Kafka's own default for the largest record."""
_CHECKED_AS_LIMITS: Final = ("retention.ms", "segment.ms", "max.message.bytes")
_NO_RIGHT: Final = "; grant this user the rights that rampwatch acls lists"
HEADERS_BYTES_MAX: Final = 65_536
"""The most that a dead letter has beside the record's own bytes."""


class TopicsError(RampwatchError):
    """Topics that cannot be created or read; the message says what to do."""


class Retention(Struct, frozen=True):
    """The least time for which a topic must be retained, and what needs it, in words."""

    at_least_ms: int
    needed_by: str


class TopicPlan(Struct, frozen=True):
    """What one topic must be like. ``retention`` is the least allowed; None: for good."""

    name: str
    """With the prefix."""
    topic: Topic
    partitions: int
    config: Mapping[str, str]
    retention: Retention | None

    @property
    def has_fixed_partitions(self) -> bool:
        """Whether the number of partitions must be exactly ``partitions``."""
        return self.topic.partitions != "any"


def plan(settings: Settings) -> list[TopicPlan]:
    """Return what the topics of these settings must be like, from the table of topics."""
    return [_planned(topic, settings) for topic in TOPICS]


def _planned(topic: Topic, settings: Settings) -> TopicPlan:
    retention = _retention(topic, settings)
    return TopicPlan(
        name=settings.prefix + topic.name,
        topic=topic,
        partitions=settings.partitions if topic.partitions == "joined" else 1,
        config=_config(topic, retention.at_least_ms if retention else None),
        retention=retention,
    )


def _retention(topic: Topic, settings: Settings) -> Retention | None:
    """Return the greater of what the table of topics says and what the settings need."""
    needed = _needed(topic.name, settings)
    if topic.retention_days is None:
        return None
    if topic.retention_days == "reads":
        return needed
    table = Retention(topic.retention_days * _DAY_MS, f"{topic.retention_days} days, whatever the settings")
    return needed if needed and needed.at_least_ms > table.at_least_ms else table


def _needed(name: str, settings: Settings) -> Retention | None:
    """Return for how long the settings need a topic: its horizon and an outage (JOIN.md, Recovery).

    The outage makes up for ``max_future_skew_ms`` in the horizon of reads, whose time on record the
    law may limit.
    """
    join = settings.join
    horizons = {
        READS: (join.read_retention_ms, "read_retention_ms"),
        DEAD_LETTERS: (join.read_retention_ms, "read_retention_ms"),
        HITS: (join.hit_horizon_ms, "hit_ttl_ms + incident_retention_ms + read_retention_ms + max_future_skew_ms"),
        SHOTS: (join.shot_horizon_ms, "shot_memory_ms + max_future_skew_ms"),
        ACTIONS: (join.incident_retention_ms, "incident_retention_ms"),
        INCIDENTS: (join.incident_retention_ms, "incident_retention_ms"),
    }
    if name not in horizons:
        return None
    horizon_ms, terms = horizons[name]
    return Retention(horizon_ms + settings.allowed_outage_ms, f"{terms} + allowed_outage_ms")


def _config(topic: Topic, retention_ms: int | None) -> dict[str, str]:
    config = {
        "cleanup.policy": topic.cleanup,
        "retention.ms": str(-1 if retention_ms is None else retention_ms),
        # A quiet topic keeps records as long as its open segment, so segments must close in time.
        "segment.ms": str(_DAY_MS if retention_ms is None else max(60_000, min(7 * _DAY_MS, retention_ms // 8))),
    }
    if topic.name in INPUTS:
        config["message.timestamp.type"] = "LogAppendTime"
    if topic.name == DEAD_LETTERS:
        config["max.message.bytes"] = str(2 * _MAX_RECORD_BYTES)
    return config


async def create(settings: Settings) -> list[str]:
    """Create the missing topics and return their names; raises `TopicsError`."""
    async with _Admin(settings) as admin:
        known = set(await admin.list_topics())
        missing = [topic for topic in plan(settings) if topic.name not in known]
        if missing:
            await _create(admin, missing)
        return [topic.name for topic in missing]


async def _create(admin: Any, missing: list[TopicPlan]) -> None:  # noqa: ANN401 - aiokafka has no types
    brokers = len((await admin.describe_cluster())["brokers"])
    replicas = min(_REPLICAS, brokers)
    new = [NewTopic(t.name, t.partitions, replicas, topic_configs=dict(t.config)) for t in missing]
    response = await admin.create_topics(new)
    for name, code, *detail in response.topic_errors:
        if code and code != TopicAlreadyExistsError.errno:
            reason = detail[0] if detail and detail[0] else for_code(code).__name__
            reason += _NO_RIGHT if for_code(code) in ACCESS_ERRORS else ""
            raise TopicsError(f"{name}: the broker did not create this topic: {reason}")


async def check(settings: Settings) -> list[str]:
    """Return a sentence for each problem with the topics.

    Raises `BrokerError` if no broker answers.
    """
    async with _Admin(settings) as admin:
        wanted = plan(settings)
        described = {t["topic"]: t for t in await admin.describe_topics([t.name for t in wanted])}
        codes = {t.name: described.get(t.name, {}).get("error_code", 3) for t in wanted}
        present = [t for t in wanted if codes[t.name] == 0]
        configs = await _configs(admin, present) if present else {}
    problems = [_absent(t.name, settings, codes[t.name]) for t in wanted if t not in present]
    for topic in present:
        problems += _problems(topic, len(described[topic.name]["partitions"]), configs[topic.name])
    by_topic = {name.removeprefix(settings.prefix): config for name, config in configs.items()}
    if DEAD_LETTERS in by_topic:
        problems += _problems_of_dead_letters(settings.prefix + DEAD_LETTERS, by_topic)
    return problems


def _problems_of_dead_letters(name: str, configs: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Check that dead letters can hold any input, and keep plates no longer than the reads do."""
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
    if for_code(code) in ACCESS_ERRORS:
        return f"{name}: {principal(settings)} may not describe it{_NO_RIGHT}"
    return f"{name}: does not exist; create it with rampwatch topics create"


async def delete(settings: Settings) -> None:
    """Delete the topics of a prefix, with their records; never those without a prefix."""
    assert settings.prefix, "topics without a prefix are production's and are not deleted"
    async with _Admin(settings) as admin:
        known = set(await admin.list_topics())
        await admin.delete_topics([topic.name for topic in plan(settings) if topic.name in known])


async def broadcast_sources(settings: Settings) -> list[tuple[str, int]]:
    """Return the partitions of the broadcast topics, as (name without prefix, number)."""
    async with _Admin(settings) as admin:
        described = await admin.describe_topics([settings.prefix + topic for topic in BROADCAST])
    return [(t["topic"].removeprefix(settings.prefix), p["partition"]) for t in described for p in t["partitions"]]


async def _configs(admin: AIOKafkaAdminClient, topics: list[TopicPlan]) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in topics]
    configs: dict[str, dict[str, str]] = {}
    for response in await admin.describe_configs(resources):
        for code, _, _, name, entries in response.resources:
            if code:
                raise TopicsError(f"{name}: its configuration cannot be read ({for_code(code).__name__}){_NO_RIGHT}")
            configs[name] = {entry[0]: entry[1] for entry in entries}
    return configs


def _problems(planned: TopicPlan, partitions: int, config: Mapping[str, str]) -> Iterator[str]:
    if planned.has_fixed_partitions and partitions != planned.partitions:
        yield (
            f"{planned.name}: has {partitions} partitions, not {planned.partitions}; the number is fixed for a "
            "topic's life: set partitions to it, or use a new prefix and a replay"
        )
    for name, value in planned.config.items():
        if name not in _CHECKED_AS_LIMITS and not _same(config.get(name, ""), value):
            yield f"{planned.name}: {name} is {config.get(name)}, must be {value}; alter the topic's configuration"
    if planned.retention is None:
        return
    kept_ms, least = int(config.get("retention.ms", "-1")), planned.retention
    if 0 <= kept_ms < least.at_least_ms:
        yield (
            f"{planned.name}: retention.ms is {kept_ms}, must be at least {least.at_least_ms}: it loses records "
            f"({least.needed_by})"
        )
    if kept_ms >= 0 and int(config.get("segment.ms", "0")) > max(60_000, kept_ms // 8):
        yield f"{planned.name}: segment.ms is {config['segment.ms']}, must be at most an eighth of retention.ms"


def _same(one: str, other: str) -> bool:
    return set(one.split(",")) == set(other.split(","))


class _Admin:
    """An admin client as a context manager, whose errors are sentences."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = AIOKafkaAdminClient(**connection(settings))

    async def __aenter__(self) -> Any:  # noqa: ANN401 - aiokafka has no types
        await start_client(self._client, self._settings)
        return self._client

    async def __aexit__(self, kind: object, error: object, at: object) -> None:
        await self._client.close()
