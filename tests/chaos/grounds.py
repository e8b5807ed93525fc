"""Whether each revision on the way had its grounds: facts that are in the log, and what follows from them.

The last revision is compared with the oracle; one on the way may know less, in any order the topics allow. But its
shot, car and reads must be as some record says them, a sighting must be evidence under that shot and car, and a read
set aside must not be. So a worker that takes back what it only forgot is found out, also where it says it again later.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.simulation.oracle import Court
from tests.simulation.records import HITS, READS, SHOTS, Record, Value, plate_key

# What a sighting repeats of its read, by the read's name for it.
OF_THE_READ = {name: name for name in ("ramp_id", "captured_at_ms", "confidence", "region", "make", "colour")}
OF_THE_READ["plate"] = "plate_as_read"


def ungrounded(court: Court, said: Value) -> Iterator[str]:
    """What one revision says without grounds; the court has heard the whole log."""
    key = plate_key(said["vehicle"]["plate"])
    shot = _told(court, SHOTS, (said["shot"]["alert_id"],), said["shot"])
    hit = _told(court, HITS, (key, said["vehicle"]["hit_id"]), said["vehicle"])
    if shot is None:
        yield "its shot is as no record says it"
    elif said["shot"]["stamp_ms"] != shot.stamp_ms:
        yield f"its shot is stamped {said['shot']['stamp_ms']}, should be {shot.stamp_ms}"
    if hit is None:
        yield "its vehicle is as no record says it"
    if (said["status"] == "open") != bool(said["sightings"]):
        yield f"it is {said['status']} with {len(said['sightings'])} sightings"
    for name in ("sightings", "set_aside"):
        for seen in said[name]:
            read = _read(court, key, seen)
            if read is None:
                yield f"read {seen['read_id']!r} is as no record says it"
            elif shot and hit and court.is_evidence(shot, hit, read) != (name == "sightings"):
                yield f"read {seen['read_id']!r} is among its {name}, but under its shot and vehicle it should not be"


def _told(court: Court, topic: str, identity: tuple[Any, ...], said: Value) -> Record | None:
    """The first record that says just that of this identity."""
    telling = [r for r in court.by_identity[topic].get(identity, []) if all(said[n] == r.content[n] for n in r.content)]
    return min(telling, key=lambda record: record.stamp_ms, default=None)


def _read(court: Court, key: str, seen: Value) -> Record | None:
    records = court.by_identity[READS].get((key, seen["read_id"], seen["captured_at_ms"]), [])
    for record in records:
        if all(seen[name] == record.content[field] for field, name in OF_THE_READ.items()):
            return record
    return None
