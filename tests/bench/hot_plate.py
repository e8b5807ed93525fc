"""One stolen plate that cameras report without end, and many shots around it.

Run ``.venv/bin/python -m tests.bench.hot_plate --reads 100000 --shots 1000``. It starts a local
Kafka and one worker whose limit of reads a plate is above ``--reads``, and shows that the time
grows in proportion to the reads: each line has twice as many as the one before.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import Final

import msgspec

from streams.bench.traffic import fill, read_of, shot_at
from streams.core.topics import HITS, READS
from streams.local_broker.broker import LocalBroker
from streams.resources.sites import load_site
from streams.settings import Settings
from tests.drivers.topics import last_incidents, topics_of
from tests.drivers.workers import await_handled, worker

PLATE: Final = "HAT0001"
WAIT_S_MAX: Final = 900


class Figures(msgspec.Struct, frozen=True):
    """What a hot plate took."""

    reads: int
    shots: int
    handled_s: float
    incidents: int
    sightings: int
    """Of the incident with the fewest."""
    takeovers: int
    """One at the start of the worker; more mean that it missed heartbeats."""


def measure(settings: Settings, folder: Path, reads: int, shots: int) -> Figures:
    """Send shots, a hit and reads of its plate to the topics of ``settings``, and wait."""
    ramp = next(iter(load_site(settings.site).ramps.values()))
    at_ms = round(time.time() * 1000)
    listing = {"hit_id": "H", "plate": PLATE, "reported_at_ms": at_ms - 3_600_000}
    rows = [(HITS, PLATE, msgspec.json.encode(listing))]
    rows += [shot_at(ramp, f"shot-{n}", at_ms) for n in range(shots)]
    rows += [(READS, PLATE, read_of(PLATE, f"read-{n:06}", at_ms + n % 60_000, ramp.ramp_id)) for n in range(reads)]
    limit = {"RAMPWATCH_JOIN_MAX_READS_PER_PLATE": str(reads + 1)}
    with worker(settings, folder, name=f"worker-{reads}", **limit) as running:
        began_s = time.perf_counter()
        asyncio.run(fill(settings.broker, settings.prefix, rows))
        await_handled(settings, running, wait_s_max=WAIT_S_MAX)
        handled_s = time.perf_counter() - began_s
        incidents = last_incidents(settings)
        log = running.log_text()
    return Figures(
        reads=reads,
        shots=shots,
        handled_s=round(handled_s, 1),
        incidents=len(incidents),
        sightings=min(len(incident["sightings"]) for incident in incidents.values()),
        takeovers=log.count(" rebuilt: "),
    )


def main() -> None:
    """Measure and print a line for each number of reads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reads", type=int, default=100_000)
    parser.add_argument("--shots", type=int, default=1_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, LocalBroker.start() as broker:
        for reads in (options.reads // 4, options.reads // 2, options.reads):
            with topics_of(broker.address, f"hot-{reads}-") as settings:
                print(msgspec.json.encode(measure(settings, Path(folder), reads, options.shots)).decode(), flush=True)


if __name__ == "__main__":
    main()
