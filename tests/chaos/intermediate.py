"""Whether each intermediate revision follows from records in the log.

The last revision is compared with the oracle. An earlier one may be based on fewer records, in any
order that the topics allow. But its shot, vehicle and reads must be as some record has them; a
sighting must be evidence under that shot and vehicle, and a read set aside must not be. So a worker
that retracts what it has merely forgotten is caught, even if a later revision is right again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.oracle.join import Court
from tests.oracle.records import HITS, READS, SHOTS, Record, Value, plate_key

# The fields that a sighting copies from its read, and their names in the sighting.
OF_THE_READ = {name: name for name in ("ramp_id", "captured_at_ms", "confidence", "region", "make", "colour")}
OF_THE_READ["plate"] = "plate_as_read"


def unfounded(court: Court, revision: Value) -> Iterator[str]:
    """What in a revision does not follow from the log, all of which the court has admitted."""
    key = plate_key(revision["vehicle"]["plate"])
    shot = _record_of(court, SHOTS, (revision["shot"]["alert_id"],), revision["shot"])
    hit = _record_of(court, HITS, (key, revision["vehicle"]["hit_id"]), revision["vehicle"])
    if shot is None:
        yield "its shot is in no record"
    elif revision["shot"]["stamp_ms"] != shot.stamp_ms:
        yield f"its shot is stamped {revision['shot']['stamp_ms']}, should be {shot.stamp_ms}"
    if hit is None:
        yield "its vehicle is in no record"
    if (revision["status"] == "open") != bool(revision["sightings"]):
        yield f"it is {revision['status']} with {len(revision['sightings'])} sightings"
    for name in ("sightings", "set_aside"):
        for sighting in revision[name]:
            read = _read_of(court, key, sighting)
            if read is None:
                yield f"read {sighting['read_id']!r} is in no record"
            elif shot and hit and court.is_evidence(shot, hit, read) != (name == "sightings"):
                yield f"read {sighting['read_id']!r} is in {name}, but under its shot and vehicle it should not be"


def _record_of(court: Court, topic: str, identity: tuple[Any, ...], part: Value) -> Record | None:
    """The first record of an identity with exactly this content."""
    equal = [r for r in court.by_identity[topic].get(identity, []) if all(part[n] == r.content[n] for n in r.content)]
    return min(equal, key=lambda record: record.stamp_ms, default=None)


def _read_of(court: Court, key: str, sighting: Value) -> Record | None:
    records = court.by_identity[READS].get((key, sighting["read_id"], sighting["captured_at_ms"]), [])
    for record in records:
        if all(sighting[name] == record.content[field] for field, name in OF_THE_READ.items()):
            return record
    return None
