"""The manifest of an archive, the check of its site, and writing whole or not at all."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import streams
from streams.core.events import Record
from streams.core.rules import JoinRules
from streams.core.site import Site
from streams.core.topics import INPUTS, READS, SHOTS
from streams.replay.archive import read_archive, write_archive
from streams.replay.errors import ArchiveError, WriteError
from streams.replay.folder import FolderWriter, check_target
from streams.replay.inputs import read_inputs
from streams.replay.manifest import MANIFEST, manifest_of, read_manifest
from streams.replay.run import replay
from streams.resources.site_check import WrongSiteError
from streams.resources.sites import load_site

HARTFORD, KANSAS_CITY = load_site("hartford"), load_site("kansas-city")
PLACES = {"hartford": (41.763, -72.68), "kansas-city": (39.06, -94.55)}
NOON_MS = 1_780_675_200_000
RULES = JoinRules()


def shot(number: int, place: tuple[float, float]) -> dict[str, Any]:
    lat, lon = place
    return {"alert_id": f"S{number}", "kind": "single_gunshot", "occurred_at_ms": NOON_MS, "lat": lat, "lon": lon}


def read(number: int, ramp_id: str) -> dict[str, Any]:
    event = {"read_id": f"R{number}", "plate": "SIMB01", "captured_at_ms": NOON_MS, "ramp_id": ramp_id}
    return event | {"camera_id": "c", "confidence": 0.9}


def rows(topic: str, *values: dict[str, Any]) -> list[tuple[str, int, str, bytes]]:
    return [(topic, NOON_MS, f"{n}", json.dumps(value).encode()) for n, value in enumerate(values)]


def archive(folder: Path, site: Site = HARTFORD, shots: int = 5) -> Path:
    """An archive of shots in a site."""
    write_archive(folder, rows(SHOTS, *(shot(n, PLACES[site.name]) for n in range(shots))), {}, site)
    return folder


def foreign(folder: Path, topic: str, *values: dict[str, Any]) -> Path:
    """An archive that rampwatch did not write."""
    folder.mkdir()
    (folder / f"{topic}.jsonl").write_text("".join(json.dumps({"value": value}) + "\n" for value in values))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --- what a manifest holds


def test_a_manifest_names_the_site_the_version_and_the_records_and_no_path(tmp_path):
    archive(tmp_path / "city")
    assert json.loads((tmp_path / "city" / MANIFEST).read_bytes()) == {
        "format": 1,
        "kind": "inputs",
        "complete": True,
        "site": "hartford",
        "site_digest": HARTFORD.digest,
        "digest": None,
        "version": streams.__version__,
        "records": dict.fromkeys(INPUTS, 0) | {SHOTS: 5},
        "rejected": {},
        "consumed": 0,
    }
    elsewhere = replace(HARTFORD, name="/home/somebody/cities/ours.geojson")
    assert manifest_of("inputs", elsewhere, {}).site == "ours.geojson"


def test_the_manifest_of_outcomes_has_their_digest_and_counts_what_was_rejected(tmp_path):
    records = [
        Record(SHOTS, 0, n, NOON_MS, json.dumps(shot(n, PLACES["hartford"])).encode() if n else b"x") for n in range(3)
    ]
    replay([*records, Record(READS, 0, 0, NOON_MS, b"{}")], HARTFORD, RULES, tmp_path / "out", 12, lambda _: None)
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert (manifest.kind, manifest.consumed) == ("outcomes", 4)
    assert manifest.rejected == {SHOTS: {"not_json": 1}, READS: {"schema": 1}}
    for name, count in manifest.records.items():
        lines = (tmp_path / "out" / f"{name}.jsonl").read_bytes().splitlines()
        assert len(lines) == count
        if lines and name != "ears-c2":
            assert json.loads(lines[0])["headers"]["rampwatch-digest"] == manifest.digest


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format":1,"kind":"songs"}', "\xff"])
def test_a_damaged_manifest_is_reported(tmp_path, text):
    (archive(tmp_path / "city") / MANIFEST).write_bytes(text.encode("latin-1"))
    with pytest.raises(ArchiveError, match="not the manifest of an archive"):
        read_manifest(tmp_path / "city")


def test_a_manifest_of_a_newer_format_is_refused(tmp_path):
    file = archive(tmp_path / "city") / MANIFEST
    file.write_bytes(file.read_bytes().replace(b'"format": 1', b'"format": 2'))
    with pytest.raises(ArchiveError, match="newer than this rampwatch"):
        read_manifest(tmp_path / "city")


# --- the right site


def inputs(folder: Path, site: Site) -> list[str]:
    return read_inputs(folder, site, RULES, 12).warnings


def test_an_archive_of_another_site_is_refused_with_both_names_and_the_remedy(tmp_path):
    folder = archive(tmp_path / "city", KANSAS_CITY)
    assert inputs(folder, KANSAS_CITY) == []
    with pytest.raises(WrongSiteError, match="an archive of site kansas-city, not of hartford; use --site kansas-city"):
        inputs(folder, HARTFORD)


def test_a_copy_of_the_site_file_is_the_same_site(tmp_path):
    assert inputs(archive(tmp_path / "city"), replace(HARTFORD, name="copies/mine.geojson")) == []


def test_inputs_of_a_site_file_that_has_changed_since_are_read_with_a_warning(tmp_path):
    changed = replace(HARTFORD, zones=HARTFORD.zones[1:])
    (warning,) = inputs(archive(tmp_path / "city"), changed)
    assert "site hartford has changed since this archive was written" in warning


def test_an_archive_without_a_manifest_is_judged_by_where_its_shots_lie(tmp_path):
    folder = foreign(tmp_path / "city", SHOTS, *(shot(n, PLACES["kansas-city"]) for n in range(4)))
    assert inputs(folder, KANSAS_CITY) == []
    with pytest.raises(WrongSiteError) as raised:
        inputs(folder, HARTFORD)
    assert str(raised.value) == (
        f"{folder}: 4 of 4 shots lie in no zone and more than 8,000 m from every ramp of site hartford; "
        "use --site kansas-city"
    )


def test_an_archive_without_a_manifest_is_judged_by_the_ramps_of_its_reads(tmp_path):
    ramp = next(iter(KANSAS_CITY.ramps))
    folder = foreign(tmp_path / "city", READS, *(read(n, ramp) for n in range(10)))
    assert inputs(folder, KANSAS_CITY) == []
    with pytest.raises(WrongSiteError, match=r"10 of 10 reads are from ramps .* hartford .*; use --site kansas-city"):
        inputs(folder, HARTFORD)


def test_shots_of_no_known_site_get_another_remedy(tmp_path):
    folder = foreign(tmp_path / "city", SHOTS, *(shot(n, (0.0, 0.0)) for n in range(4)))
    with pytest.raises(WrongSiteError, match="name their own site with --site, or add its zones and ramps"):
        inputs(folder, HARTFORD)


def test_partitions_beyond_the_setting_are_reported(tmp_path):
    folder = tmp_path / "city"
    folder.mkdir()
    line = {"partition": 20, "value": shot(1, PLACES["hartford"])}
    (folder / f"{SHOTS}.jsonl").write_text(json.dumps(line))
    (warning,) = inputs(folder, HARTFORD)
    assert "has records of partition 20, but the setting partitions is 12" in warning


def test_an_archive_with_fewer_records_than_were_written_is_refused(tmp_path):
    folder = archive(tmp_path / "city")
    file = folder / f"{SHOTS}.jsonl"
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:3]))
    with pytest.raises(ArchiveError, match="has 3 records of shot-spotter-alerts, but 5 were written; copy"):
        inputs(folder, HARTFORD)


# --- whole or not at all


def test_an_archive_that_fails_on_the_way_leaves_nothing(tmp_path):
    def failing() -> Iterator[tuple[str, int, str, bytes]]:
        yield from rows(SHOTS, shot(1, PLACES["hartford"]))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_archive(tmp_path / "new" / "city", failing(), {}, HARTFORD)
    assert list(tmp_path.iterdir()) == []
    before = contents(archive(tmp_path / "city"))
    with pytest.raises(KeyboardInterrupt):
        write_archive(tmp_path / "city", failing(), {}, HARTFORD)
    assert contents(tmp_path / "city") == before


FILL = """
import resource, signal, sys
from pathlib import Path
from streams.replay.archive import write_archive
from streams.replay.errors import WriteError
from streams.resources.sites import load_site
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    write_archive(Path(sys.argv[1]), [("ramp-plate-reads", 1, "k", b"1" * 1000)] * 500, {}, load_site("hartford"))
except WriteError as error:
    print(error)
"""


@pytest.mark.parametrize("bytes_max", [0, 1, 100_000, 518_000])
def test_a_disk_that_is_full_leaves_what_was_there(tmp_path, bytes_max):
    """The limit of a file's size stands for a full disk: writing fails in the same way."""
    before = contents(archive(tmp_path / "city"))
    for folder in ("city", "new"):
        command = [sys.executable, "-c", FILL, str(tmp_path / folder), str(bytes_max)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert "ramp-plate-reads.jsonl: cannot be written (File too large)" in ended.stdout
        assert "free some space or name another folder" in ended.stdout
    assert contents(tmp_path / "city") == before
    assert not (tmp_path / "new").exists()


def test_a_manifest_that_does_not_fit_leaves_what_was_there(tmp_path):
    before = contents(archive(tmp_path / "city"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with FolderWriter(tmp_path / "city", "inputs", [f"{SHOTS}.jsonl"]) as writer:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
        try:
            with pytest.raises(WriteError, match=r"manifest\.json: cannot be written"):
                writer.commit(manifest_of("inputs", HARTFORD, {}))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert contents(tmp_path / "city") == before


def test_an_archive_that_was_interrupted_while_its_files_were_replaced_is_refused(tmp_path):
    """A folder in the place of a file stops the move half-way, as a kill would."""
    folder = archive(tmp_path / "city")
    (folder / f"{READS}.jsonl").unlink()
    (folder / f"{READS}.jsonl").mkdir()
    with pytest.raises(WriteError):
        archive(folder)
    with pytest.raises(ArchiveError, match="incomplete, because writing it was interrupted; write it again"):
        inputs(folder, HARTFORD)
    (folder / f"{READS}.jsonl").rmdir()
    archive(folder)
    assert inputs(folder, HARTFORD) == []


def test_what_a_killed_writer_left_is_no_archive_and_is_removed_by_the_next(tmp_path):
    left_over = tmp_path / "city" / ".writing-abc"
    left_over.mkdir(parents=True)
    (left_over / f"{SHOTS}.jsonl").write_text("half a li")
    with pytest.raises(ArchiveError, match="not an archive"):
        inputs(tmp_path / "city", HARTFORD)
    archive(tmp_path / "city")
    assert not left_over.exists()


def test_a_topic_that_was_compressed_since_is_replaced(tmp_path):
    folder = archive(tmp_path / "city")
    (folder / f"{SHOTS}.jsonl").rename(folder / f"{SHOTS}.jsonl.gz")
    archive(folder, shots=4)
    assert len(read_archive(folder, 12)) == 4


# --- what may be replaced


def outcomes(folder: Path) -> Path:
    replay([], HARTFORD, RULES, folder, 12, lambda _: None)
    return folder


def test_only_an_archive_of_the_same_kind_that_rampwatch_wrote_is_replaced(tmp_path):
    check_target(tmp_path / "new" / "folder", "inputs")
    assert list(tmp_path.iterdir()) == []
    for made, kind, other in ((archive, "inputs", "outcomes"), (outcomes, "outcomes", "inputs")):
        folder = made(tmp_path / kind)
        before = contents(folder)
        check_target(folder, kind)  # type: ignore[arg-type]
        with pytest.raises(ArchiveError, match=f"holds an archive of {kind}; name another folder"):
            check_target(folder, other)  # type: ignore[arg-type]
        assert contents(folder) == before


@pytest.mark.parametrize("kind", ["inputs", "outcomes"])
def test_an_archive_that_rampwatch_did_not_write_is_never_replaced(tmp_path, kind):
    recorded = foreign(tmp_path / "recorded", SHOTS, shot(1, PLACES["hartford"]))
    with pytest.raises(ArchiveError, match="holds an archive of inputs that rampwatch did not write"):
        check_target(recorded, kind)
    copied = foreign(tmp_path / "copied", "linked-incidents")
    with pytest.raises(ArchiveError, match="holds an archive of outcomes that rampwatch did not write"):
        check_target(copied, kind)


def test_outcomes_of_a_version_without_manifests_are_replaced(tmp_path):
    (outcomes(tmp_path / "old") / MANIFEST).unlink()
    check_target(tmp_path / "old", "outcomes")


def test_inputs_are_not_written_among_other_files(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ArchiveError, match="holds other files; name a new folder"):
        check_target(tmp_path, "inputs")
    check_target(tmp_path, "outcomes")


def test_a_folder_that_cannot_be_made_is_reported_before_the_work():
    with pytest.raises(ArchiveError, match="cannot be written"):
        check_target(Path("/proc/rampwatch"), "outcomes")  # not even root may write there
