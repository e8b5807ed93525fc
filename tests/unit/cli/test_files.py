"""Files of results: checked before the work, written whole or not at all."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from streams.cli.files import check_writable, write_whole
from streams.replay.errors import ArchiveError, WriteError


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "picture.svg"
    for text in (b"one", b"other"):
        check_writable("--picture", file)
        write_whole("--picture", file, text)
        assert file.read_bytes() == text
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_does_not_fit_stays_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "picture.svg"
    file.write_bytes(b"before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(
            WriteError, match=r"^--picture .*picture\.svg: cannot be written \(File too large\)"
        ) as raised:
            write_whole("--picture", file, b"x" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert raised.value.exit_code == 1
    assert file.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_device_is_written_directly() -> None:
    write_whole("--picture", Path("/dev/null"), b"x")
    with pytest.raises(WriteError, match=r"/dev/full: cannot be written \(No space left on device\)"):
        write_whole("--picture", Path("/dev/full"), b"x" * 100_000)


def test_a_file_that_cannot_be_written_is_reported_before_the_work(tmp_path: Path) -> None:
    for file, reason in ((tmp_path, "it is a folder"), (tmp_path / "gone" / "file", "No such file or directory")):
        with pytest.raises(ArchiveError, match=reason) as raised:
            check_writable("--picture", file)
        assert raised.value.exit_code == 2
