"""A download that hangs does not hold up what waits for it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from streams.local_broker import jars
from streams.local_broker.jars import BrokerUnavailable


def cancel_after(seconds: float):
    end_s = time.monotonic() + seconds

    def check_cancelled() -> None:
        if time.monotonic() > end_s:
            raise BrokerUnavailable("not needed any more")

    return check_cancelled


def test_a_download_that_hangs_is_left_alone_once_it_is_cancelled() -> None:
    hangs = threading.Event()

    def download() -> Path:
        hangs.wait()
        return Path("late.jar")

    began_s = time.monotonic()
    with pytest.raises(BrokerUnavailable, match="not needed any more"):
        jars._cancellable(download, cancel_after(0.2))
    assert time.monotonic() - began_s < 10
    hangs.set()


def test_a_download_that_ends_gives_its_file_or_its_error() -> None:
    assert jars._cancellable(lambda: Path("a.jar"), cancel_after(60)) == Path("a.jar")

    def fails() -> Path:
        raise BrokerUnavailable("a.jar: cannot be downloaded")

    with pytest.raises(BrokerUnavailable, match="cannot be downloaded"):
        jars._cancellable(fails, cancel_after(60))


def test_the_progress_of_a_download_has_percent_and_the_time_left() -> None:
    assert jars._progress(4, 16, 5.0) == "downloaded 4 of 16 jars, 25%, about 15 s left"
    assert jars._progress(16, 16, 20.0) == "downloaded 16 of 16 jars, 100%"
