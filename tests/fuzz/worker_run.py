"""Sends mutated records and honest pairs through a worker, and checks all that it published."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from msgspec import Struct, field, structs

from streams.core.events import InvalidRecord, Record
from streams.core.intake import Intake
from streams.core.rules import JoinRules
from streams.core.topics import DEAD_LETTERS, INPUTS
from streams.replay.player import Playable
from streams.settings import Settings
from tests.drivers.engine import scenario
from tests.drivers.topics import STAMP_HEADER, headers_of, last_incidents, read_topic, topics_of
from tests.drivers.workers import Worker, await_handled, worker
from tests.fuzz.honest import honest_pair, incident_of, plate_of
from tests.fuzz.mutate import Mutated, Mutator, Valid, valid_records
from tests.oracle.records import HITS, READS, SHOTS, Value, normalised, plate_key

CHUNK: Final = 1_000
"""Records sent at once; then the worker must have handled them."""
CHUNK_S_MAX: Final = 120.0
HONEST_EVERY: Final = 100
HONEST_PAIRS: Final = 60
"""At most, because each of their shots links to each of their cars."""
FAR_LAT: Final = -45.0
GROWTH_MAX: Final = 4.0
"""The last quarter of the records may cost so much more than the first: the worker keeps more."""
CHUNKS_MIN: Final = 8
FAULTS_SHOWN: Final = 10
PLATE_CHARACTERS_MIN: Final = 6
"""Shorter ones may be part of any word or number."""


class Report(Struct):
    """What became of the records."""

    seed: int
    records: int = 0
    honest: int = 0
    bytes: int = 0
    consumed: dict[str, int] = field(default_factory=dict)
    """By topic, with the copies of what was forwarded."""
    outcomes: dict[str, int] = field(default_factory=dict)
    dead_letters: int = 0
    first_ms: float = 0.0
    last_ms: float = 0.0
    slowest_ms: float = 0.0
    took_s: float = 0.0
    faults: list[str] = field(default_factory=list)


def fuzz_worker(
    address: str,
    prefix: str,
    folder: Path,
    number: int,
    seed: int,
    progress: Callable[[int, float], None] = lambda done, took_s: None,
) -> Report:
    """Send ``number`` mutated records through a worker on the Kafka at ``address``.

    ``folder`` receives the worker's log. ``progress`` is called after each chunk with the number of
    records done and the seconds taken.
    """
    site = folder / "site.geojson"
    site.write_text(json.dumps(scenario(0).world.site), "utf-8")
    report, valid = Report(seed), [_apart(one) for one in valid_records()]
    honest_every = max(HONEST_EVERY, number // HONEST_PAIRS)
    began_s = time.monotonic()
    with topics_of(address, prefix, str(site), partitions=4) as settings, worker(settings, folder) as running:
        sent: list[Playable] = []
        chunks_ms = []
        for chunk in _chunks(Mutator(valid, seed).records(number)):
            records = list(_with_honest(chunk, report, honest_every))
            sent += records
            chunk_s = time.monotonic()
            asyncio.run(_publish(settings, records))
            await_handled(settings, running, wait_s_max=CHUNK_S_MAX)
            chunks_ms.append(1000 * (time.monotonic() - chunk_s) / len(records))
            progress(report.records, time.monotonic() - began_s)
        await_handled(settings, running, wait_s_max=CHUNK_S_MAX)  # the forwarded copies as well
        _measure(report, chunks_ms)
        _check(report, settings, running, sent)
        pages = running.metrics()
        code, _ = running.stop()
        report.faults += [f"the worker exited with code {code}"] * bool(code)
        report.faults += _plates_named(running.log_text() + pages, sent)
    report.took_s = round(time.monotonic() - began_s, 1)
    return report


def _chunks(records: Iterator[Mutated]) -> Iterator[list[Mutated]]:
    chunk: list[Mutated] = []
    for record in records:
        chunk.append(record)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _apart(one: Valid) -> Valid:
    """Move a shot far away: incidents of mutated records would grow with the square of both."""
    if one.topic != SHOTS:
        return one
    return structs.replace(one, value=json.dumps({**json.loads(one.value), "lat": FAR_LAT}).encode())


def _with_honest(chunk: Sequence[Mutated], report: Report, every: int) -> Iterator[Playable]:
    ramp_id, ramp = min(scenario(0).site.ramps.items())
    for mutated in chunk:
        report.records += 1
        report.bytes += len(mutated.value)
        yield Playable(mutated.topic, mutated.stamp_ms, _key(mutated), mutated.value)
        if report.records % every == 0:
            yield from honest_pair(report.honest, mutated.stamp_ms, ramp_id, ramp.lat, ramp.lon)
            report.honest += 1


def _key(mutated: Mutated) -> str:
    """The plate key, where there is one: else most hits and reads would be forwarded."""
    try:
        return plate_key(json.loads(mutated.value)["plate"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return "hostile"


async def _publish(settings: Settings, records: Iterable[Playable]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.broker, linger_ms=5) as producer:
        sent = [
            await producer.send(
                settings.prefix + record.topic,
                record.value,
                record.key.encode(),
                headers=[(STAMP_HEADER, b"%d" % record.stamp_ms)],
            )
            for record in records
        ]
        await asyncio.gather(*sent)


def _measure(report: Report, chunks_ms: Sequence[float]) -> None:
    quarter = max(1, len(chunks_ms) // 4)
    report.first_ms, report.last_ms = mean(chunks_ms[:quarter]), mean(chunks_ms[-quarter:])
    report.slowest_ms = max(chunks_ms)
    if len(chunks_ms) >= CHUNKS_MIN and report.last_ms > GROWTH_MAX * report.first_ms:
        report.faults.append(f"a record takes {report.last_ms:.2f} ms at the end, {report.first_ms:.2f} ms before")


# ---------------------------------------------------------------------- what was published


def _check(report: Report, settings: Settings, running: Worker, sent: Sequence[Playable]) -> None:
    rows = {topic: read_topic(settings, topic) for topic in INPUTS}
    report.consumed = {topic: len(rows[topic]) for topic in INPUTS}
    outcomes = running.outcomes()
    report.outcomes = dict(sum(outcomes.values(), Counter()).most_common())
    for topic in INPUTS:
        total = outcomes[topic].total()
        if total != report.consumed[topic]:
            report.faults.append(f"{topic}: {report.consumed[topic]} records consumed, {total} outcomes")
    copies = sum(report.consumed.values()) - len(sent)
    if copies != report.outcomes.get("forwarded", 0):
        report.faults.append(f"{copies} records more than were sent, {report.outcomes.get('forwarded', 0)} forwarded")
    letters = read_topic(settings, DEAD_LETTERS)
    report.dead_letters = len(letters)
    dead = sum(counts["dead"] + counts["late"] for counts in outcomes.values())
    if dead != len(letters):
        report.faults.append(f"{dead} records with the outcome dead or late, {len(letters)} dead letters")
    report.faults += _shown(_wrong_letters(settings, rows, letters))
    incidents = last_incidents(settings)
    joined = [n for n in range(report.honest) if incidents.get(incident_of(n), {}).get("status") == "open"]
    if len(joined) != report.honest:
        report.faults.append(f"{len(joined)} of {report.honest} honest pairs joined")


def _wrong_letters(settings: Settings, rows: dict[str, list[Any]], letters: Sequence[Any]) -> Iterator[str]:
    """What is wrong with each dead letter or with the lack of it, by the intake's own verdict."""
    intake = Intake(scenario(0).site, JoinRules())
    by_position = {_position(row): row for row in letters}
    if len(by_position) != len(letters):
        yield f"{len(letters) - len(by_position)} dead letters are repeated"
    for topic in INPUTS:
        for row in rows[topic]:
            position = (topic, str(row.partition), str(row.offset))
            letter, reason = by_position.pop(position, None), _reason(intake, topic, row)
            if letter is None:
                if reason:
                    yield f"{'-'.join(position)} ({reason}) is no dead letter"
                continue
            if letter.value != row.value:
                yield f"the dead letter of {'-'.join(position)} has other bytes"
            if letter.key.decode() != "-".join(position):
                yield f"the dead letter of {'-'.join(position)} has another key"
            given = headers_of(letter)["rampwatch-reason"]
            if given != (reason or "limit"):
                yield f"{'-'.join(position)}: {given}, should be {reason or 'no dead letter'}"
    yield from (f"a dead letter of {'-'.join(position)}, which is no record" for position in by_position)


def _position(letter: Any) -> tuple[str, str, str]:
    headers = headers_of(letter)
    return headers["rampwatch-topic"], headers["rampwatch-partition"], headers["rampwatch-offset"]


def _reason(intake: Intake, topic: str, row: Any) -> str:
    stamp_ms = int(headers_of(row)[STAMP_HEADER])
    try:
        intake.admit(Record(topic, row.partition, row.offset, stamp_ms, row.value))
    except InvalidRecord as invalid:
        return invalid.reason
    return ""


def _shown(faults: Iterable[str]) -> list[str]:
    found = list(faults)
    return found[:FAULTS_SHOWN] + [f"and {len(found) - FAULTS_SHOWN} more"] * (len(found) > FAULTS_SHOWN)


def _plates_named(text: str, sent: Iterable[Playable]) -> list[str]:
    """Which plates are in a text: any as a word, those of the worlds and the pairs anywhere."""
    upper = text.upper()
    words = {word for word in re.findall("[A-Z0-9]+", upper) if len(word) >= PLATE_CHARACTERS_MIN}
    plates = {plate for record in sent if record.topic in (HITS, READS) for plate in _plates_in(record.value)}
    named = {plate for plate in plates if {plate, plate_key(plate)} & words}
    anywhere = {"SIMB01", "T0YZG5", "TICK77", plate_of(0)[:4]}
    named |= {plate for plate in anywhere if plate in upper or plate_key(plate) in upper}
    return [f"{len(named)} plates are in the log or in the metrics"] * bool(named)


def _plates_in(raw: bytes) -> Iterator[str]:
    try:
        value: Value = json.loads(raw)
        plate = normalised(value["plate"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return
    is_word = not (plate.isdigit() or plate.isalpha())
    if len(plate) >= PLATE_CHARACTERS_MIN and is_word:
        yield plate
