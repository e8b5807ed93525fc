"""Files are read within bounds, and written whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from streams.resources.files import FileError, check_writable, read_bytes, write_bytes


def test_a_file_up_to_the_limit_is_read_and_a_larger_one_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"x" * 10)
    assert read_bytes(file, 10) == b"x" * 10
    with pytest.raises(FileError, match="larger than 9 bytes"):
        read_bytes(file, 9)


@pytest.mark.parametrize("name", [".", "gone", "a\0b", "x" * 5_000])
def test_what_cannot_be_read_or_written_is_an_error_in_a_few_words(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileError):
        read_bytes(tmp_path / name, 10)
    if name != "gone":
        for write in (check_writable, lambda path: write_bytes(path, b"x")):
            with pytest.raises(FileError):
                write(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_with_its_mode_and_a_link_to_it_stays(tmp_path: Path) -> None:
    file, link = tmp_path / "a", tmp_path / "b"
    file.write_bytes(b"old")
    file.chmod(0o640)
    link.symlink_to(file)
    check_writable(link)
    write_bytes(link, b"new")
    assert file.read_bytes() == b"new"
    assert link.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_new_file_has_the_mode_that_the_user_gives_new_files(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"x")
    (tmp_path / "b").write_bytes(b"x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


WRITE = """
import resource, signal, sys
from pathlib import Path
from streams.resources.files import FileError, write_bytes
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))
try:
    write_bytes(Path(sys.argv[1]), b"x" * 100_000)
except FileError as error:
    print(error)
"""


def test_a_file_that_cannot_be_written_whole_stays_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"old")
    ended = subprocess.run([sys.executable, "-c", WRITE, str(file)], capture_output=True, text=True, check=True)
    assert ended.stdout == f"{os.strerror(errno.EFBIG)}\n"
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
