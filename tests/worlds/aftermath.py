"""A late phase for a small world: old shots moved in time, thefts listed at the last moment.

It makes the hardest cases of recovery frequent: facts about shots that are frozen or about to be,
and facts stamped at the very end of a read's retention while other inputs are already further
ahead.
"""

from __future__ import annotations

import random
from dataclasses import replace

from tests.oracle.records import HITS, READS, SHOTS, Value
from tests.worlds.ground import MINUTE_MS
from tests.worlds.small_world import PLATES, World


def with_aftermath(made: World, rng: random.Random) -> World:
    """The world with one more event for each alert_id, around or after its freeze."""
    archive = {topic: list(lines) for topic, lines in made.archive.items()}
    shots: dict[str, Value] = {}
    for line in made.archive[SHOTS]:
        value = line.get("value")
        if isinstance(value, dict) and "timestamp_ms" in line and isinstance(value.get("alert_id"), str):
            shots.setdefault(value["alert_id"], line)
    for n, line in enumerate(shots.values()):
        if _is_sound(line["value"]):
            _add_late_event(archive, made.join, line, n, rng)
    for lines in archive.values():
        lines.sort(key=lambda line: line.get("timestamp_ms", 0))
    return replace(made, archive=archive)


def _is_sound(value: Value) -> bool:
    return isinstance(value.get("occurred_at_ms"), int) and isinstance(value.get("lat"), int | float)


def _add_late_event(archive: dict[str, list[Value]], join: Value, first: Value, n: int, rng: random.Random) -> None:
    """Move the shot near or after its freeze; add reads of a car and its listing."""
    freeze_ms = first["timestamp_ms"] + join["incident_retention_ms"]
    stamp_ms = freeze_ms + rng.choice((-20 * MINUTE_MS, -1, 0, 1, MINUTE_MS, 5 * MINUTE_MS, 60 * MINUTE_MS))
    occurred_ms = stamp_ms - rng.choice((0, 2, 5)) * MINUTE_MS
    moved = {**first["value"], "revision": 9, "status": "confirmed", "occurred_at_ms": occurred_ms}
    archive[SHOTS].append({"timestamp_ms": stamp_ms, "value": moved})
    deadlines = []
    for m in range(rng.choice((1, 2, 4))):
        captured_ms = occurred_ms + rng.randrange(-5, 6) * MINUTE_MS
        late_ms = rng.choice((0, 0, MINUTE_MS, 10 * MINUTE_MS))
        value = {"read_id": f"L{n}-{m}", "plate": PLATES[0], "captured_at_ms": captured_ms, "camera_id": "late"}
        for again_ms in rng.choice(((0,), (0, 5 * MINUTE_MS))):
            archive[READS].append(
                {
                    "timestamp_ms": captured_ms + late_ms + again_ms,
                    "value": {**value, "ramp_id": rng.choice(("ramp-0", "ramp-1")), "confidence": 0.9},
                }
            )
        deadlines.append(captured_ms + join["read_retention_ms"])
    _list_the_car(archive, join, n, occurred_ms, deadlines, rng)


def _list_the_car(
    archive: dict[str, list[Value]], join: Value, n: int, occurred_ms: int, deadlines: list[int], rng: random.Random
) -> None:
    """List the car at once or near a deadline, then cancel and renew it around deadlines."""
    stolen_ms = occurred_ms - 15 * MINUTE_MS
    value = {"hit_id": f"L{n}", "plate": PLATES[0], "reported_at_ms": stolen_ms, "stolen_at_ms": stolen_ms}
    stamp_ms = rng.choice((stolen_ms, rng.choice(deadlines) - MINUTE_MS, *deadlines))
    for revision in range(rng.choice((1, 2, 3))):
        if revision:
            stamp_ms = max(stamp_ms, rng.choice(deadlines) + rng.choice((-MINUTE_MS, -1, 0, 0, 1, MINUTE_MS)))
        status = "active" if revision == 0 else rng.choice(("active", "cancelled"))
        archive[HITS].append({"timestamp_ms": stamp_ms, "value": {**value, "revision": revision, "status": status}})
        if rng.random() < 0.5:  # another record with the same stamp as one that must count
            archive[HITS].insert(
                -1, {"timestamp_ms": stamp_ms, "value": {**value, "hit_id": "other", "plate": PLATES[0]}}
            )
    for deadline_ms in deadlines:  # other inputs are ahead by about the slack
        at_ms = deadline_ms + rng.choice((1, MINUTE_MS, join["stamp_slack_ms"], join["stamp_slack_ms"] + 1))
        busy = {"read_id": f"B{at_ms}", "plate": "TICK77", "captured_at_ms": at_ms, "ramp_id": "ramp-0"}
        archive[READS].append({"timestamp_ms": at_ms, "value": {**busy, "camera_id": "late", "confidence": 0.9}})
