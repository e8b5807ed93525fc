"""What arrives in bulk holds up neither shots nor heartbeats: an imported list, a hot plate."""

from __future__ import annotations

from pathlib import Path

from tests.bench import bulk_import, hot_plate
from tests.drivers.brokers import Broker
from tests.drivers.topics import topics_of
from tests.lanes import LANE


def test_shots_pass_a_bulk_import_of_the_stolen_list(broker: Broker, prefix: str, tmp_path: Path) -> None:
    with topics_of(broker.address, prefix, partitions=1) as settings:
        figures = bulk_import.measure(settings, tmp_path, LANE.kept_reads, LANE.imported_hits)
    assert figures.shot_p99_ms < 1_000, figures
    assert figures.import_s < 60, figures
    assert figures.takeovers == 1, figures


def test_a_plate_read_without_end_delays_no_heartbeat(broker: Broker, prefix: str, tmp_path: Path) -> None:
    with topics_of(broker.address, prefix) as settings:
        figures = hot_plate.measure(settings, tmp_path, LANE.hot_reads, LANE.hot_shots)
    assert (figures.incidents, figures.sightings) == (LANE.hot_shots, 50)
    assert figures.takeovers == 1, figures
